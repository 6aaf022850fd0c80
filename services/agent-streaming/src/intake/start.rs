//! StartTurn: from a request to a turn on record, exactly one per idempotency key. The row comes first, then project-storage
//! begins the turn, then its first events are written; a retry with the same key goes on from wherever the last one stopped.

use std::time::Duration;

use chassis::{clock, context::Context, propagation};
use proto::{
    agent_streaming::{AgentSelected, IfActive, TurnAccepted, TurnEvent, Usage, turn_event::Kind},
    error::{ErrorCode, Fault},
    id::{ProjectId, TurnId, UserId},
    project_storage::{BeginTurnRequest, TurnEnd},
};

use crate::{
    app::App,
    error::{Error, SERVICE},
    intake::cancel,
    store::{
        ends::{self, Interrupted},
        turns::{self, Accepted, Begun},
    },
    turn::event,
    turn::{State, Turn},
    upstream::is_refusal,
};

/// For a client whose turn could not be settled now.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A valid request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) project: Option<ProjectId>,
    pub(crate) draft: Option<String>,
    pub(crate) prompt: String,
    pub(crate) agent: String,
    pub(crate) model: String,
    pub(crate) base_revision: String,
    pub(crate) if_active: IfActive,
    pub(crate) cancel_unfollowed: bool,
    pub(crate) client_message_id: String,
    pub(crate) replaces: Option<TurnId>,
    pub(crate) key: Option<String>,
    /// Of everything but the key: two requests are the same when they ask for the same thing.
    pub(crate) fingerprint: Vec<u8>,
}

/// A turn that is on record.
pub(crate) struct Started {
    pub(crate) turn: Turn,
    /// By an earlier request with the same key.
    pub(crate) replayed: bool,
}

/// Starts a turn, or finds the one that the same request started before.
pub(crate) async fn start(app: &App, context: &Context, start: Start) -> Result<Started, Error> {
    let user = context.user()?.id;
    if let Some(turn) = by_key(app, user, &start).await? {
        return Ok(Started { turn: resume(app, context, start, turn).await?, replayed: true });
    }
    let mut turn = draft(app, context, user, &start)?;
    if start.if_active == IfActive::Reject
        && let Some(running) = turns::find_active(&app.db, user, start.project, start.draft.as_deref()).await?
    {
        return Err(Error::TurnActive { turn: Some(running) });
    }
    app.upstream.admit(context, user).await?;
    match turns::insert(&app.db, &turn, start.key.as_deref()).await? {
        Some(created_at) => turn.created_at = created_at,
        // The same key at the same moment: the other one's turn is ours.
        None => {
            let turn = by_key(app, user, &start).await?.ok_or_else(unsettled)?;
            return Ok(Started { turn: resume(app, context, start, turn).await?, replayed: true });
        }
    }
    Ok(Started { turn: begin(app, context, start.project, turn).await?, replayed: false })
}

async fn by_key(app: &App, user: UserId, start: &Start) -> Result<Option<Turn>, Error> {
    let Some(key) = &start.key else { return Ok(None) };
    let turn = turns::find_by_key(&app.db, user, key).await?;
    match turn {
        Some(turn) if turn.fingerprint != start.fingerprint => Err(Error::KeyReused),
        turn => Ok(turn),
    }
}

/// A turn that was never begun is begun now.
async fn resume(app: &App, context: &Context, start: Start, turn: Turn) -> Result<Turn, Error> {
    if turn.project_id.is_some() || turn.state.has_ended() {
        return Ok(turn);
    }
    begin(app, context, start.project, turn).await
}

/// The turn as it will be on record.
fn draft(app: &App, context: &Context, user: UserId, start: &Start) -> Result<Turn, Error> {
    let (agent, agent_rule) = match start.agent.as_str() {
        "" => (app.agents.default(), "default"),
        name => (app.agents.get(name).ok_or_else(|| Error::AgentNotFound(shown(name)))?, "named"),
    };
    let reachable = |model: &str| app.providers.get(model).is_some();
    // An agent's wish for a model that this cluster does not have is no reason to refuse the turn.
    let wished = agent.model.as_deref().filter(|model| reachable(model));
    let model = match start.model.as_str() {
        "" => wished.unwrap_or_else(|| app.providers.default_model()).to_owned(),
        named if reachable(named) => named.to_owned(),
        named => return Err(Error::ModelNotFound(shown(named))),
    };
    let traceparent = propagation::traceparent();
    Ok(Turn {
        id: TurnId::generate(),
        user_id: user,
        project_id: None,
        draft_id: start.draft.clone(),
        fingerprint: start.fingerprint.clone(),
        prompt: start.prompt.clone(),
        agent: agent.name.clone(),
        agent_rule: agent_rule.to_owned(),
        model,
        asked_revision: start.base_revision.clone(),
        reject_if_active: start.if_active == IfActive::Reject,
        goes_first: start.if_active == IfActive::Interrupt,
        client_message_id: start.client_message_id.clone(),
        replaces: start.replaces,
        cancel_unfollowed: start.cancel_unfollowed,
        state: State::Accepted,
        epoch: 0,
        recoveries: 0,
        base_revision: String::new(),
        history: None,
        revision: String::new(),
        failure_reason: String::new(),
        last_seq: 0,
        usage: Usage::default(),
        trace_id: context.trace_id.clone(),
        traceparent: traceparent.unwrap_or_else(|| format!("00-{}-{:016x}-00", context.trace_id, rand::random_range(1..u64::MAX))),
        created_at: clock::now(),
        started_at: None,
        ended_at: None,
    })
}

