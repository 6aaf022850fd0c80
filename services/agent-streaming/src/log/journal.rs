//! The log as its writers see it. The owner of an epoch numbers its events in memory and leaves them here; [`flusher`] writes
//! what all turns of the process have left, one statement at a time. While it writes, what arrives is joined where it can be.

pub(crate) mod flusher;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use chassis::{clock, seeded_bug};
use proto::{
    agent_streaming::{TurnEvent, Usage, turn_event::Kind},
    id::TurnId,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    turn::event,
    turn::{Change, Reason, State, Turn},
};

/// What one turn may leave unwritten; its owner waits above that.
const MAX_WAITING_BYTES: usize = 128 * 1024;

/// Why the log takes no more events from an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// The turn has another owner, or was cancelled.
    #[error("the turn's epoch has moved")]
    Fenced,
    /// The database refuses this turn's events every time.
    #[error("the database refuses the turn's events")]
    Refused,
}

/// The logs that this process writes.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Turns with something to write, each at most once.
    ready: Mutex<Vec<Arc<Buffer>>>,
    /// Turns that somebody else may have written to.
    suspects: Mutex<Vec<TurnId>>,
    wake: Notify,
    /// Every turn that this process drives.
    live: Mutex<HashMap<TurnId, Arc<Buffer>>>,
}

impl Journal {
    /// Opens the log of a turn that this process has just claimed, with a lease until then.
    pub(crate) fn open(&self, turn: &Turn, leased_until: Instant) -> TurnLog {
        let tally = Tally { state: Some(turn.state), usage: turn.usage, ..Tally::default() };
        let buffer = Arc::new(Buffer {
            leased_until: watch::Sender::new(leased_until),
            turn: turn.id,
            epoch: turn.epoch,
            trace_id: turn.trace_id.clone(),
            inner: Mutex::new(Inner { next_seq: turn.last_seq + 1, tally, ..Inner::default() }),
            written: watch::Sender::new(turn.last_seq),
            stopped: watch::Sender::new(None),
            fenced: CancellationToken::new(),
        });
        lock(&self.0.live).insert(turn.id, Arc::clone(&buffer));
        TurnLog { journal: self.clone(), buffer }
    }

    /// The owner of the turn, if it is here, stops at once: its epoch has moved.
    pub(crate) fn fence(&self, turn: TurnId) {
        if let Some(buffer) = lock(&self.0.live).get(&turn) {
            buffer.stop(WriteError::Fenced);
        }
    }

    /// Somebody else rang for a turn: if it is driven here, its epoch is looked at.
    pub(crate) fn suspect(&self, turn: TurnId) {
        if lock(&self.0.live).contains_key(&turn) {
            lock(&self.0.suspects).push(turn);
            self.0.wake.notify_one();
        }
    }

    /// Extends the leases of turns.
    fn extended(&self, turns: &[TurnId], until: Instant) {
        let live = lock(&self.0.live);
        for buffer in turns.iter().filter_map(|turn| live.get(turn)) {
            buffer.leased_until.send_replace(until);
        }
    }

    /// The turns that this process drives, with their epochs.
    pub(crate) fn live(&self) -> Vec<(TurnId, i64)> {
        lock(&self.0.live).values().map(|buffer| (buffer.turn, buffer.epoch)).collect()
    }

    fn enlist(&self, buffer: &Arc<Buffer>) {
        lock(&self.0.ready).push(Arc::clone(buffer));
        self.0.wake.notify_one();
    }

    /// Forgets a turn, unless it has been opened again under another epoch.
    fn close(&self, buffer: &Arc<Buffer>) {
        let mut live = lock(&self.0.live);
        if live.get(&buffer.turn).is_some_and(|current| Arc::ptr_eq(current, buffer)) {
            live.remove(&buffer.turn);
        }
    }
}

/// What one turn has left and how far it is written.
struct Buffer {
    turn: TurnId,
    epoch: i64,
    trace_id: String,
    inner: Mutex<Inner>,
    /// The seq of the newest event in the database.
    written: watch::Sender<u32>,
    stopped: watch::Sender<Option<WriteError>>,
    fenced: CancellationToken,
    /// By this process's clock, counted from before the statement that extended it: never later than the database's.
    leased_until: watch::Sender<Instant>,
}

/// What the turn has come to, as far as its events here say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) state: Option<State>,
    pub(crate) failure: Option<Reason>,
    /// The number of the newest step; `None` if none was finished here.
    pub(crate) steps: Option<u32>,
    pub(crate) usage: Usage,
}

#[derive(Default)]
struct Inner {
    next_seq: u32,
    tally: Tally,
    waiting: Vec<TurnEvent>,
    bytes: usize,
    change: Option<Change>,
    /// The flusher has it in its list or in its hands.
    enlisted: bool,
}

