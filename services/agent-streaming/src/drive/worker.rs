//! Claims turns and drives each one to its end or into the queue. When the epoch of a turn has moved or the process drains, the worker
//! drops the task of the turn and with it the connection to the provider.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chassis::{
    propagation, seeded_bug,
    task::{Tasks, Ticks},
};
use prost::Message as _;
use proto::{
    agent_streaming::{TurnQueued, turn_event::Kind},
    id::TurnId,
    project_storage::CommitTurnRequest,
};
use tracing::{Instrument as _, Span, field::Empty};

#[cfg(feature = "seeded-bugs")]
use crate::seeded_bugs;
use crate::{
    app::App,
    drive::commit,
    drive::run::{self, DriveError, Stored},
    log::journal::{Journal, TurnLog, TurnSummary, WriteError},
    metrics,
    store::{
        self, Pool,
        claims::{self, ClaimOptions, Slot},
        events, turns,
    },
    turn::transcript::RecordedTurn,
    turn::{Change, Failure, Reason, State, Task, Turn},
};

/// The doorbell announces new turns. The poll finds expired leases, and turns whose doorbell message was lost.
const POLL: Duration = Duration::from_secs(1);
/// The largest number of turns in one claim.
const BATCH: usize = 100;
/// How long a draining process continues its turns. This is enough for a commit. An answer may take minutes, and the next worker
/// requests it again in any case.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Drives the turns of this process.
pub(crate) struct Worker {
    app: Arc<App>,
    turns: Tasks,
    /// The epochs of the claimed turns that are still driven.
    claimed: Arc<Mutex<HashMap<TurnId, i64>>>,
}

impl Worker {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app, turns: Tasks::new(), claimed: Arc::default() }
    }

    /// Claims turns until the process drains.
    pub(crate) async fn run(&self) {
        let mut polls = Ticks::new(POLL.min(self.app.limits.lease / 3), self.app.stop.clone());
        while polls.next_or(self.app.doorbell.wait_for_work()).await {
            while self.claim().await {}
        }
    }

    /// Continues the turns for [`DRAIN_TIMEOUT`], then releases the remaining ones, so that another process can claim them at once.
    pub(crate) async fn drain(&self) {
        self.turns.shutdown(DRAIN_TIMEOUT).await;
        let left: Vec<_> = self.lock().drain().collect();
        if left.is_empty() {
            return;
        }
        tracing::info!(turns = left.len(), "turns are released for another process");
        match claims::release(&self.app.db, &left).await {
            Ok(()) => self.app.doorbell.ring_work(),
            Err(error) => tracing::warn!(error = %error, "the leases of turns could not be released; they expire instead"),
        }
    }

    /// Claims one batch of turns and starts to drive them. Returns whether there may be more turns to claim.
    async fn claim(&self) -> bool {
        let room = self.app.limits.max_turns.saturating_sub(self.turns.len()).min(BATCH);
        if room == 0 || self.app.stop.is_cancelled() {
            return false;
        }
        let limits = &self.app.limits;
        // These include turns whose log is not open yet.
        let driven: Vec<_> = self.lock().keys().copied().collect();
        let options = ClaimOptions { limit: room, lease: limits.lease, begin_timeout: limits.begin_timeout, driven: &driven };
        let leased_until = Instant::now() + limits.lease;
        let turns = match claims::claim(&self.app.db, options).await {
            Ok(turns) => turns,
            Err(error) => {
                tracing::warn!(error = %error, "turns could not be claimed");
                return false;
            }
        };
        let full = turns.len() == room;
        for turn in turns {
            self.lock().insert(turn.id, turn.epoch);
            let (app, claimed) = (Arc::clone(&self.app), Arc::clone(&self.claimed));
            let span = span_of(&turn);
            self.turns.spawn(
                async move {
                    let (id, epoch) = (turn.id, turn.epoch);
                    drive(&app, turn, leased_until).await;
                    let mut claimed = claimed.lock().unwrap_or_else(PoisonError::into_inner);
                    if claimed.get(&id) == Some(&epoch) {
                        claimed.remove(&id);
                    }
                }
                .instrument(span),
            );
        }
        full
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TurnId, i64>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The span of a driven turn. It belongs to the trace of the request that started the turn, also after a recovery.
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
    let (log, turn) = match open_log(&app.db, &app.journal, turn, leased_until).await {
        Ok(opened) => opened,
        Err(error) => return tracing::warn!(error = %error, "the log of the turn could not be read; the turn is claimed again later"),
    };
    let fenced = log.fenced();
    let driven = metrics::GaugeGuard::driven();
    let outcome = tokio::select! {
        biased;
        outcome = perform(app, &log, &turn, task) => outcome,
        () = fenced.cancelled() => Err(DriveError::Write(WriteError::Fenced)),
    };
    drop(driven);
    match outcome {
        Ok(()) => report(&turn, &log.summary()),
        Err(DriveError::Write(WriteError::Fenced)) => tracing::info!("the turn is no longer driven by this process"),
        Err(error) => tracing::error!(cause = chassis::error::chain(&error), "the turn cannot be driven on until its lease expires"),
    }
    drop(log);
    app.folds.forget(turn.id);
    // The next turn of the project may have a free slot now.
    app.doorbell.ring_work();
}

