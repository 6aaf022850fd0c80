//! Claims turns and drives each to its end, or to the queue. Losing a turn (its epoch moved, the process drains) just drops
//! what is done for it, the provider's connection included.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chassis::{propagation, task::Tasks};
use prost::Message as _;
use proto::{
    agent_streaming::{TurnQueued, turn_event::Kind},
    id::TurnId,
    project_storage::CommitTurnRequest,
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{Instrument as _, Span};

use crate::{
    Parts,
    journal::{Stopped, TurnLog},
    outbox, run, saga,
    store::{
        self,
        claims::{self, Slot, Terms},
        events, turns,
    },
    turn::{Change, Failure, Reason, State, Task, Turn},
};

/// New work rings; this finds what nobody rang for: leases that ran out, lost doorbells.
const POLL: Duration = Duration::from_secs(1);
const CLAIMS: usize = 100;

/// Why a turn was left as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Left {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("the database")]
    Store(#[from] store::Error),
}

/// Everything that this process drives.
pub(crate) struct Worker {
    parts: Arc<Parts>,
    turns: Tasks,
    /// What it has claimed and not finished with.
    held: Arc<Mutex<HashMap<TurnId, i64>>>,
}

impl Worker {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { parts, turns: Tasks::new(), held: Arc::default() }
    }

    /// Claims until the process drains.
    pub(crate) async fn run(&self) {
        let mut poll = interval(POLL.min(self.parts.limits.lease / 3));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.parts.stop.cancelled() => return,
                _ = poll.tick() => {}
                () = self.parts.doorbell.worked() => {}
            }
            while self.claim().await {}
        }
    }

    /// Lets the turns go on for a while; what is left then is let go of, so that another process takes it over at once.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.turns.shutdown(limit).await;
        let left: Vec<_> = self.lock().drain().collect();
        if left.is_empty() {
            return;
        }
        tracing::warn!(turns = left.len(), "turns did not end in time and are left to another process");
        if let Err(error) = claims::release(&self.parts.db, &left).await {
            tracing::warn!(error = %error, "leases could not be released and run out instead");
        }
    }

    /// Takes what it can. Whether there may be more.
    async fn claim(&self) -> bool {
        let room = self.parts.limits.max_turns.saturating_sub(self.turns.len()).min(CLAIMS);
        if room == 0 || self.parts.stop.is_cancelled() {
            return false;
        }
        let limits = &self.parts.limits;
        let driven: Vec<_> = self.parts.journal.live().into_iter().map(|(turn, _)| turn).collect();
        let terms = Terms { limit: room, lease: limits.lease, begin_within: limits.begin_timeout, driven: &driven };
        let claimed = match claims::claim(&self.parts.db, terms).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = %error, "turns could not be claimed");
                return false;
            }
        };
        let full = claimed.len() == room;
        for turn in claimed {
            self.lock().insert(turn.id, turn.epoch);
            let (parts, held) = (Arc::clone(&self.parts), Arc::clone(&self.held));
            let span = span_of(&turn);
            self.turns.spawn(
                async move {
                    let (id, epoch) = (turn.id, turn.epoch);
                    drive(&parts, turn).await;
                    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    if held.get(&id) == Some(&epoch) {
                        held.remove(&id);
                    }
                }
                .instrument(span),
            );
        }
        full
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TurnId, i64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work on a turn belongs to the trace of the request that started it, also after a recovery.
fn span_of(turn: &Turn) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "turn",
        otel.name = "drive turn",
        otel.kind = "consumer",
        svc = crate::error::SERVICE,
        turn.id = %turn.id,
        turn.epoch = turn.epoch,
        trace_id = turn.trace_id,
    );
    propagation::adopt_traceparent(&span, &turn.traceparent);
    span
}

async fn drive(parts: &Parts, turn: Turn) {
    let Some(task) = Task::of(&turn) else { return };
    let (log, turn) = match opened(parts, turn).await {
        Ok(opened) => opened,
        Err(error) => return tracing::warn!(error = %error, "the turn could not be opened and is left to the next claim"),
    };
    let fenced = log.fenced();
    let outcome = tokio::select! {
        biased;
        outcome = attend(parts, &log, &turn, task) => outcome,
        () = fenced.cancelled() => Err(Left::Stopped(Stopped::Fenced)),
    };
    match outcome {
        Ok(()) => {}
        Err(Left::Stopped(Stopped::Fenced)) => tracing::info!("the turn is no longer driven here"),
        Err(error) => tracing::error!(cause = chassis::error::chain(&error), "the turn is left until its lease runs out"),
    }
    drop(log);
    // Whatever became of it, the next turn of the project may go.
    parts.doorbell.work();
}

/// The log of a claimed turn, numbered on from its newest event.
async fn opened(parts: &Parts, turn: Turn) -> Result<(TurnLog, Turn), store::Error> {
    // Read after the claim: nobody but this owner, or a cancel, adds to it now.
    let last_seq = events::last_seq(&parts.db, turn.id).await?.max(turn.last_seq);
    let turn = Turn { last_seq, ..turn };
    Ok((parts.journal.open(&turn), turn))
}

async fn attend(parts: &Parts, log: &TurnLog, turn: &Turn, task: Task) -> Result<(), Left> {
    match task {
        Task::GiveUp => {
            let failure = Failure::new(Reason::NotBegun, "the project did not take the turn in time");
            Ok(saga::fail(parts, log, &failure, "").await?)
        }
        Task::Begin => begin(parts, log, turn).await,
        Task::Bury => {
            let answer = outbox::fold(parts, turn.id).await?;
            let failure = Failure::new(Reason::WorkerLost, "the process that ran the turn was lost");
            Ok(saga::fail(parts, log, &failure, answer.text()).await?)
        }
        Task::Commit => {
            let stored = events::change_set(&parts.db, turn.id).await?;
            let request = stored.and_then(|bytes| CommitTurnRequest::decode(bytes.as_slice()).ok());
            let Some(request) = request else {
                let failure = Failure::new(Reason::Internal, "the turn's change set is gone");
                return Ok(saga::fail(parts, log, &failure, "").await?);
            };
            Ok(saga::commit(parts, log, request).await?)
        }
    }
}

async fn begin(parts: &Parts, log: &TurnLog, turn: &Turn) -> Result<(), Left> {
    match claims::take_slot(&parts.db, turn.id, turn.epoch).await? {
        Slot::Taken => {
            log.has_slot();
            Ok(run::run(parts, log, turn).await?)
        }
        Slot::Fenced => Err(Left::Stopped(Stopped::Fenced)),
        // It has been told so already, and somebody was faster.
        Slot::Busy if turn.state == State::Queued => Ok(claims::release(&parts.db, &[(turn.id, turn.epoch)]).await?),
        Slot::Busy => {
            let Some(project) = turn.project_id else { return Ok(()) };
            let running = turns::find_in_front(&parts.db, project, turn.id).await?;
            let queued = TurnQueued { running_turn_id: running.map(|id| id.to_string()).unwrap_or_default() };
            Ok(log.append(vec![Kind::TurnQueued(queued)], Change::queued()).await?)
        }
    }
}
