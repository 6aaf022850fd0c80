//! StartTurn: from a request to a turn on record, exactly one per idempotency key. The row comes first, then project-storage
//! begins the turn, then its first events are written; a retry with the same key goes on from wherever the last one stopped.

use std::time::Duration;

use chassis::{clock, context::Context, propagation, seeded_bug};
use prost::Message as _;
use proto::{
    agent_streaming::{AgentSelected, IfActive, OnDisconnect, StartTurnRequest, TurnAccepted, TurnEvent, Usage, turn_event::Kind},
    error::{ErrorCode, Fault, Violations},
    id::{ProjectId, TurnId, UserId},
    project_storage::{BeginTurnRequest, TurnEnd},
    text::is_blank,
};
use sha2::{Digest as _, Sha256};

use crate::{
    app::App,
    error::{Error, SERVICE},
    intake::cancel,
    model::provider::model_name,
    store::{
        ends::{self, Interrupted},
        turns::{self, Accepted, Begun},
    },
    turn::event,
    turn::{State, Turn},
    upstream::is_refusal,
};

const PROMPT_BYTES: usize = 32 * 1024;
const KEY_CHARS: usize = 255;
const NAME_BYTES: usize = 64;
const CLIENT_ID_BYTES: usize = 128;
const REVISION_BYTES: usize = 40;
/// For a client whose turn could not be settled now.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A request that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    project: Option<ProjectId>,
    draft: Option<String>,
    prompt: String,
    agent: String,
    model: String,
    base_revision: String,
    if_active: IfActive,
    cancel_unfollowed: bool,
    client_message_id: String,
    replaces: Option<TurnId>,
    key: Option<String>,
    /// Of everything but the key.
    fingerprint: Vec<u8>,
}

impl Start {
    /// Checks a request; one answer names everything that is wrong with it.
    pub(crate) fn check(request: StartTurnRequest) -> Result<Self, Fault> {
        let mut violations = Violations::default();
        let project = project(&mut violations, &request.project_id, &request.draft_id);
        client_made(&mut violations, "client_message_id", &request.client_message_id);
        let replaces =
            (!request.replaces_turn_id.is_empty()).then(|| violations.parse("replaces_turn_id", &request.replaces_turn_id)).flatten();
        violations.length("prompt", &request.prompt, 1..=PROMPT_BYTES);
        if !request.prompt.is_empty() && is_blank(&request.prompt) {
            violations.add("prompt", "must hold more than white space");
        }
        if request.prompt.contains('\0') {
            violations.add("prompt", "must not hold the character U+0000");
        }
        violations.length("agent", &request.agent, 0..=NAME_BYTES);
        violations.length("model", &request.model, 0..=model_name::MAX_BYTES);
        if !request.model.is_empty() && !model_name::is_valid(&request.model) {
            violations.add("model", model_name::GRAMMAR);
        }
        let is_revision = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if !matches!(request.base_revision.len(), 0 | REVISION_BYTES) || !request.base_revision.bytes().all(is_revision) {
            violations.add("base_revision", "must be empty or the id of a revision, 40 hexadecimal digits");
        }
        if request.idempotency_key.chars().count() > KEY_CHARS || request.idempotency_key.contains('\0') {
            violations.add("idempotency_key", format!("must be at most {KEY_CHARS} characters, none of them U+0000"));
        }
        let if_active = match IfActive::try_from(request.if_active) {
            Ok(IfActive::Unspecified) => IfActive::Queue,
            Ok(wish) => wish,
            Err(_) => {
                violations.add("if_active", "must be IF_ACTIVE_QUEUE, IF_ACTIVE_REJECT or IF_ACTIVE_INTERRUPT");
                IfActive::Queue
            }
        };
        let on_disconnect = OnDisconnect::try_from(request.on_disconnect);
        if on_disconnect.is_err() {
            violations.add("on_disconnect", "must be ON_DISCONNECT_CONTINUE or ON_DISCONNECT_CANCEL");
        }
        violations.check(SERVICE)?;
        let cancel_unfollowed = on_disconnect == Ok(OnDisconnect::Cancel);
        Ok(Self {
            project,
            draft: Some(request.draft_id.clone()).filter(|id| !id.is_empty()),
            if_active,
            cancel_unfollowed,
            client_message_id: request.client_message_id.clone(),
            replaces,
            key: Some(request.idempotency_key.clone()).filter(|key| !key.is_empty() && !seeded_bug::is("forget-the-key")),
            fingerprint: fingerprint(&request, if_active, cancel_unfollowed),
            prompt: request.prompt,
            agent: request.agent,
            model: request.model,
            base_revision: request.base_revision,
        })
    }
}

/// The project of a request that names it by its id or by the client's own, and by one of them only.
pub(crate) fn project(violations: &mut Violations, project_id: &str, draft_id: &str) -> Option<ProjectId> {
    let project = (!project_id.is_empty()).then(|| violations.parse("project_id", project_id)).flatten();
    match (project_id.is_empty(), draft_id.is_empty()) {
        (true, true) => violations.add("project_id", "give this or draft_id"),
        (false, false) => violations.add("draft_id", "must be empty when project_id is given"),
        _ => {}
    }
    client_made(violations, "draft_id", draft_id);
    project
}

