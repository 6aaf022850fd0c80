//! Claims turns and drives each to its end, or to the queue. Losing a turn (its epoch moved, the process drains) just drops
//! what is done for it, the provider's connection included.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chassis::{propagation, seeded_bug, task::Tasks};
use prost::Message as _;
use proto::{
    agent_streaming::{TurnQueued, turn_event::Kind},
    id::TurnId,
    project_storage::CommitTurnRequest,
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{Instrument as _, Span, field::Empty};

#[cfg(feature = "seeded-bugs")]
use crate::seeded_bugs;
use crate::{
    app::App,
    drive::commit,
    drive::run,
    log::journal::{Tally, TurnLog, WriteError},
    metrics,
    store::{
        self,
        claims::{self, Slot, Terms},
        events, turns,
    },
    turn::event,
    turn::transcript::RecordedTurn,
    turn::{Change, Failure, Reason, State, Task, Turn},
};

/// New work rings; this finds what nobody rang for: leases that ran out, lost doorbells.
const POLL: Duration = Duration::from_secs(1);
const CLAIMS: usize = 100;
/// How long a draining process goes on with its turns. A commit is through by then; a model may talk for minutes, and what it
/// says is lost to the one who takes over in any case.
const HANDOVER: Duration = Duration::from_secs(1);

/// Why a worker drives a turn no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the database")]
    Store(#[from] store::StoreError),
}

/// Everything that this process drives.
pub(crate) struct Worker {
    app: Arc<App>,
    turns: Tasks,
    /// What it has claimed and not finished with.
    held: Arc<Mutex<HashMap<TurnId, i64>>>,
}

impl Worker {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app, turns: Tasks::new(), held: Arc::default() }
    }

    /// Claims until the process drains.
    pub(crate) async fn run(&self) {
        let mut poll = interval(POLL.min(self.app.limits.lease / 3));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.app.stop.cancelled() => return,
                _ = poll.tick() => {}
                () = self.app.doorbell.worked() => {}
            }
            while self.claim().await {}
        }
    }

    /// Lets what is about to end do so; what is left then is let go of, so that another process takes it over at once.
    pub(crate) async fn drain(&self) {
        self.turns.shutdown(HANDOVER).await;
        let left: Vec<_> = self.lock().drain().collect();
        if left.is_empty() {
            return;
        }
        tracing::info!(turns = left.len(), "turns are handed over to another process");
        match claims::release(&self.app.db, &left).await {
            Ok(()) => self.app.doorbell.work(),
            Err(error) => tracing::warn!(error = %error, "leases could not be released and run out instead"),
        }
    }

    /// Takes what it can. Whether there may be more.
    async fn claim(&self) -> bool {
        let room = self.app.limits.max_turns.saturating_sub(self.turns.len()).min(CLAIMS);
        if room == 0 || self.app.stop.is_cancelled() {
            return false;
        }
        let limits = &self.app.limits;
        // Also those whose log is not open yet.
        let driven: Vec<_> = self.lock().keys().copied().collect();
        let terms = Terms { limit: room, lease: limits.lease, begin_within: limits.begin_timeout, driven: &driven };
        let leased_until = Instant::now() + limits.lease;
        let claimed = match claims::claim(&self.app.db, terms).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = %error, "turns could not be claimed");
                return false;
            }
        };
        let full = claimed.len() == room;
        for turn in claimed {
            self.lock().insert(turn.id, turn.epoch);
            let (app, held) = (Arc::clone(&self.app), Arc::clone(&self.held));
            let span = span_of(&turn);
            self.turns.spawn(
                async move {
                    let (id, epoch) = (turn.id, turn.epoch);
                    drive(&app, turn, leased_until).await;
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
        turn.outcome = Empty,
        otel.status_code = Empty,
        error.type = Empty,
        trace_id = turn.trace_id,
    );
    propagation::adopt_traceparent(&span, &turn.traceparent);
    span
}

async fn drive(app: &App, turn: Turn, leased_until: Instant) {
    let Some(task) = Task::of(&turn) else { return };
    let (log, turn) = match opened(app, turn, leased_until).await {
        Ok(opened) => opened,
        Err(error) => return tracing::warn!(error = %error, "the turn could not be opened and is left to the next claim"),
    };
    let fenced = log.fenced();
    let driven = metrics::GaugeGuard::driven();
    let outcome = tokio::select! {
        biased;
        outcome = attend(app, &log, &turn, task) => outcome,
        () = fenced.cancelled() => Err(DriveError::Write(WriteError::Fenced)),
    };
    drop(driven);
    match outcome {
        Ok(()) => report(&turn, &log.tally()),
        Err(DriveError::Write(WriteError::Fenced)) => tracing::info!("the turn is no longer driven here"),
        Err(error) => tracing::error!(cause = chassis::error::chain(&error), "the turn is left until its lease runs out"),
    }
    drop(log);
    // Whatever became of it, the next turn of the project may go.
    app.doorbell.work();
}

/// A turn that was driven to its end, not back into the queue.
fn report(turn: &Turn, tally: &Tally) {
    let Some(outcome) = tally.state.filter(|state| state.has_ended()) else { return };
    let reason = tally.failure.map_or("", Reason::as_str);
    let span = Span::current();
    span.record("turn.outcome", outcome.as_str());
    if outcome == State::Failed {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", reason);
    }
    metrics::ended(turn, &metrics::End { outcome, reason, steps: tally.steps, usage: tally.usage });
}

/// The log of a claimed turn, numbered on from its newest event.
async fn opened(app: &App, turn: Turn, leased_until: Instant) -> Result<(TurnLog, Turn), store::StoreError> {
    // Read after the claim: nobody but this owner, or a cancel, adds to it now.
    let last_seq = events::last_seq(&app.db, turn.id).await?.max(turn.last_seq);
    let turn = Turn { last_seq, ..turn };
    Ok((app.journal.open(&turn, leased_until), turn))
}

async fn attend(app: &App, log: &TurnLog, turn: &Turn, task: Task) -> Result<(), DriveError> {
    let fail = async |reason, message: &str| Ok(commit::fail(app, log, &Failure::new(reason, message)).await?);
    match task {
        Task::FailNotBegun => fail(Reason::NotBegun, "the project did not take the turn in time").await,
        Task::FailWorkersLost => fail(Reason::WorkerLost, "four processes in a row stopped while they ran the turn").await,
        Task::Begin => begin(app, log, turn).await,
        Task::Resume => {
            let past = past(app, turn.id).await?;
            tracing::info!(lost = turn.recoveries, "going on with a turn that another process began");
            Ok(run::run(app, log, turn, Some(past)).await?)
        }
        Task::Commit => {
            let stored = events::change_set(&app.db, turn.id).await?;
            let request = stored.and_then(|bytes| CommitTurnRequest::decode(bytes.as_slice()).ok());
            seeded_bug!(let request = request.map(seeded_bugs::empty_change_set));
            match request {
                Some(request) => Ok(commit::commit(app, log, request).await?),
                None => fail(Reason::Internal, "the turn's change set is gone").await,
            }
        }
    }
}

/// A turn as its log tells it.
async fn past(app: &App, turn: TurnId) -> Result<RecordedTurn, store::StoreError> {
    let mut past = RecordedTurn::default();
    events::read_all(&app.db, turn, |row| {
        if let Some(kind) = event::decode(turn, row.seq, &row.payload).kind {
            past.apply(row.seq, &kind);
        }
    })
    .await?;
    seeded_bug!(seeded_bugs::forget_finished_steps(&mut past));
    Ok(past)
}

async fn begin(app: &App, log: &TurnLog, turn: &Turn) -> Result<(), DriveError> {
    match claims::take_slot(&app.db, turn.id, turn.epoch).await? {
        Slot::Taken => {
            log.has_slot();
            metrics::got_slot(turn);
            Ok(run::run(app, log, turn, None).await?)
        }
        Slot::Fenced => Err(DriveError::Write(WriteError::Fenced)),
        // It has been told so already, and somebody was faster.
        Slot::Busy if turn.state == State::Queued => Ok(claims::release(&app.db, &[(turn.id, turn.epoch)]).await?),
        Slot::Busy => {
            let Some(project) = turn.project_id else { return Ok(()) };
            let running = turns::find_in_front(&app.db, project, turn.id).await?;
            let queued = TurnQueued { running_turn_id: running.map(|id| id.to_string()).unwrap_or_default() };
            Ok(log.append(vec![Kind::TurnQueued(queued)], Change::queued()).await?)
        }
    }
}
