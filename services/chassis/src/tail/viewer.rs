//! A viewer of a tail, and the queue of the entries that it has not read yet.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Entry, LogId, Tails};

/// The size of a viewer's queue.
pub(super) const QUEUE_BYTES: usize = 256 * 1024;
/// A viewer whose queue has overflowed and that has not read for longer than this is disconnected.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The entries that one viewer has not read yet.
pub(super) struct Queue<E> {
    inner: Mutex<Buffer<E>>,
    more: Notify,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        let buffer = Buffer { entries: VecDeque::new(), bytes: 0, since: None, overflowed: false };
        Self { inner: Mutex::new(buffer), more: Notify::new() }
    }
}

struct Buffer<E> {
    entries: VecDeque<Arc<E>>,
    bytes: usize,
    /// The time of the last read, or of the oldest entry if there was no read since. `None` if there are no entries.
    since: Option<Instant>,
    /// The queue was full. The tail has removed the viewer.
    overflowed: bool,
}

impl<E: Entry> Queue<E> {
    /// Adds an entry. Returns false if the queue is full; then the viewer has to read the log.
    pub(super) fn offer(&self, entry: &Arc<E>) -> bool {
        let mut unread = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.bytes + entry.bytes() > QUEUE_BYTES {
            unread.overflowed = true;
        } else {
            unread.since.get_or_insert_with(Instant::now);
            unread.bytes += entry.bytes();
            unread.entries.push_back(Arc::clone(entry));
        }
        self.more.notify_one();
        !unread.overflowed
    }
}

/// Why a viewer was removed from its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetachReason {
    /// A burst of entries overflowed its queue. The viewer still reads, so it can catch up from the log.
    Behind,
    /// Its queue overflowed because it did not read for two seconds.
    Stalled,
}

/// A viewer of a tail.
pub struct Viewer<K: LogId, E: Entry> {
    tails: Tails<K, E>,
    log: K,
    cursor: u32,
    queue: Arc<Queue<E>>,
}

impl<K: LogId, E: Entry> Viewer<K, E> {
    pub(super) fn new(tails: Tails<K, E>, log: K, cursor: u32, queue: Arc<Queue<E>>) -> Self {
        Self { tails, log, cursor, queue }
    }

    /// Waits for entries. Returns at least one entry, and more up to the given number of bytes.
    ///
    /// # Errors
    /// The viewer was removed from its tail.
    pub async fn next(&mut self, bytes: usize) -> Result<Vec<Arc<E>>, DetachReason> {
        loop {
            let batch = self.take(bytes, Instant::now())?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.queue.more.notified().await;
        }
    }

    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> Result<Vec<Arc<E>>, DetachReason> {
        let mut unread = self.queue.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.overflowed && unread.since.is_some_and(|since| now.saturating_duration_since(since) > STALL_TIMEOUT) {
            return Err(DetachReason::Stalled);
        }
        let (mut batch, mut size) = (Vec::new(), 0);
        while let Some(entry) = unread.entries.front() {
            if !batch.is_empty() && size + entry.bytes() > bytes {
                break;
            }
            size += entry.bytes();
            let Some(entry) = unread.entries.pop_front() else { break };
            unread.bytes -= entry.bytes();
            // A tail that was behind the viewer's cursor delivers entries that the viewer has already.
            if entry.seq() > self.cursor {
                self.cursor = entry.seq();
                batch.push(entry);
            }
        }
        unread.since = (!unread.entries.is_empty()).then_some(now);
        if batch.is_empty() && unread.overflowed { Err(DetachReason::Behind) } else { Ok(batch) }
    }
}

impl<K: LogId, E: Entry> Drop for Viewer<K, E> {
    fn drop(&mut self) {
        self.tails.leave(self.log, &self.queue);
    }
}
