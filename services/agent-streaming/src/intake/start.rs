//! Starts turns, exactly one per idempotency key. The row is inserted first, then project-storage begins the turn, then its first events
//! are written. A retry with the same key continues where the last request stopped.

use std::time::Duration;

use chassis::{clock, context::Context, propagation};
use proto::{
    agent_streaming::{IfActive, TurnAccepted, TurnEvent, turn_event::Kind},
    error::{ErrorCode, Fault},
    id::{ProjectId, TurnId, UserId},
    metadata::Metadata,
    project_storage::{BeginTurnRequest, EndTurnRequest, TurnEnd},
};

use time::OffsetDateTime;

use crate::{
    app::App,
    error::{Error, SERVICE},
    intake::{
        cancel, choose, earlier_plan, restriction,
        select::{self, Selected},
    },
    own_keys::choice::Models,
    store::{
        Pool,
        ends::{self, InterruptOutcome},
        turns::{self, AcceptOutcome, AcceptTurn},
    },
    turn::event,
    turn::{State, Turn, mode::Mode},
    upstream::{Upstream, is_refusal},
    workspace::tools::policy,
};

/// The pause that a client is asked for while the outcome of its request is unknown.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A valid StartTurn request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartRequest {
    pub(crate) project: Option<ProjectId>,
    pub(crate) draft: Option<String>,
    pub(crate) prompt: String,
    pub(crate) agent: String,
    pub(crate) model: String,
    pub(crate) base_revision: String,
    pub(crate) if_active: IfActive,
    pub(crate) cancel_unfollowed: bool,
    pub(crate) require_clean_files: bool,
    pub(crate) pinned: Vec<String>,
    pub(crate) excluded: Vec<String>,
    pub(crate) client_message_id: String,
    pub(crate) metadata: Metadata,
    pub(crate) replaces: Option<TurnId>,
    pub(crate) mode: Mode,
    /// The turn whose plan is carried out.
    pub(crate) plan_turn: Option<TurnId>,
    pub(crate) key: Option<String>,
    /// A hash of everything but the key. A replayed request must have the same one.
    pub(crate) fingerprint: Vec<u8>,
}

/// The outcome of a request.
pub(crate) struct StartResult {
    pub(crate) turn: Turn,
    /// An earlier request with the same key started the turn.
    pub(crate) replayed: bool,
}

/// Starts a turn, or returns the one that an earlier request with the same key has started.
pub(crate) async fn start(app: &App, context: &Context, start: StartRequest, now: OffsetDateTime) -> Result<StartResult, Error> {
    let user = context.user()?.id;
    restriction::require_project(app, context, start.project, start.draft.as_deref()).await?;
    if let Some(turn) = find_by_key(&app.db, user, &start).await? {
        return Ok(StartResult { turn: resume(app, context, start.project, turn, now).await?, replayed: true });
    }
    // A change of the agents in the meantime does not count.
    let agents = app.agents.now();
    let selection = select::select_agent(&agents, (&start.agent, &start.prompt))?;
    let models = Models::of_turn(&app.db, &app.providers, user, start.project).await?;
    let selected = select::with_model(&agents, &models, selection, &start.model)?;
    if start.if_active == IfActive::Reject
        && let Some(running) = turns::find_active(&app.db, user, start.project, start.draft.as_deref()).await?
    {
        return Err(Error::TurnActive { turn: Some(running) });
    }
    app.upstream.check_rate_limit(context, user).await?;
    let plan = earlier_plan::find(app, context, start.plan_turn, (start.project, start.draft.as_deref())).await?;
    let agent = plan.as_ref().map_or(start.agent.as_str(), |plan| plan.agent(&agents, &start.agent));
    let selection = match agent {
        "" => choose::choose(&app.providers, &agents, &start.prompt, &selected.selection).await,
        named => Some(select::select_agent(&agents, (named, &start.prompt))?),
    };
    let selected = match selection {
        Some(selection) => select::with_model(&agents, &models, selection, &start.model)?,
        None => selected,
    };
    app.agents.keep(&app.db, &agents).await?;
    let tools = policy::of_turn(&selected.tools, start.mode, &app.tools_denied);
    let mut turn = Turn { plan: plan.map(|plan| plan.steps), tools: Some(tools), ..new_turn(context, user, &start, selected, now) };
    match turns::insert(&app.db, &turn, start.key.as_deref()).await? {
        Some(created_at) => turn.created_at = created_at,
        // A concurrent request with the same key has inserted its turn first.
        None => {
            let turn = find_by_key(&app.db, user, &start).await?.ok_or_else(still_starting)?;
            return Ok(StartResult { turn: resume(app, context, start.project, turn, now).await?, replayed: true });
        }
    }
    Ok(StartResult { turn: begin(app, context, start.project, turn, now).await?, replayed: false })
}