impl Inner {
    fn push(&mut self, trace_id: &str, kind: Kind) {
        match &kind {
            Kind::StepFinished(finished) => self.tally.steps = Some(finished.step),
            Kind::Usage(usage) => self.tally.usage = *usage,
            _ => {}
        }
        let size = kind.encoded_len();
        let kind = match self.waiting.last_mut().and_then(|event| event.kind.as_mut()) {
            Some(last) => event::join(last, kind, event::DELTA_BYTES),
            None => Some(kind),
        };
        self.bytes += size;
        if let Some(kind) = kind {
            let time = Some(clock::timestamp(clock::now()));
            self.waiting.push(TurnEvent { time, trace_id: trace_id.to_owned(), kind: Some(kind), ..TurnEvent::default() });
            self.next_seq += 1;
        }
    }
}

impl Buffer {
    fn stop(&self, why: WriteError) {
        seeded_bug!(return if why == WriteError::Fenced && seeded_bug::is("skip-fence"));
        self.stopped.send_if_modified(|stopped| {
            stopped.is_none() && {
                *stopped = Some(why);
                true
            }
        });
        self.fenced.cancel();
    }

    fn check(&self) -> Result<(), WriteError> {
        (*self.stopped.borrow()).map_or(Ok(()), Err)
    }
}

/// The log of one turn in the hands of its owner. Dropping it ends the ownership, not the lease.
pub(crate) struct TurnLog {
    journal: Journal,
    buffer: Arc<Buffer>,
}

impl TurnLog {
    /// Leaves an event to be written soon. Waits only while too much is unwritten.
    pub(crate) async fn push(&self, kind: Kind) -> Result<(), WriteError> {
        for kind in event::fit(kind) {
            self.room().await?;
            self.leave([kind], None);
        }
        Ok(())
    }

    /// Leaves an event with what it does to the turn's row, to be written soon.
    pub(crate) async fn push_with(&self, kind: Kind, change: Change) -> Result<(), WriteError> {
        self.room().await?;
        self.leave(event::fit(kind), Some(change));
        Ok(())
    }

    /// Writes events and what they do to the turn's row, together in one statement, and waits until they are written.
    pub(crate) async fn append(&self, kinds: Vec<Kind>, change: Change) -> Result<(), WriteError> {
        self.buffer.check()?;
        let last = self.leave(kinds.into_iter().flat_map(event::fit), Some(change));
        self.reached(last).await
    }

    /// The seq of the last event left.
    pub(crate) fn last_seq(&self) -> u32 {
        lock(&self.buffer.inner).next_seq - 1
    }

    /// Waits until everything left so far is written.
    pub(crate) async fn flush(&self) -> Result<(), WriteError> {
        self.reached(self.last_seq()).await
    }

    /// Waits until the turn is known to be ours now. Writes are fenced where they are written; what is done outside of the database
    /// has only this. A process that was paused for longer than its lease asks before it does anything.
    pub(crate) async fn owned(&self) -> Result<(), WriteError> {
        let mut leased_until = self.buffer.leased_until.subscribe();
        tokio::select! {
            biased;
            () = self.buffer.fenced.cancelled() => self.buffer.check(),
            _ = leased_until.wait_for(|until| *until > Instant::now()) => Ok(()),
        }
    }

    /// Cancelled when the turn is not ours any more.
    pub(crate) fn fenced(&self) -> CancellationToken {
        self.buffer.fenced.clone()
    }

    /// The turn has its project's slot.
    pub(crate) fn has_slot(&self) {
        lock(&self.buffer.inner).tally.state = Some(State::Running);
    }

    /// What the turn has come to.
    pub(crate) fn tally(&self) -> Tally {
        lock(&self.buffer.inner).tally.clone()
    }

    /// Gives events their place. Returns the last one's seq.
    fn leave(&self, kinds: impl IntoIterator<Item = Kind>, change: Option<Change>) -> u32 {
        let (last, enlist) = {
            let mut inner = lock(&self.buffer.inner);
            for kind in kinds {
                inner.push(&self.buffer.trace_id, kind);
            }
            if let Some(change) = change {
                if let Some(next) = change.state {
                    let state = inner.tally.state;
                    debug_assert!(state.is_none_or(|state| state.may_become(next)), "{state:?} to {next:?}");
                    inner.tally.state = Some(next);
                }
                inner.tally.failure = change.failure_reason.or(inner.tally.failure);
                inner.change.get_or_insert_default().merge(change);
            }
            (inner.next_seq - 1, !std::mem::replace(&mut inner.enlisted, true))
        };
        if enlist {
            self.journal.enlist(&self.buffer);
        }
        last
    }

    async fn room(&self) -> Result<(), WriteError> {
        let mut written = self.buffer.written.subscribe();
        loop {
            self.buffer.check()?;
            if lock(&self.buffer.inner).bytes < MAX_WAITING_BYTES {
                return Ok(());
            }
            tokio::select! {
                _ = written.changed() => {}
                () = self.buffer.fenced.cancelled() => {}
            }
        }
    }

    async fn reached(&self, seq: u32) -> Result<(), WriteError> {
        let mut written = self.buffer.written.subscribe();
        tokio::select! {
            biased;
            _ = written.wait_for(|written| *written >= seq) => Ok(()),
            () = self.buffer.fenced.cancelled() => self.buffer.check(),
        }
    }
}

impl Drop for TurnLog {
    fn drop(&mut self) {
        self.journal.close(&self.buffer);
    }
}

/// A panic while a lock was held leaves plain data behind, which is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
