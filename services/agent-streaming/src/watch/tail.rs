//! Tails. Each turn that has viewers at this process has one tail, which delivers new events to the queues of all its viewers. A queue
//! is bounded in bytes. The flusher delivers the events that this process writes. [`crate::watch::follow`] reads the other events from
//! the log after a doorbell message or at a poll.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use proto::{
    agent_streaming::{EventLine, TurnEvent},
    id::TurnId,
};
use tokio::sync::Notify;

/// The size of a viewer's queue.
const QUEUE_BYTES: usize = 256 * 1024;
/// A viewer whose queue has overflowed and that has not read for longer than this is disconnected.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// The tails of this process.
#[derive(Clone, Default)]
pub(crate) struct Tails(Arc<Shared>);

#[derive(Default)]
struct Shared {
    tails: Mutex<HashMap<TurnId, Tail>>,
    /// Notified when a tail is behind its log.
    behind: Notify,
}

#[derive(Default)]
struct Tail {
    /// The seq of the newest event that was delivered to the viewers.
    delivered: u32,
    /// The log may have newer events.
    behind: bool,
    viewers: Vec<Arc<Queue>>,
}

impl Tail {
    /// Delivers events to all viewers. Stops at a gap between the events, and marks the tail as behind.
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

/// An event with its encoded size in bytes.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) event: TurnEvent,
    pub(crate) bytes: usize,
    /// The event as JSON, encoded at the first use.
    line: OnceLock<Bytes>,
}

impl Frame {
    pub(crate) fn new(event: TurnEvent) -> Arc<Self> {
        let bytes = event.encoded_len();
        Arc::new(Self { event, bytes, line: OnceLock::new() })
    }

    /// The event as a line of JSON.
    pub(crate) fn line(&self) -> EventLine {
        // Messages of the contract can always be encoded. If one could not, the line would be empty and the client would read it again.
        let json = self.line.get_or_init(|| self.event.to_json().unwrap_or_default().into()).clone();
        EventLine { seq: self.event.seq, terminal: self.event.is_terminal(), json }
    }
}

impl Tails {
    /// Delivers events that this process has just written. `first_seq` is the seq of the first one.
    pub(crate) fn deliver(&self, turn: TurnId, first_seq: u32, events: Vec<TurnEvent>) {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&turn) else { return };
        let turn_id = turn.to_string();
        let frames: Vec<_> =
            (first_seq..).zip(events).map(|(seq, event)| Frame::new(TurnEvent { seq, turn_id: turn_id.clone(), ..event })).collect();
        tail.deliver(&frames);
        if tail.behind {
            self.0.behind.notify_one();
        }
    }

    /// Delivers events that were read from the log.
    pub(crate) fn deliver_read(&self, turn: TurnId, frames: &[Arc<Frame>]) {
        if let Some(tail) = self.lock().get_mut(&turn) {
            tail.deliver(frames);
        }
    }

    /// Records that the log of a turn has an event with this seq.
    pub(crate) fn ring(&self, turn: TurnId, seq: u32) {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&turn).filter(|tail| tail.delivered < seq) else { return };
        tail.behind = true;
        self.0.behind.notify_one();
    }

    /// Waits until a tail is behind its log.
    pub(crate) async fn wait_until_behind(&self) {
        self.0.behind.notified().await;
    }

    /// Returns the cursors of the tails that are behind, or of all tails, and clears their marks.
    pub(crate) fn take_behind(&self, all: bool) -> Vec<(TurnId, u32)> {
        let mut tails = self.lock();
        let selected = tails.iter_mut().filter(|(_, tail)| all || tail.behind);
        selected
            .map(|(turn, tail)| {
                tail.behind = false;
                (*turn, tail.delivered)
            })
            .collect()
    }

    /// Marks tails as behind: their read failed, or the log has more events than one read returns.
    pub(crate) fn mark_behind(&self, turns: impl IntoIterator<Item = TurnId>) {
        let mut tails = self.lock();
        for turn in turns {
            if let Some(tail) = tails.get_mut(&turn) {
                tail.behind = true;
                self.0.behind.notify_one();
            }
        }
    }

    /// Adds a viewer that has read up to `cursor`. Returns `None` if the tail is ahead of the cursor; then the viewer reads the log again.
    pub(crate) fn join(&self, turn: TurnId, cursor: u32) -> Option<Viewer> {
        let mut tails = self.lock();
        // A new tail is behind: events may have been written since the viewer read the log.
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

/// The events that one viewer has not read yet.
#[derive(Default)]
struct Queue {
    inner: Mutex<FrameBuffer>,
    more: Notify,
}

#[derive(Default)]
struct FrameBuffer {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// The time of the last read, or of the oldest event if there was no read since. `None` if there are no frames.
    since: Option<Instant>,
    /// The queue was full. The tail has removed the viewer.
    overflowed: bool,
}

impl Queue {
    /// Adds an event. Returns false if the queue is full; then the viewer has to read the log.
    fn offer(&self, frame: &Arc<Frame>) -> bool {
        let mut unread = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.bytes + frame.bytes > QUEUE_BYTES {
            unread.overflowed = true;
        } else {
            unread.since.get_or_insert_with(Instant::now);
            unread.bytes += frame.bytes;
            unread.frames.push_back(Arc::clone(frame));
        }
        self.more.notify_one();
        !unread.overflowed
    }
}

/// Why a viewer was removed from its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DetachReason {
    /// A burst of events overflowed its queue. The viewer still reads, so it can catch up from the log.
    Behind,
    /// Its queue overflowed because it did not read for [`STALL_TIMEOUT`].
    Stalled,
}

