//! Following turns. Each turn that somebody here looks at has one tail, which feeds all its viewers; a viewer's own queue is
//! bounded in bytes. Events come from memory where the turn is written by this process, and from the log (see [`crate::follow`])
//! where a doorbell or the poll says that there is more.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;
use proto::{agent_streaming::TurnEvent, id::TurnId};
use tokio::sync::Notify;

/// What a viewer may leave unread before it is cut.
pub(crate) const QUEUE_BYTES: usize = 256 * 1024;

/// The tails of this process.
#[derive(Clone, Default)]
pub(crate) struct Tails(Arc<Shared>);

#[derive(Default)]
struct Shared {
    tails: Mutex<HashMap<TurnId, Tail>>,
    /// Some tail is behind its log.
    behind: Notify,
}

#[derive(Default)]
struct Tail {
    /// The newest event that the viewers have been given.
    delivered: u32,
    /// The log is said to hold more.
    behind: bool,
    viewers: Vec<Arc<Queue>>,
}

impl Tail {
    /// Gives events to all viewers, unless there is a gap before them.
    fn deliver(&mut self, events: &[Arc<Frame>]) {
        for frame in events {
            if frame.event.seq == self.delivered + 1 {
                self.delivered += 1;
                self.viewers.retain(|viewer| viewer.offer(frame));
            } else if frame.event.seq > self.delivered {
                self.behind = true;
                return;
            }
        }
    }
}

/// An event with its size on the wire.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) event: TurnEvent,
    pub(crate) bytes: usize,
}

impl Frame {
    pub(crate) fn new(event: TurnEvent) -> Arc<Self> {
        let bytes = event.encoded_len();
        Arc::new(Self { event, bytes })
    }
}

impl Tails {
    /// Events that were written by this process just now, from `first_seq` on.
    pub(crate) fn deliver(&self, turn: TurnId, first_seq: u32, events: Vec<TurnEvent>) {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&turn) else { return };
        let name = turn.to_string();
        let frames: Vec<_> =
            (first_seq..).zip(events).map(|(seq, event)| Frame::new(TurnEvent { seq, turn_id: name.clone(), ..event })).collect();
        tail.deliver(&frames);
        if tail.behind {
            self.0.behind.notify_one();
        }
    }

    /// Events that were read from the log.
    pub(crate) fn deliver_read(&self, turn: TurnId, frames: &[Arc<Frame>]) {
        if let Some(tail) = self.lock().get_mut(&turn) {
            tail.deliver(frames);
        }
    }

    /// Somebody says that the log holds an event.
    pub(crate) fn ring(&self, turn: TurnId, seq: u32) {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&turn).filter(|tail| tail.delivered < seq) else { return };
        tail.behind = true;
        self.0.behind.notify_one();
    }

    /// Waits until some tail is behind its log.
    pub(crate) async fn behind(&self) {
        self.0.behind.notified().await;
    }

    /// The cursors of the tails that are behind, which count as being looked after from now on; `all`: of every tail.
    pub(crate) fn take_behind(&self, all: bool) -> Vec<(TurnId, u32)> {
        let mut tails = self.lock();
        let wanted = tails.iter_mut().filter(|(_, tail)| all || tail.behind);
        wanted
            .map(|(turn, tail)| {
                tail.behind = false;
                (*turn, tail.delivered)
            })
            .collect()
    }

    /// Looks at these again: reading them failed, or there was more than one read takes.
    pub(crate) fn put_behind(&self, turns: impl IntoIterator<Item = TurnId>) {
        let mut tails = self.lock();
        for turn in turns {
            if let Some(tail) = tails.get_mut(&turn) {
                tail.behind = true;
                self.0.behind.notify_one();
            }
        }
    }

    /// Joins a viewer that has read up to `cursor`. `None`: the tail is further already, read on from the log first.
    pub(crate) fn join(&self, turn: TurnId, cursor: u32) -> Option<Viewer> {
        let mut tails = self.lock();
        // What was written between the viewer's read and a new tail's first moment was offered to nobody.
        let tail = tails.entry(turn).or_insert_with(|| Tail { delivered: cursor, behind: true, ..Tail::default() });
        if tail.delivered > cursor {
            return None;
        }
        let queue = Arc::new(Queue::default());
        tail.viewers.push(Arc::clone(&queue));
        tail.behind |= tail.delivered < cursor;
        if tail.behind {
            self.0.behind.notify_one();
        }
        Some(Viewer { tails: self.clone(), turn, cursor, queue })
    }

    fn leave(&self, turn: TurnId, queue: &Arc<Queue>) {
        let mut tails = self.lock();
        if let Some(tail) = tails.get_mut(&turn) {
            tail.viewers.retain(|viewer| !Arc::ptr_eq(viewer, queue));
            if tail.viewers.is_empty() {
                tails.remove(&turn);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, Tail>> {
        self.0.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one viewer has not read yet.
#[derive(Default)]
struct Queue {
    inner: Mutex<Unread>,
    more: Notify,
}

#[derive(Default)]
struct Unread {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    cut: bool,
}

impl Queue {
    /// Adds an event, or cuts the viewer because it reads too slowly. False: it is gone.
    fn offer(&self, frame: &Arc<Frame>) -> bool {
        let mut unread = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        unread.cut |= unread.bytes + frame.bytes > QUEUE_BYTES;
        if unread.cut {
            unread.frames.clear();
        } else {
            unread.bytes += frame.bytes;
            unread.frames.push_back(Arc::clone(frame));
        }
        self.more.notify_one();
        !unread.cut
    }
}

/// The viewer read too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSlow;

/// A viewer that has caught up and gets what is new.
pub(crate) struct Viewer {
    tails: Tails,
    turn: TurnId,
    cursor: u32,
    queue: Arc<Queue>,
}

impl Viewer {
    /// Everything that is there, up to a number of bytes but at least one event; waits for it.
    pub(crate) async fn next(&mut self, bytes: usize) -> Result<Vec<Arc<Frame>>, TooSlow> {
        loop {
            let batch = self.take(bytes)?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.queue.more.notified().await;
        }
    }

    fn take(&mut self, bytes: usize) -> Result<Vec<Arc<Frame>>, TooSlow> {
        let mut unread = self.queue.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.cut {
            return Err(TooSlow);
        }
        let (mut batch, mut size) = (Vec::new(), 0);
        while let Some(frame) = unread.frames.front() {
            if !batch.is_empty() && size + frame.bytes > bytes {
                break;
            }
            size += frame.bytes;
            let Some(frame) = unread.frames.pop_front() else { break };
            unread.bytes -= frame.bytes;
            // A tail that was behind this viewer offers again what it has.
            if frame.event.seq > self.cursor {
                self.cursor = frame.event.seq;
                batch.push(frame);
            }
        }
        Ok(batch)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.tails.leave(self.turn, &self.queue);
    }
}