async fn find_by_key(db: &Pool, user: UserId, start: &StartRequest) -> Result<Option<Turn>, Error> {
    let Some(key) = &start.key else { return Ok(None) };
    let turn = turns::find_by_key(db, user, key).await?;
    match turn {
        Some(turn) if turn.fingerprint != start.fingerprint => Err(Error::KeyReused),
        turn => Ok(turn),
    }
}

/// Begins a turn that an earlier request stored but did not begin.
async fn resume(app: &App, context: &Context, project: Option<ProjectId>, turn: Turn, now: OffsetDateTime) -> Result<Turn, Error> {
    if turn.project_id.is_some() || turn.state.has_ended() {
        return Ok(turn);
    }
    begin(app, context, project, turn, now).await
}

/// A turn that is not stored yet.
fn new_turn(context: &Context, user: UserId, start: &StartRequest, selected: Selected, now: OffsetDateTime) -> Turn {
    let Selected { selection, model, skills, provider_key, .. } = selected;
    let traceparent = propagation::traceparent();
    Turn {
        id: TurnId::generate(),
        user_id: user,
        project_id: None,
        draft_id: start.draft.clone(),
        fingerprint: start.fingerprint.clone(),
        prompt: start.prompt.clone(),
        agent: selection.agent.clone(),
        agent_rule: selection.rule.clone(),
        model,
        asked_revision: start.base_revision.clone(),
        reject_if_active: start.if_active == IfActive::Reject,
        goes_first: start.if_active == IfActive::Interrupt,
        client_message_id: start.client_message_id.clone(),
        metadata: start.metadata.clone(),
        replaces: start.replaces,
        cancel_unfollowed: start.cancel_unfollowed,
        require_clean_files: start.require_clean_files,
        pinned: start.pinned.clone(),
        excluded: start.excluded.clone(),
        mode: start.mode,
        plan: None,
        tools: None,
        skills: Some(skills),
        agent_version: Some(selection.version.clone()),
        provider_key,
        usage: selection.choice.as_ref().and_then(|choice| choice.usage).unwrap_or_default(),
        selection: Some(selection),
        state: State::Accepted,
        epoch: 0,
        recoveries: 0,
        base_revision: String::new(),
        history: None,
        revision: String::new(),
        failure_reason: String::new(),
        last_seq: 0,
        trace_id: context.trace_id.clone(),
        traceparent: traceparent.unwrap_or_else(|| format!("00-{}-{:016x}-00", context.trace_id, rand::random_range(1..u64::MAX))),
        created_at: now,
        started_at: None,
        ended_at: None,
    }
}

async fn begin(app: &App, context: &Context, project: Option<ProjectId>, turn: Turn, now: OffsetDateTime) -> Result<Turn, Error> {
    let request = BeginTurnRequest {
        turn_id: turn.id.to_string(),
        project_id: project.map(|id| id.to_string()).unwrap_or_default(),
        draft_id: turn.draft_id.clone().unwrap_or_default(),
        prompt: turn.prompt.clone(),
        replaces_turn_id: turn.replaces.map(|id| id.to_string()).unwrap_or_default(),
        base_revision: turn.asked_revision.clone(),
    };
    match app.upstream.begin(context, request).await {
        Ok(project) => accept(app, turn, project, now).await,
        // The turn was cancelled, or has failed because it was not begun in time.
        Err(fault) if fault.reason == "TURN_ENDED" => find_accepted_or_ended(&app.db, &turn).await,
        Err(fault) if is_refusal(&fault) => {
            turns::delete_unbegun(&app.db, turn.id).await?;
            Err(Error::Refused(fault))
        }
        // It is unknown whether the turn was begun. A retry with the same key finds out. Without a retry the turn fails as NOT_BEGUN.
        Err(fault) if matches!(fault.code, ErrorCode::Timeout | ErrorCode::Unavailable) => {
            tracing::warn!(turn.id = %turn.id, reason = fault.reason, "project-storage did not answer whether it began the turn: {fault}");
            let text = "project-storage did not answer in time; try again with the same idempotency key";
            Err(Error::Refused(Fault::new(SERVICE, ErrorCode::Unavailable, "UNAVAILABLE", text).retry_after(RETRY_AFTER)))
        }
        Err(fault) => Err(Error::Refused(fault)),
    }
}

