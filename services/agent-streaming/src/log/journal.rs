//! Buffers the events of the turns that this process drives. A worker numbers the events of its epoch in memory; the [`flusher`] writes
//! the events of all turns in at most two statements at a time. Deltas that arrive during a write are joined.

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

/// The unwritten bytes of one turn above which its worker waits.
const MAX_UNWRITTEN_BYTES: usize = 128 * 1024;

/// Why the log takes no more events from a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// Another worker has claimed the turn, or it was cancelled.
    #[error("the turn's epoch has moved")]
    Fenced,
    /// The database refuses the turn's events, and retries would not help.
    #[error("the database refuses the turn's events")]
    Refused,
}

/// The logs of the turns that this process drives.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The queue of the flusher: turns with unwritten events, each at most once.
    queue: Mutex<Vec<Arc<Buffer>>>,
    /// Turns that another process may have written to. The flusher checks their epochs.
    epoch_checks: Mutex<Vec<TurnId>>,
    /// Wakes the flusher.
    wake: Notify,
    /// All turns that this process drives.
    driven: Mutex<HashMap<TurnId, Arc<Buffer>>>,
}

impl Journal {
    /// Opens the log of a turn that this process has just claimed.
    pub(crate) fn open(&self, turn: &Turn, leased_until: Instant) -> TurnLog {
        let summary = TurnSummary { state: Some(turn.state), usage: turn.usage, ..TurnSummary::default() };
        let buffer = Arc::new(Buffer {
            leased_until: watch::Sender::new(leased_until),
            turn: turn.id,
            epoch: turn.epoch,
            trace_id: turn.trace_id.clone(),
            inner: Mutex::new(Inner { next_seq: turn.last_seq + 1, summary, ..Inner::default() }),
            written: watch::Sender::new(turn.last_seq),
            stopped: watch::Sender::new(None),
            fenced: CancellationToken::new(),
        });
        lock(&self.0.driven).insert(turn.id, Arc::clone(&buffer));
        TurnLog { journal: self.clone(), buffer }
    }

    /// Stops the worker of the turn, if it runs in this process, because the turn's epoch has moved.
    pub(crate) fn fence(&self, turn: TurnId) {
        if let Some(buffer) = lock(&self.0.driven).get(&turn) {
            buffer.stop(WriteError::Fenced);
        }
    }

    /// Asks the flusher to check the epoch of the turn, if this process drives it.
    pub(crate) fn check_epoch(&self, turn: TurnId) {
        if lock(&self.0.driven).contains_key(&turn) {
            lock(&self.0.epoch_checks).push(turn);
            self.0.wake.notify_one();
        }
    }

    /// Records that the leases of the turns were extended.
    fn extend_leases(&self, turns: &[TurnId], until: Instant) {
        let driven = lock(&self.0.driven);
        for buffer in turns.iter().filter_map(|turn| driven.get(turn)) {
            buffer.leased_until.send_replace(until);
        }
    }

    /// The turns that this process drives, with their epochs.
    fn driven(&self) -> Vec<(TurnId, i64)> {
        lock(&self.0.driven).values().map(|buffer| (buffer.turn, buffer.epoch)).collect()
    }

    /// Puts a turn into the queue of the flusher.
    fn enqueue(&self, buffer: &Arc<Buffer>) {
        lock(&self.0.queue).push(Arc::clone(buffer));
        self.0.wake.notify_one();
    }

    /// Removes a turn, unless it has been opened again under another epoch.
    fn close(&self, buffer: &Arc<Buffer>) {
        let mut driven = lock(&self.0.driven);
        if driven.get(&buffer.turn).is_some_and(|current| Arc::ptr_eq(current, buffer)) {
            driven.remove(&buffer.turn);
        }
    }
}

/// The unwritten events of one turn, and how far its log is written.
struct Buffer {
    turn: TurnId,
    epoch: i64,
    trace_id: String,
    inner: Mutex<Inner>,
    /// The seq of the newest event in the database.
    written: watch::Sender<u32>,
    stopped: watch::Sender<Option<WriteError>>,
    fenced: CancellationToken,
    /// Measured by this process's clock from before the statement that extended the lease, so it is never later than the expiry in the
    /// database.
    leased_until: watch::Sender<Instant>,
}

/// The state of a turn after the events that this worker has added to its log.
#[derive(Debug, Clone, Default)]
pub(crate) struct TurnSummary {
    pub(crate) state: Option<State>,
    pub(crate) failure: Option<Reason>,
    /// The message of `turn.failed`; empty for other ends.
    pub(crate) error: String,
    /// The number of the newest step that this worker has finished.
    pub(crate) steps: Option<u32>,
    pub(crate) usage: Usage,
}

#[derive(Default)]
struct Inner {
    next_seq: u32,
    summary: TurnSummary,
    unwritten: Vec<TurnEvent>,
    unwritten_bytes: usize,
    /// The change of the turn's row that is written with the events.
    change: Option<Change>,
    /// The buffer is in the queue of the flusher, or its events are being written.
    queued: bool,
}

