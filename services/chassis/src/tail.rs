//! Tails of logs. Each log that has viewers at this process has one tail, which delivers new entries to the queues of all its viewers. A
//! queue is bounded in bytes. A process that writes a log may deliver its entries itself. [`keep_up`] reads the other entries from the logs,
//! after a doorbell message or at a poll: one read for all viewers.

mod end;
mod reader;
mod viewer;

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use self::viewer::Queue;
pub use self::{
    end::StreamEnd,
    reader::{LogReader, Page, keep_up},
    viewer::{DetachReason, Viewer},
};

/// An entry of a log. The entries of a log are numbered without gaps.
pub trait Entry: Send + Sync + 'static {
    /// The number.
    fn seq(&self) -> u32;

    /// The size in bytes, as it counts for the queue of a viewer.
    fn bytes(&self) -> usize;
}

/// What identifies a log.
pub trait LogId: Copy + Eq + Hash + Send + Sync + fmt::Debug + 'static {}

impl<K: Copy + Eq + Hash + Send + Sync + fmt::Debug + 'static> LogId for K {}

/// The tails of this process.
pub struct Tails<K: LogId, E: Entry>(Arc<Shared<K, E>>);

impl<K: LogId, E: Entry> Clone for Tails<K, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: LogId, E: Entry> Default for Tails<K, E> {
    fn default() -> Self {
        Self(Arc::new(Shared { tails: Mutex::default(), behind: Notify::new() }))
    }
}

struct Shared<K, E> {
    tails: Mutex<HashMap<K, Tail<E>>>,
    /// Notified when a tail is behind its log.
    behind: Notify,
}

struct Tail<E> {
    /// The number of the newest entry that was delivered to the viewers.
    delivered: u32,
    /// The log may have newer entries.
    behind: bool,
    viewers: Vec<Arc<Queue<E>>>,
}

impl<E: Entry> Tail<E> {
    /// Delivers entries to all viewers. Stops at a gap between the entries, and marks the tail as behind.
    fn deliver(&mut self, entries: &[Arc<E>]) {
        for entry in entries {
            if entry.seq() == self.delivered + 1 {
                self.delivered += 1;
                self.viewers.retain(|viewer| viewer.offer(entry));
            } else if entry.seq() > self.delivered {
                self.behind = true;
                return;
            }
        }
    }
}