/// Reports a turn that has ended. A turn that went into the queue is not reported.
fn report(turn: &Turn, summary: &TurnSummary) {
    let Some(state) = summary.state.filter(|state| state.has_ended()) else { return };
    let reason = summary.failure.map_or("", Reason::as_str);
    let span = Span::current();
    span.record("turn.outcome", state.as_str());
    if state == State::Failed {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", reason);
    }
    let outcome = metrics::TurnOutcome { state, reason, error: &summary.error, steps: summary.steps, usage: summary.usage };
    metrics::turn_ended(turn, &outcome);
}

/// Opens the log of a claimed turn after its newest event.
async fn open_log(db: &Pool, journal: &Journal, turn: Turn, leased_until: Instant) -> Result<(TurnLog, Turn), store::StoreError> {
    // This is read after the claim. Since then only this worker, or a cancel, can add events.
    let last_seq = events::last_seq(db, turn.id).await?.max(turn.last_seq);
    let turn = Turn { last_seq, ..turn };
    Ok((journal.open(&turn, leased_until), turn))
}

async fn perform(app: &App, log: &TurnLog, turn: &Turn, task: Task) -> Result<(), DriveError> {
    let fail = async |reason, message: &str| Ok(commit::fail(&app.outbox, log, &Failure::new(reason, message)).await?);
    match task {
        Task::FailNotBegun => fail(Reason::NotBegun, "project-storage did not begin the turn in time").await,
        Task::FailWorkersLost => fail(Reason::WorkerLost, "four processes in a row stopped while they ran the turn").await,
        Task::Start => start(app, log, turn).await,
        Task::Resume => {
            let recorded = read_log(&app.db, turn.id).await?;
            tracing::info!(recoveries = turn.recoveries, "a turn of another process is resumed");
            let stored = stored(app, turn).await?;
            run::run(app, log, turn, stored, Some(recorded)).await
        }
        Task::Commit => {
            let stored = events::change_set(&app.db, turn.id).await?;
            let request = stored.and_then(|bytes| CommitTurnRequest::decode(bytes.as_slice()).ok());
            seeded_bug!(let request = request.map(seeded_bugs::empty_change_set));
            match request {
                Some(request) => Ok(commit::commit(&app.upstream, &app.outbox, log, request).await?),
                None => fail(Reason::Internal, "the change set of the turn is missing").await,
            }
        }
    }
}

/// The agent and the skills of a turn as they were when the turn was accepted: a changed catalogue never changes a turn.
async fn stored(app: &App, turn: &Turn) -> Result<Stored, store::StoreError> {
    let agent = match &turn.agent_version {
        Some(version) => app.agents.find(&app.db, &turn.agent, version).await?,
        // The release before has accepted the turn.
        None => app.agents.now().get(&turn.agent).cloned(),
    };
    let skills = match &turn.skills {
        Some(version) => app.agents.find_skills(&app.db, version).await?,
        None => None,
    };
    Ok(Stored { agent, skills })
}

/// Reads the log of a turn.
async fn read_log(db: &Pool, turn: TurnId) -> Result<RecordedTurn, store::StoreError> {
    let mut recorded = RecordedTurn::default();
    events::read_all(db, turn, |seq, kind| recorded.apply(seq, kind)).await?;
    seeded_bug!(seeded_bugs::forget_finished_steps(&mut recorded));
    Ok(recorded)
}

/// Takes the slot and runs the turn, or puts it into the queue.
async fn start(app: &App, log: &TurnLog, turn: &Turn) -> Result<(), DriveError> {
    match claims::take_slot(&app.db, turn.id, turn.epoch).await? {
        Slot::Taken => {
            log.set_running();
            metrics::slot_taken(turn);
            let stored = stored(app, turn).await?;
            run::run(app, log, turn, stored, None).await
        }
        Slot::Fenced => Err(DriveError::Write(WriteError::Fenced)),
        // The turn was claimed from the queue, and another turn has taken the slot first.
        Slot::Busy if turn.state == State::Queued => Ok(claims::release(&app.db, &[(turn.id, turn.epoch)]).await?),
        Slot::Busy => {
            let Some(project) = turn.project_id else { return Ok(()) };
            let running = turns::find_blocking(&app.db, project, turn.id).await?;
            let queued = TurnQueued { running_turn_id: running.map(|id| id.to_string()).unwrap_or_default() };
            Ok(log.append(vec![Kind::TurnQueued(queued)], Change::queued()).await?)
        }
    }
}