/// Stores the project and the first events of a turn that project-storage has begun.
async fn accept(app: &App, turn: Turn, project: ProjectId, now: OffsetDateTime) -> Result<Turn, Error> {
    let kinds = [Kind::TurnAccepted(TurnAccepted { project_id: project.to_string() }), Kind::AgentSelected(select::recorded(&turn))];
    let time = Some(clock::timestamp(now));
    let events: Vec<_> = (1_u32..)
        .zip(kinds)
        .map(|(seq, kind)| {
            let event = TurnEvent { time, trace_id: turn.trace_id.clone(), kind: Some(kind), ..TurnEvent::default() };
            (seq, event::encode(&event))
        })
        .collect();
    let accept = AcceptTurn {
        turn: turn.id,
        project,
        events: &events,
        takes_slot: turn.reject_if_active,
        only_if_free: turn.reject_if_active,
        grace: app.limits.disconnect_grace,
    };
    let (outcome, interrupted) = if turn.goes_first {
        match ends::interrupt(&app.db, accept, turn.user_id, cancel::event_at(now)).await? {
            InterruptOutcome::Accepted(interrupted) => (AcceptOutcome::Accepted, interrupted),
            InterruptOutcome::Busy(running) => return Err(withdraw(&app.db, &app.upstream, &turn, Some(running)).await?),
            InterruptOutcome::Changed => (AcceptOutcome::Changed, None),
        }
    } else {
        (turns::accept(&app.db, accept).await?, None)
    };
    if let Some((interrupted, seq)) = interrupted {
        cancel::announce(app, interrupted, seq);
        // The new turn is accepted already, so an error here is ignored: only the report is missing.
        if let Ok(Some(interrupted)) = turns::find(&app.db, interrupted, turn.user_id).await {
            cancel::report(&interrupted);
        }
    }
    match outcome {
        AcceptOutcome::Accepted => {
            app.doorbell.ring_work();
            let state = if turn.reject_if_active || interrupted.is_some() { State::Running } else { State::Accepted };
            Ok(Turn { state, project_id: Some(project), last_seq: 2, ..turn })
        }
        AcceptOutcome::Busy => {
            let running = turns::find_blocking(&app.db, project, turn.id).await?;
            Err(withdraw(&app.db, &app.upstream, &turn, running).await?)
        }
        AcceptOutcome::Changed => find_accepted_or_ended(&app.db, &turn).await,
    }
}

/// Withdraws a turn that must not wait in the queue, and returns the error for the client. If one of the calls fails, the turn fails
/// later as NOT_BEGUN.
async fn withdraw(db: &Pool, upstream: &Upstream, turn: &Turn, running: Option<TurnId>) -> Result<Error, Error> {
    let end = TurnEnd::Withdrawn.into();
    upstream.end(EndTurnRequest { turn_id: turn.id.to_string(), end, ..EndTurnRequest::default() }).await?;
    turns::delete_unbegun(db, turn.id).await?;
    Ok(Error::TurnActive { turn: running })
}

/// Reads a turn that another request or a worker has accepted or ended.
async fn find_accepted_or_ended(db: &Pool, turn: &Turn) -> Result<Turn, Error> {
    let turn = turns::find(db, turn.id, turn.user_id).await?;
    turn.filter(|turn| turn.project_id.is_some() || turn.state.has_ended()).ok_or_else(still_starting)
}

fn still_starting() -> Error {
    let text = "another request is starting this turn; try again";
    Error::Refused(Fault::new(SERVICE, ErrorCode::Unavailable, "UNAVAILABLE", text).retry_after(RETRY_AFTER))
}