/// An id that a client made; empty where it made none.
pub(crate) fn client_made(violations: &mut Violations, field: &str, id: &str) {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if id.len() > CLIENT_ID_BYTES || !id.bytes().all(legal) {
        violations.add(field, format!("must be 1 to {CLIENT_ID_BYTES} of A-Za-z0-9_-"));
    }
}

/// Two requests are the same when they ask for the same thing.
fn fingerprint(request: &StartTurnRequest, if_active: IfActive, cancel_unfollowed: bool) -> Vec<u8> {
    let on_disconnect = if cancel_unfollowed { OnDisconnect::Cancel } else { OnDisconnect::Unspecified };
    let plain = StartTurnRequest {
        idempotency_key: String::new(),
        if_active: if_active as i32,
        on_disconnect: on_disconnect as i32,
        ..request.clone()
    };
    Sha256::digest(plain.encode_to_vec()).to_vec()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StartTurnRequest {
        StartTurnRequest { draft_id: "d-1_X".into(), prompt: "a page".into(), idempotency_key: "k".into(), ..StartTurnRequest::default() }
    }

    fn violated(change: impl FnOnce(&mut StartTurnRequest)) -> Vec<String> {
        let mut request = request();
        change(&mut request);
        match Start::check(request) {
            Ok(_) => Vec::new(),
            Err(fault) => {
                assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "INVALID_FIELD"));
                fault.violations.into_iter().map(|v| v.field).collect()
            }
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        assert!(violated(|_| {}).is_empty());
        assert!(violated(|r| r.prompt = "x".repeat(PROMPT_BYTES)).is_empty());
        assert_eq!(violated(|r| r.prompt = "x".repeat(PROMPT_BYTES + 1)), ["prompt"]);
        assert_eq!(violated(|r| r.prompt.clear()), ["prompt"]);
        assert_eq!(violated(|r| r.prompt = "a\0b".into()), ["prompt"]);
        for blank in [" ", "\n\r\t", "\u{a0}\u{3000}", "\u{200b}\u{feff}"] {
            assert_eq!(violated(|r| r.prompt = blank.into()), ["prompt"], "{blank:?}");
        }
        assert!(violated(|r| r.prompt = " x\n".into()).is_empty());
        assert!(violated(|r| r.draft_id = "d".repeat(128)).is_empty());
        assert_eq!(violated(|r| r.draft_id = "d".repeat(129)), ["draft_id"]);
        assert_eq!(violated(|r| r.draft_id = "a b".into()), ["draft_id"]);
        assert!(violated(|r| r.idempotency_key = "é".repeat(255)).is_empty());
        assert_eq!(violated(|r| r.idempotency_key = "k".repeat(256)), ["idempotency_key"]);
        assert!(violated(|r| r.base_revision = "0a".repeat(20)).is_empty());
        assert_eq!(violated(|r| r.base_revision = "HEAD".into()), ["base_revision"]);
        assert_eq!(violated(|r| r.if_active = 7), ["if_active"]);
        assert_eq!(violated(|r| r.on_disconnect = 3), ["on_disconnect"]);
        assert_eq!(violated(|r| r.client_message_id = "a b".into()), ["client_message_id"]);
        assert_eq!(violated(|r| r.replaces_turn_id = "x".into()), ["replaces_turn_id"]);
    }

    #[test]
    fn a_turn_works_on_one_project() {
        assert_eq!(violated(|r| r.draft_id.clear()), ["project_id"]);
        assert_eq!(violated(|r| r.project_id = ProjectId::generate().to_string()), ["draft_id"]);
        assert_eq!(violated(|r| r.project_id = "x".into()), ["project_id", "draft_id"]);
        let project = ProjectId::generate();
        let request = StartTurnRequest { draft_id: String::new(), project_id: project.to_string(), ..request() };
        assert_eq!(Start::check(request).map(|start| (start.project, start.draft)), Ok((Some(project), None)));
    }

    #[test]
    fn the_fingerprint_is_of_what_is_asked_for() {
        let base = Start::check(request()).expect("good").fingerprint;
        let same = |change: fn(&mut StartTurnRequest)| {
            let mut request = request();
            change(&mut request);
            Start::check(request).expect("good").fingerprint == base
        };
        assert!(same(|r| r.idempotency_key = "other".into()));
        assert!(same(|r| r.if_active = IfActive::Queue as i32));
        assert!(same(|r| r.on_disconnect = OnDisconnect::Continue as i32));
        assert!(!same(|r| r.on_disconnect = OnDisconnect::Cancel as i32));
        assert!(!same(|r| r.if_active = IfActive::Reject as i32));
        assert!(!same(|r| r.prompt.push('!')));
        assert!(!same(|r| r.agent = "builder".into()));
    }
}