/// A name from a request, short enough to be said back.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

async fn begin(app: &App, context: &Context, project: Option<ProjectId>, turn: Turn) -> Result<Turn, Error> {
    let request = BeginTurnRequest {
        turn_id: turn.id.to_string(),
        project_id: project.map(|id| id.to_string()).unwrap_or_default(),
        draft_id: turn.draft_id.clone().unwrap_or_default(),
        prompt: turn.prompt.clone(),
        replaces_turn_id: turn.replaces.map(|id| id.to_string()).unwrap_or_default(),
        base_revision: turn.asked_revision.clone(),
    };
    match app.upstream.begin(context, request).await {
        Ok(project) => accept(app, turn, project).await,
        // Somebody ended it, by a cancel or because it took too long: that is its outcome.
        Err(fault) if fault.reason == "TURN_ENDED" => find(app, &turn).await,
        Err(fault) if is_refusal(&fault) => {
            turns::forget(&app.db, turn.id).await?;
            Err(Error::Refused(fault))
        }
        // Nobody knows whether it was begun. A retry with the same key finds out; without one the turn fails by itself.
        Err(fault) if matches!(fault.code, ErrorCode::Timeout | ErrorCode::Unavailable) => {
            tracing::warn!(turn.id = %turn.id, reason = fault.reason, "project-storage did not begin the turn: {fault}");
            let text = "the project did not answer in time; try again with the same idempotency key";
            Err(Error::Refused(Fault::new(SERVICE, ErrorCode::Unavailable, "UNAVAILABLE", text).retry_after(RETRY_AFTER)))
        }
        Err(fault) => Err(Error::Refused(fault)),
    }
}

async fn accept(app: &App, turn: Turn, project: ProjectId) -> Result<Turn, Error> {
    let kinds = [
        Kind::TurnAccepted(TurnAccepted { project_id: project.to_string() }),
        Kind::AgentSelected(AgentSelected { agent: turn.agent.clone(), rule: turn.agent_rule.clone() }),
    ];
    let time = Some(clock::timestamp(clock::now()));
    let events: Vec<_> = (1_u32..)
        .zip(kinds)
        .map(|(seq, kind)| {
            let event = TurnEvent { time, trace_id: turn.trace_id.clone(), kind: Some(kind), ..TurnEvent::default() };
            (seq, event::encode(&event))
        })
        .collect();
    let begun = Begun {
        turn: turn.id,
        project,
        events: &events,
        takes_slot: turn.reject_if_active,
        only_if_free: turn.reject_if_active,
        grace: app.limits.disconnect_grace,
    };
    let (accepted, stopped) = if turn.goes_first {
        match ends::interrupt(&app.db, begun, turn.user_id, cancel::event).await? {
            Interrupted::Accepted(stopped) => (Accepted::Yes, stopped),
            Interrupted::Busy(running) => return Err(refuse(app, &turn, Some(running)).await?),
            Interrupted::Moved => (Accepted::Moved, None),
        }
    } else {
        (turns::accept(&app.db, begun).await?, None)
    };
    if let Some((stopped, seq)) = stopped {
        cancel::announce(app, stopped, seq);
        // The turn is accepted already: what cannot be read for the log fails nothing.
        if let Ok(Some(stopped)) = turns::find(&app.db, stopped, turn.user_id).await {
            cancel::report(&stopped);
        }
    }
    match accepted {
        Accepted::Yes => {
            app.doorbell.work();
            let state = if turn.reject_if_active || stopped.is_some() { State::Running } else { State::Accepted };
            Ok(Turn { state, project_id: Some(project), last_seq: 2, ..turn })
        }
        Accepted::Busy => {
            let running = turns::find_in_front(&app.db, project, turn.id).await?;
            Err(refuse(app, &turn, running).await?)
        }
        Accepted::Moved => find(app, &turn).await,
    }
}

/// Takes back a turn that must not wait. If this fails half way, the turn ends by itself as not begun.
async fn refuse(app: &App, turn: &Turn, running: Option<TurnId>) -> Result<Error, Error> {
    app.upstream.end(turn.id, TurnEnd::Withdrawn, "", "").await?;
    turns::forget(&app.db, turn.id).await?;
    Ok(Error::TurnActive { turn: running })
}

/// What became of a turn that somebody else moved on.
async fn find(app: &App, turn: &Turn) -> Result<Turn, Error> {
    let turn = turns::find(&app.db, turn.id, turn.user_id).await?;
    turn.filter(|turn| turn.project_id.is_some() || turn.state.has_ended()).ok_or_else(unsettled)
}

fn unsettled() -> Error {
    let text = "the turn is being settled by another request; try again";
    Error::Refused(Fault::new(SERVICE, ErrorCode::Unavailable, "UNAVAILABLE", text).retry_after(RETRY_AFTER))
}