impl Inner {
    fn push(&mut self, trace_id: &str, kind: Kind) {
        match &kind {
            Kind::StepFinished(finished) => self.summary.steps = Some(finished.step),
            Kind::Usage(usage) => self.summary.usage = *usage,
            Kind::TurnFailed(failed) => self.summary.error.clone_from(&failed.message),
            _ => {}
        }
        let size = kind.encoded_len();
        let kind = match self.unwritten.last_mut().and_then(|event| event.kind.as_mut()) {
            Some(last) => event::join(last, kind, event::DELTA_BYTES),
            None => Some(kind),
        };
        self.unwritten_bytes += size;
        if let Some(kind) = kind {
            let time = Some(clock::timestamp(clock::now()));
            self.unwritten.push(TurnEvent { time, trace_id: trace_id.to_owned(), kind: Some(kind), ..TurnEvent::default() });
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

/// The log of one turn, for the worker that drives it. Dropping it does not end the lease.
pub(crate) struct TurnLog {
    journal: Journal,
    buffer: Arc<Buffer>,
}

impl TurnLog {
    /// Adds an event that [`event::fit`] has returned. Waits only while too many bytes are unwritten.
    pub(crate) async fn push_fitted(&self, kind: Kind) -> Result<(), WriteError> {
        self.wait_for_room().await?;
        self.add([kind], None);
        Ok(())
    }

    /// Adds the events that [`event::fit`] has returned for one event, together with a change of the turn's row.
    pub(crate) async fn push_fitted_with(&self, kinds: Vec<Kind>, change: Change) -> Result<(), WriteError> {
        self.wait_for_room().await?;
        self.add(kinds, Some(change));
        Ok(())
    }

    /// Adds events and a change of the turn's row, which are written in one statement, and waits until they are written.
    pub(crate) async fn append(&self, kinds: Vec<Kind>, change: Change) -> Result<(), WriteError> {
        self.buffer.check()?;
        let last = self.add(kinds.into_iter().flat_map(event::fit), Some(change));
        self.wait_until_written(last).await
    }

    /// The seq of the last event that was added.
    pub(crate) fn last_seq(&self) -> u32 {
        lock(&self.buffer.inner).next_seq - 1
    }

    /// Waits until all events that were added are written.
    pub(crate) async fn flush(&self) -> Result<(), WriteError> {
        self.wait_until_written(self.last_seq()).await
    }

    /// Waits until the lease of the turn is valid. The database fences writes by the epoch; actions outside of the database are protected
    /// only by this. A process that was paused for longer than its lease waits here for the next heartbeat.
    pub(crate) async fn wait_for_lease(&self) -> Result<(), WriteError> {
        let mut leased_until = self.buffer.leased_until.subscribe();
        tokio::select! {
            biased;
            () = self.buffer.fenced.cancelled() => self.buffer.check(),
            _ = leased_until.wait_for(|until| *until > Instant::now()) => Ok(()),
        }
    }

    /// Cancelled when this worker has lost the turn.
    pub(crate) fn fenced(&self) -> CancellationToken {
        self.buffer.fenced.clone()
    }

    /// Records that the turn has taken its project's slot.
    pub(crate) fn set_running(&self) {
        lock(&self.buffer.inner).summary.state = Some(State::Running);
    }

    pub(crate) fn summary(&self) -> TurnSummary {
        lock(&self.buffer.inner).summary.clone()
    }

    /// Numbers events and queues them for the flusher. Returns the seq of the last one.
    fn add(&self, kinds: impl IntoIterator<Item = Kind>, change: Option<Change>) -> u32 {
        let (last, enqueue) = {
            let mut inner = lock(&self.buffer.inner);
            for kind in kinds {
                inner.push(&self.buffer.trace_id, kind);
            }
            if let Some(change) = change {
                if let Some(next) = change.state {
                    let state = inner.summary.state;
                    debug_assert!(state.is_none_or(|state| state.may_become(next)), "{state:?} to {next:?}");
                    inner.summary.state = Some(next);
                }
                inner.summary.failure = change.failure_reason.or(inner.summary.failure);
                inner.change.get_or_insert_default().merge(change);
            }
            (inner.next_seq - 1, !std::mem::replace(&mut inner.queued, true))
        };
        if enqueue {
            self.journal.enqueue(&self.buffer);
        }
        last
    }

    async fn wait_for_room(&self) -> Result<(), WriteError> {
        let mut written = self.buffer.written.subscribe();
        loop {
            self.buffer.check()?;
            if lock(&self.buffer.inner).unwritten_bytes < MAX_UNWRITTEN_BYTES {
                return Ok(());
            }
            tokio::select! {
                _ = written.changed() => {}
                () = self.buffer.fenced.cancelled() => {}
            }
        }
    }

    async fn wait_until_written(&self, seq: u32) -> Result<(), WriteError> {
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

/// Ignores poisoning: the data under these locks is valid after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