impl<K: LogId, E: Entry> Tails<K, E> {
    /// Delivers entries that this process has just written. They are only made if the log has viewers.
    pub fn deliver(&self, log: K, entries: impl FnOnce() -> Vec<Arc<E>>) {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&log) else { return };
        tail.deliver(&entries());
        if tail.behind {
            self.0.behind.notify_one();
        }
    }

    /// Delivers entries that were read from the log.
    pub fn deliver_read(&self, log: K, entries: &[Arc<E>]) {
        if let Some(tail) = self.lock().get_mut(&log) {
            tail.deliver(entries);
        }
    }

    /// Records that a log has an entry with this number.
    pub fn ring(&self, log: K, seq: u32) {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&log).filter(|tail| tail.delivered < seq) else { return };
        tail.behind = true;
        self.0.behind.notify_one();
    }

    /// Waits until a tail is behind its log.
    async fn wait_until_behind(&self) {
        self.0.behind.notified().await;
    }

    /// Returns the cursors of the tails that are behind, or of all tails, and clears their marks.
    fn take_behind(&self, all: bool) -> Vec<(K, u32)> {
        let mut tails = self.lock();
        let selected = tails.iter_mut().filter(|(_, tail)| all || tail.behind);
        selected
            .map(|(log, tail)| {
                tail.behind = false;
                (*log, tail.delivered)
            })
            .collect()
    }

    /// Marks tails as behind, so that their logs are read: a read failed, a log has more entries than one read returns, or something else
    /// has changed that a read finds out.
    pub fn mark_behind(&self, logs: impl IntoIterator<Item = K>) {
        let mut tails = self.lock();
        for log in logs {
            if let Some(tail) = tails.get_mut(&log) {
                tail.behind = true;
                self.0.behind.notify_one();
            }
        }
    }

    /// Adds a viewer that has read up to `cursor`. Returns `None` if the tail is ahead of the cursor; then the viewer reads the log again.
    #[must_use]
    pub fn join(&self, log: K, cursor: u32) -> Option<Viewer<K, E>> {
        let mut tails = self.lock();
        // A new tail is behind: entries may have been written since the viewer read the log.
        let tail = tails.entry(log).or_insert_with(|| Tail { delivered: cursor, behind: true, viewers: Vec::new() });
        if tail.delivered > cursor {
            return None;
        }
        let queue = Arc::new(Queue::default());
        tail.viewers.push(Arc::clone(&queue));
        tail.behind |= tail.delivered < cursor;
        if tail.behind {
            self.0.behind.notify_one();
        }
        Some(Viewer::new(self.clone(), log, cursor, queue))
    }

    fn leave(&self, log: K, queue: &Arc<Queue<E>>) {
        let mut tails = self.lock();
        if let Some(tail) = tails.get_mut(&log) {
            tail.viewers.retain(|viewer| !Arc::ptr_eq(viewer, queue));
            if tail.viewers.is_empty() {
                tails.remove(&log);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Tail<E>>> {
        self.0.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{
        viewer::{QUEUE_BYTES, STALL_TIMEOUT},
        *,
    };

    struct Note {
        seq: u32,
        bytes: usize,
    }

    impl Entry for Note {
        fn seq(&self) -> u32 {
            self.seq
        }

        fn bytes(&self) -> usize {
            self.bytes
        }
    }

    type NoteTails = Tails<u8, Note>;

    fn notes(seqs: std::ops::RangeInclusive<u32>) -> Vec<Arc<Note>> {
        seqs.map(|seq| Arc::new(Note { seq, bytes: 1 })).collect()
    }

    fn note(seq: u32, bytes: usize) -> Vec<Arc<Note>> {
        vec![Arc::new(Note { seq, bytes })]
    }

    fn seqs(viewer: &mut Viewer<u8, Note>) -> Vec<u32> {
        viewer.take(usize::MAX, Instant::now()).unwrap().iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn every_viewer_gets_each_entry_after_its_cursor_once() {
        let tails = NoteTails::default();
        let mut first = tails.join(1, 3).unwrap();
        // This viewer is ahead of the tail, and does not get the entries again that it has.
        let mut second = tails.join(1, 5).unwrap();
        tails.deliver(1, || notes(4..=6));
        assert_eq!((seqs(&mut first), seqs(&mut second)), (vec![4, 5, 6], vec![6]));
        // This viewer would be behind the tail, so it has to read the log first.
        assert!(tails.join(1, 5).is_none());
        assert!(tails.join(1, 6).is_some());
    }

    #[test]
    fn entries_are_made_only_for_a_log_with_viewers() {
        let tails = NoteTails::default();
        tails.deliver(1, || panic!("nobody reads this log"));
    }

    #[test]
    fn a_gap_is_read_from_the_log_and_no_entry_is_delivered_twice() {
        let tails = NoteTails::default();
        let mut viewer = tails.join(1, 0).unwrap();
        tails.take_behind(false);
        tails.deliver(1, || notes(3..=3));
        assert!(seqs(&mut viewer).is_empty());
        assert_eq!(tails.take_behind(false), [(1, 0)]);
        tails.deliver_read(1, &notes(1..=3));
        tails.deliver_read(1, &notes(2..=4));
        tails.deliver(1, || notes(4..=5));
        assert_eq!(seqs(&mut viewer), [1, 2, 3, 4, 5]);
        assert!(tails.take_behind(false).is_empty());
        tails.ring(1, 5);
        assert!(tails.take_behind(false).is_empty());
        tails.ring(1, 6);
        assert_eq!(tails.take_behind(false), [(1, 5)]);
        tails.mark_behind([1, 2]);
        assert_eq!(tails.take_behind(false), [(1, 5)]);
        assert_eq!(tails.take_behind(true), [(1, 5)]);
    }

    #[test]
    fn a_burst_detaches_a_viewer_as_behind_and_a_stall_as_stalled() {
        let tails = NoteTails::default();
        let (mut reading, mut stalled, mut other) = (tails.join(1, 0).unwrap(), tails.join(1, 0).unwrap(), tails.join(1, 0).unwrap());
        tails.deliver(1, || note(1, QUEUE_BYTES / 2));
        assert_eq!(seqs(&mut other), [1]);
        tails.deliver(1, || note(2, QUEUE_BYTES * 2 / 3));
        // The viewer gets the entries of its queue before it is detached.
        assert_eq!(seqs(&mut reading), [1]);
        assert_eq!(reading.take(usize::MAX, Instant::now()).err(), Some(DetachReason::Behind));
        assert_eq!(stalled.take(usize::MAX, Instant::now() + STALL_TIMEOUT * 2).err(), Some(DetachReason::Stalled));
        assert_eq!(seqs(&mut other), [2]);
    }

    #[test]
    fn a_tail_is_removed_with_its_last_viewer() {
        let tails = NoteTails::default();
        let (first, second) = (tails.join(1, 0), tails.join(1, 0));
        drop(first);
        assert_eq!(tails.lock().len(), 1);
        drop(second);
        assert!(tails.lock().is_empty());
    }
}
