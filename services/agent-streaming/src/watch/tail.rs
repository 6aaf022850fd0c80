//! Following turns. Each turn that somebody here looks at has one tail, which feeds all its viewers; a viewer's own queue is
//! bounded in bytes. Events come from memory where the turn is written by this process, and from the log (see [`crate::watch::follow`])
//! where a doorbell or the poll says that there is more.

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

/// What a viewer may leave unread.
const QUEUE_BYTES: usize = 256 * 1024;
/// A viewer whose queue is full and who has not read for this long is cut.
const STALL: Duration = Duration::from_secs(2);

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
    line: OnceLock<Bytes>,
}

impl Frame {
    pub(crate) fn new(event: TurnEvent) -> Arc<Self> {
        let bytes = event.encoded_len();
        Arc::new(Self { event, bytes, line: OnceLock::new() })
    }

    /// The event as JSON, written for the first of its readers that wants it so.
    pub(crate) fn line(&self) -> EventLine {
        // No message of the contract fails; a reader would come back for what is empty.
        let json = self.line.get_or_init(|| self.event.to_json().unwrap_or_default().into()).clone();
        EventLine { seq: self.event.seq, terminal: self.event.is_terminal(), json }
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
    /// Since when the oldest of them has been waiting without a read in between.
    since: Option<Instant>,
    /// The queue was full once: the tail has let go of this viewer.
    overflowed: bool,
}

impl Queue {
    /// Adds an event. False: there is no room, and the viewer has to read on from the log.
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

/// Why a viewer gets nothing more from its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DetachReason {
    /// There was more at once than its queue holds; it reads, so it may catch up from the log.
    Behind,
    /// It did not read for a while, and its queue ran full.
    Stalled,
}

/// A viewer that has caught up and gets what is new.
pub(crate) struct Viewer {
    tails: Tails,
    turn: TurnId,
    cursor: u32,
    queue: Arc<Queue>,
}

impl Viewer {
    /// Everything that is there, up to a number of bytes but at least one event; waits for it.
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
        if unread.overflowed && unread.since.is_some_and(|since| now.saturating_duration_since(since) > STALL) {
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
            // A tail that was behind this viewer offers again what it has.
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
    fn every_viewer_gets_each_event_once_from_its_own_cursor() {
        let (tails, turn) = (Tails::default(), TurnId::generate());
        let mut first = tails.join(turn, 3).unwrap();
        // Further than the tail: what it has seen is not given again.
        let mut second = tails.join(turn, 5).unwrap();
        tails.deliver(turn, 4, vec![event(1), event(1), event(1)]);
        assert_eq!((seqs(&mut first), seqs(&mut second)), (vec![4, 5, 6], vec![6]));
        // Behind the tail: the log first.
        assert!(tails.join(turn, 5).is_none());
        assert!(tails.join(turn, 6).is_some());
    }

    #[test]
    fn a_gap_is_read_from_the_log_and_nothing_is_given_twice() {
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
    fn a_burst_sends_a_viewer_to_the_log_and_a_stall_ends_it() {
        let (tails, turn) = (Tails::default(), TurnId::generate());
        let (mut reading, mut stalled, mut other) =
            (tails.join(turn, 0).unwrap(), tails.join(turn, 0).unwrap(), tails.join(turn, 0).unwrap());
        tails.deliver(turn, 1, vec![event(QUEUE_BYTES / 2)]);
        assert_eq!(seqs(&mut other), [1]);
        tails.deliver(turn, 2, vec![event(QUEUE_BYTES * 2 / 3)]);
        // What it has is good; then it reads on from the log.
        assert_eq!(seqs(&mut reading), [1]);
        assert_eq!(reading.take(usize::MAX, Instant::now()).unwrap_err(), DetachReason::Behind);
        assert_eq!(stalled.take(usize::MAX, Instant::now() + STALL * 2).unwrap_err(), DetachReason::Stalled);
        assert_eq!(seqs(&mut other), [2]);
    }

    #[test]
    fn nothing_stays_when_the_last_viewer_has_left() {
        let (tails, turn) = (Tails::default(), TurnId::generate());
        let (first, second) = (tails.join(turn, 0), tails.join(turn, 0));
        drop(first);
        assert_eq!(tails.lock().len(), 1);
        drop(second);
        assert!(tails.lock().is_empty());
    }
}