/// A viewer of a tail.
pub(crate) struct Viewer {
    tails: Tails,
    turn: TurnId,
    cursor: u32,
    queue: Arc<Queue>,
}

impl Viewer {
    /// Waits for events. Returns at least one event, and more up to the given number of bytes.
    pub(crate) async fn next(&mut self, bytes: usize) -> Result<Vec<Arc<Frame>>, DetachReason> {
        loop {
            let batch = self.take(bytes, Instant::now())?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.queue.more.notified().await;
        }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> Result<Vec<Arc<Frame>>, DetachReason> {
        let mut unread = self.queue.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.overflowed && unread.since.is_some_and(|since| now.saturating_duration_since(since) > STALL_TIMEOUT) {
            return Err(DetachReason::Stalled);
        }
        let (mut batch, mut size) = (Vec::new(), 0);
        while let Some(frame) = unread.frames.front() {
            if !batch.is_empty() && size + frame.bytes > bytes {
                break;
            }
            size += frame.bytes;
            let Some(frame) = unread.frames.pop_front() else { break };
            unread.bytes -= frame.bytes;
            // A tail that was behind the viewer's cursor delivers events that the viewer has already.
            if frame.event.seq > self.cursor {
                self.cursor = frame.event.seq;
                batch.push(frame);
            }
        }
        unread.since = (!unread.frames.is_empty()).then_some(now);
        if batch.is_empty() && unread.overflowed { Err(DetachReason::Behind) } else { Ok(batch) }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.tails.leave(self.turn, &self.queue);
    }
}

#[cfg(test)]
mod tests {
    use proto::agent_streaming::{TextDelta, turn_event::Kind};

    use super::*;

    fn event(bytes: usize) -> TurnEvent {
        let delta = TextDelta { block_id: "b".into(), text: "x".repeat(bytes) };
        TurnEvent { kind: Some(Kind::TextDelta(delta)), ..TurnEvent::default() }
    }

    fn frames(seqs: std::ops::RangeInclusive<u32>) -> Vec<Arc<Frame>> {
        seqs.map(|seq| Frame::new(TurnEvent { seq, ..event(1) })).collect()
    }

    fn seqs(viewer: &mut Viewer) -> Vec<u32> {
        viewer.take(usize::MAX, Instant::now()).unwrap().iter().map(|frame| frame.event.seq).collect()
    }

    #[test]
    fn every_viewer_gets_each_event_after_its_cursor_once() {
        let (tails, turn) = (Tails::default(), TurnId::generate());
        let mut first = tails.join(turn, 3).unwrap();
        // This viewer is ahead of the tail, and does not get the events again that it has.
        let mut second = tails.join(turn, 5).unwrap();
        tails.deliver(turn, 4, vec![event(1), event(1), event(1)]);
        assert_eq!((seqs(&mut first), seqs(&mut second)), (vec![4, 5, 6], vec![6]));
        // This viewer would be behind the tail, so it has to read the log first.
        assert!(tails.join(turn, 5).is_none());
        assert!(tails.join(turn, 6).is_some());
    }

    #[test]
    fn a_gap_is_read_from_the_log_and_no_event_is_delivered_twice() {
        let (tails, turn) = (Tails::default(), TurnId::generate());
        let mut viewer = tails.join(turn, 0).unwrap();
        tails.take_behind(false);
        tails.deliver(turn, 3, vec![event(1)]);
        assert!(seqs(&mut viewer).is_empty());
        assert_eq!(tails.take_behind(false), [(turn, 0)]);
        tails.deliver_read(turn, &frames(1..=3));
        tails.deliver_read(turn, &frames(2..=4));
        tails.deliver(turn, 4, vec![event(1), event(1)]);
        assert_eq!(seqs(&mut viewer), [1, 2, 3, 4, 5]);
        assert!(tails.take_behind(false).is_empty());
        tails.ring(turn, 5);
        assert!(tails.take_behind(false).is_empty());
        tails.ring(turn, 6);
        assert_eq!(tails.take_behind(false), [(turn, 5)]);
    }

    #[test]
    fn a_burst_detaches_a_viewer_as_behind_and_a_stall_as_stalled() {
        let (tails, turn) = (Tails::default(), TurnId::generate());
        let (mut reading, mut stalled, mut other) =
            (tails.join(turn, 0).unwrap(), tails.join(turn, 0).unwrap(), tails.join(turn, 0).unwrap());
        tails.deliver(turn, 1, vec![event(QUEUE_BYTES / 2)]);
        assert_eq!(seqs(&mut other), [1]);
        tails.deliver(turn, 2, vec![event(QUEUE_BYTES * 2 / 3)]);
        // The viewer gets the events of its queue before it is detached.
        assert_eq!(seqs(&mut reading), [1]);
        assert_eq!(reading.take(usize::MAX, Instant::now()).unwrap_err(), DetachReason::Behind);
        assert_eq!(stalled.take(usize::MAX, Instant::now() + STALL_TIMEOUT * 2).unwrap_err(), DetachReason::Stalled);
        assert_eq!(seqs(&mut other), [2]);
    }

    #[test]
    fn a_tail_is_removed_with_its_last_viewer() {
        let (tails, turn) = (Tails::default(), TurnId::generate());
        let (first, second) = (tails.join(turn, 0), tails.join(turn, 0));
        drop(first);
        assert_eq!(tails.lock().len(), 1);
        drop(second);
        assert!(tails.lock().is_empty());
    }
}
