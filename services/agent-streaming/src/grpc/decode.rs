//! Validates requests and converts them to the types of the rules. An error lists every invalid field of a request.

use chassis::{identity::User, page, seeded_bug};
use prost::Message as _;
use proto::{
    agent_streaming::{
        GetFindingsRequest, GetStagedFileRequest, IfActive, ListAgentsRequest, ListTurnsRequest, OnDisconnect, PlanTurnRequest,
        ReadStagedContentsRequest, SelectAgentRequest, StartTurnRequest, TurnMode,
    },
    error::{ErrorCode, Fault, Violations},
    id::{ProjectId, TurnId},
    metadata::{self, EmptyValue},
    path,
    text::is_blank,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    error::SERVICE,
    intake::{list::ListRequest, plan::PlanRequest, start::StartRequest},
    model::{agents::AgentFilter, provider::model_name},
    selection::Query,
    turn::mode::Mode,
};

const PROMPT_BYTES: usize = 32 * 1024;
const KEY_CHARS: usize = 255;
const NAME_BYTES: usize = 64;
const CLIENT_ID_BYTES: usize = 128;
const REVISION_BYTES: usize = 40;
const PATH_CHARS: usize = 255;
/// Paths that a request may pin, and paths that it may exclude.
const MAX_PINS: usize = 50;
const AGENT_QUERY_BYTES: usize = 200;
/// Contents of one answer.
const MAX_CONTENTS: usize = 500;

pub(super) fn turn_id(text: &str) -> Result<Option<TurnId>, Fault> {
    let mut violations = Violations::default();
    let id = violations.parse("turn_id", text);
    violations.check(SERVICE)?;
    Ok(id)
}

/// The turn and the path of a staged file. A path that no file can have is that of no file.
pub(super) fn staged_file(request: GetStagedFileRequest) -> Result<(TurnId, String), Fault> {
    let mut violations = Violations::default();
    let id = violations.parse("turn_id", &request.turn_id);
    if !(1..=PATH_CHARS).contains(&request.path.chars().count()) {
        violations.add("path", format!("must have 1 to {PATH_CHARS} characters"));
    }
    violations.check(SERVICE)?;
    Ok((id.ok_or_else(inconsistent)?, request.path))
}

/// The turn of a request for contents.
pub(super) fn staged_contents(request: ReadStagedContentsRequest) -> Result<(TurnId, ReadStagedContentsRequest), Fault> {
    let mut violations = Violations::default();
    let id = violations.parse("turn_id", &request.turn_id);
    if !(1..=MAX_CONTENTS).contains(&request.blob_ids.len()) {
        violations.add("blob_ids", format!("must be 1 to {MAX_CONTENTS} ids"));
    }
    violations.check(SERVICE)?;
    Ok((id.ok_or_else(inconsistent)?, request))
}

/// The name of the agent, which may be empty, and the prompt.
pub(super) fn select_agent(request: SelectAgentRequest) -> Result<(String, String), Fault> {
    let mut violations = Violations::default();
    check_prompt(&mut violations, &request.prompt);
    violations.length("agent", &request.agent, 0..=NAME_BYTES);
    violations.check(SERVICE)?;
    Ok((request.agent, request.prompt))
}

fn check_prompt(violations: &mut Violations, prompt: &str) {
    violations.length("prompt", prompt, 1..=PROMPT_BYTES);
    if !prompt.is_empty() && is_blank(prompt) {
        violations.add("prompt", "must contain more than white space");
    }
    if prompt.contains('\0') {
        violations.add("prompt", "must not contain the character U+0000");
    }
}

pub(super) fn plan(request: PlanTurnRequest) -> Result<PlanRequest, Fault> {
    let mut violations = Violations::default();
    let project = violations.parse("project_id", &request.project_id);
    check_prompt(&mut violations, &request.prompt);
    check_names(&mut violations, &request.agent, &request.model);
    check_revision(&mut violations, "base_revision", &request.base_revision);
    check_pins(&mut violations, &request.pinned_paths, &request.excluded_paths);
    let (mode, plan_turn) = mode_and_plan(&mut violations, request.mode, &request.plan_turn_id);
    violations.check(SERVICE)?;
    Ok(PlanRequest {
        project: project.ok_or_else(inconsistent)?,
        prompt: request.prompt,
        agent: request.agent,
        model: request.model,
        base_revision: request.base_revision,
        mode,
        plan_turn,
        pinned: request.pinned_paths,
        excluded: request.excluded_paths,
    })
}

fn check_names(violations: &mut Violations, agent: &str, model: &str) {
    violations.length("agent", agent, 0..=NAME_BYTES);
    violations.length("model", model, 0..=model_name::MAX_BYTES);
    if !model.is_empty() && !model_name::is_valid(model) {
        violations.add("model", model_name::GRAMMAR);
    }
}

pub(super) fn start(request: StartTurnRequest) -> Result<StartRequest, Fault> {
    let mut violations = Violations::default();
    let project = project(&mut violations, &request.project_id, &request.draft_id);
    check_client_id(&mut violations, "client_message_id", &request.client_message_id);
    metadata::check(&mut violations, "metadata", &request.metadata, EmptyValue::Refused);
    let replaces =
        (!request.replaces_turn_id.is_empty()).then(|| violations.parse("replaces_turn_id", &request.replaces_turn_id)).flatten();
    check_prompt(&mut violations, &request.prompt);
    check_names(&mut violations, &request.agent, &request.model);
    check_revision(&mut violations, "base_revision", &request.base_revision);
    if request.idempotency_key.chars().count() > KEY_CHARS || request.idempotency_key.contains('\0') {
        violations.add("idempotency_key", format!("must be at most {KEY_CHARS} characters, none of them U+0000"));
    }
    let if_active = match IfActive::try_from(request.if_active) {
        Ok(IfActive::Unspecified) => IfActive::Queue,
        Ok(value) => value,
        Err(_) => {
            violations.add("if_active", "must be IF_ACTIVE_QUEUE, IF_ACTIVE_REJECT or IF_ACTIVE_INTERRUPT");
            IfActive::Queue
        }
    };
    let on_disconnect = OnDisconnect::try_from(request.on_disconnect);
    if on_disconnect.is_err() {
        violations.add("on_disconnect", "must be ON_DISCONNECT_CONTINUE or ON_DISCONNECT_CANCEL");
    }
    check_pins(&mut violations, &request.pinned_paths, &request.excluded_paths);
    let (mode, plan_turn) = mode_and_plan(&mut violations, request.mode, &request.plan_turn_id);
    violations.check(SERVICE)?;
    let cancel_unfollowed = on_disconnect == Ok(OnDisconnect::Cancel);
    Ok(StartRequest {
        project,
        draft: Some(request.draft_id.clone()).filter(|id| !id.is_empty()),
        if_active,
        cancel_unfollowed,
        require_clean_files: request.require_clean_files,
        pinned: request.pinned_paths.clone(),
        excluded: request.excluded_paths.clone(),
        client_message_id: request.client_message_id.clone(),
        metadata: request.metadata.clone(),
        replaces,
        mode,
        plan_turn,
        key: Some(request.idempotency_key.clone()).filter(|key| !key.is_empty() && !seeded_bug::is("forget-the-key")),
        fingerprint: fingerprint(&request, if_active, cancel_unfollowed, mode),
        prompt: request.prompt,
        agent: request.agent,
        model: request.model,
        base_revision: request.base_revision,
    })
}

/// Checks the files and folders that a prompt must have, and those that it must not have.
fn check_pins(violations: &mut Violations, pinned: &[String], excluded: &[String]) {
    for (field, paths) in [("pinned_paths", pinned), ("excluded_paths", excluded)] {
        if paths.len() > MAX_PINS {
            violations.add(field, format!("must have at most {MAX_PINS} paths"));
        }
        for (at, path) in paths.iter().take(MAX_PINS).enumerate() {
            if let Err(error) = path::check(path) {
                violations.add(format!("{field}[{at}]"), error.to_string());
            }
        }
    }
    for (at, path) in pinned.iter().take(MAX_PINS).enumerate() {
        if excluded.iter().any(|folder| folder == path || path::is_within(path, folder)) {
            violations.add(format!("pinned_paths[{at}]"), "must not be excluded, too");
        }
    }
    for (at, path) in excluded.iter().take(MAX_PINS).enumerate() {
        if pinned.iter().any(|folder| folder != path && path::is_within(path, folder)) {
            violations.add(format!("excluded_paths[{at}]"), "must not be in a pinned folder");
        }
    }
}

/// The mode, and the turn whose plan is carried out.
fn mode_and_plan(violations: &mut Violations, mode: i32, plan_turn_id: &str) -> (Mode, Option<TurnId>) {
    let mode = match TurnMode::try_from(mode) {
        Ok(TurnMode::Unspecified | TurnMode::Build) => Mode::Build,
        Ok(TurnMode::Ask) => Mode::Ask,
        Ok(TurnMode::Plan) => Mode::Plan,
        Err(_) => {
            violations.add("mode", "must be TURN_MODE_BUILD, TURN_MODE_ASK or TURN_MODE_PLAN");
            Mode::Build
        }
    };
    if plan_turn_id.is_empty() {
        return (mode, None);
    }
    if mode != Mode::Build {
        violations.add("plan_turn_id", "must be empty unless mode is TURN_MODE_BUILD");
    }
    (mode, violations.parse("plan_turn_id", plan_turn_id))
}

/// Returns the request and the page size.
pub(super) fn list(pages: &page::PageTokens, user: &User, request: ListTurnsRequest) -> Result<(ListRequest, i64), Fault> {
    let mut violations = Violations::default();
    let size = page::size(request.page_size, &mut violations);
    let project = project(&mut violations, &request.project_id, &request.draft_id);
    check_client_id(&mut violations, "client_message_id", &request.client_message_id);
    metadata::check(&mut violations, "metadata", &request.metadata, EmptyValue::Refused);
    let list = ListRequest {
        user: user.id,
        only: user.projects().map(<[ProjectId]>::to_vec),
        project,
        draft: request.draft_id,
        open_only: request.open_only,
        client_message_id: request.client_message_id,
        metadata: request.metadata,
        before: None,
    };
    let before: Option<Uuid> = pages.open(&list.scope(), &request.page_token).unwrap_or_else(|error| {
        violations.add("page_token", error.to_string());
        None
    });
    violations.check(SERVICE)?;
    Ok((ListRequest { before: before.map(TurnId), ..list }, size))
}

/// Returns the project and the revision, which may be empty.
pub(super) fn findings(request: GetFindingsRequest) -> Result<(ProjectId, String), Fault> {
    let mut violations = Violations::default();
    let project = violations.parse("project_id", &request.project_id);
    check_revision(&mut violations, "revision", &request.revision);
    violations.check(SERVICE)?;
    let project = project.ok_or_else(inconsistent)?;
    Ok((project, request.revision))
}

fn inconsistent() -> Fault {
    Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", "an id is neither valid nor refused")
}

/// A valid ListAgents request.
pub(super) struct ListAgents {
    pub(super) filter: AgentFilter,
    /// The name of the last agent of the previous page.
    pub(super) after: Option<String>,
    pub(super) size: i64,
    /// The scope of the page tokens: a token is valid only with the same filter.
    pub(super) scope: String,
}

pub(super) fn list_agents(pages: &page::PageTokens, request: ListAgentsRequest) -> Result<ListAgents, Fault> {
    let mut violations = Violations::default();
    let size = page::size(request.page_size, &mut violations);
    violations.length("query", &request.query, 0..=AGENT_QUERY_BYTES);
    violations.length("category", &request.category, 0..=NAME_BYTES);
    let scope = agents_scope(&request);
    let after = pages.open(&scope, &request.page_token).unwrap_or_else(|error| {
        violations.add("page_token", error.to_string());
        None
    });
    violations.check(SERVICE)?;
    let filter = AgentFilter { category: request.category, query: Query::new(&request.query) };
    Ok(ListAgents { filter, after, size, scope })
}

fn agents_scope(request: &ListAgentsRequest) -> String {
    match (request.query.as_str(), request.category.as_str()) {
        // The scope of the release before, whose tokens stay valid.
        ("", "") => "ListAgents".to_owned(),
        filter => format!("ListAgents {filter:?}"),
    }
}

/// The project id of a request. Exactly one of `project_id` and `draft_id` must be set.
fn project(violations: &mut Violations, project_id: &str, draft_id: &str) -> Option<ProjectId> {
    let project = (!project_id.is_empty()).then(|| violations.parse("project_id", project_id)).flatten();
    match (project_id.is_empty(), draft_id.is_empty()) {
        (true, true) => violations.add("project_id", "must be set when draft_id is empty"),
        (false, false) => violations.add("draft_id", "must be empty when project_id is given"),
        _ => {}
    }
    check_client_id(violations, "draft_id", draft_id);
    project
}

/// Checks the id of a revision; it may be empty.
fn check_revision(violations: &mut Violations, field: &str, revision: &str) {
    let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if !matches!(revision.len(), 0 | REVISION_BYTES) || !revision.bytes().all(is_digit) {
        violations.add(field, "must be empty or the id of a revision, 40 hexadecimal digits");
    }
}

/// Checks an id that the client chose; it may be empty.
fn check_client_id(violations: &mut Violations, field: &str, id: &str) {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if id.len() > CLIENT_ID_BYTES || !id.bytes().all(legal) {
        violations.add(field, format!("must be 1 to {CLIENT_ID_BYTES} of A-Za-z0-9_-"));
    }
}

/// SHA-256 of the request without its idempotency key. A default counts as its explicit value.
fn fingerprint(request: &StartTurnRequest, if_active: IfActive, cancel_unfollowed: bool, mode: Mode) -> Vec<u8> {
    let on_disconnect = if cancel_unfollowed { OnDisconnect::Cancel } else { OnDisconnect::Unspecified };
    let normalized = StartTurnRequest {
        idempotency_key: String::new(),
        if_active: if_active as i32,
        on_disconnect: on_disconnect as i32,
        // As in requests of releases without modes.
        mode: if mode == Mode::Build { 0 } else { request.mode },
        ..request.clone()
    };
    Sha256::digest(normalized.encode_to_vec()).to_vec()
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
        match start(request) {
            Ok(_) => Vec::new(),
            Err(fault) => {
                assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "INVALID_FIELD"));
                fault.violations.into_iter().map(|v| v.field).collect()
            }
        }
    }

    #[test]
    fn every_field_is_checked_against_its_limit() {
        assert!(violated(|_| {}).is_empty());
        assert!(violated(|r| r.prompt = "x".repeat(PROMPT_BYTES)).is_empty());
        assert_eq!(violated(|r| r.prompt = "x".repeat(PROMPT_BYTES + 1)), ["prompt"]);
        assert_eq!(violated(|r| r.prompt.clear()), ["prompt"]);
        assert!(violated(|r| r.pinned_paths = vec!["src".into(), "a b.js".into()]).is_empty());
        assert_eq!(violated(|r| r.pinned_paths = vec!["a".into(), "../b".into()]), ["pinned_paths[1]"]);
        assert_eq!(violated(|r| r.excluded_paths = vec!["/a".into(); MAX_PINS + 1]).len(), 1 + MAX_PINS);
        let both = |r: &mut StartTurnRequest| (r.pinned_paths, r.excluded_paths) = (vec!["a/b".into()], vec!["a".into()]);
        assert_eq!(violated(both), ["pinned_paths[0]"]);
        for (pinned, excluded, fields) in [
            ("src", "src/a.js", &["excluded_paths[0]"][..]),
            ("src/a.js", "src", &["pinned_paths[0]"]),
            ("src", "src", &["pinned_paths[0]"]),
            ("src", "src2/a.js", &[]),
        ] {
            let set = |r: &mut StartTurnRequest| (r.pinned_paths, r.excluded_paths) = (vec![pinned.into()], vec![excluded.into()]);
            assert_eq!(violated(set), fields, "{pinned} and {excluded}");
        }
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
        assert_eq!(violated(|r| r.mode = 4), ["mode"]);
        assert_eq!(violated(|r| r.plan_turn_id = "x".into()), ["plan_turn_id"]);
        assert!(violated(|r| r.plan_turn_id = TurnId::generate().to_string()).is_empty());
        let asks = |r: &mut StartTurnRequest| (r.mode, r.plan_turn_id) = (TurnMode::Ask as i32, TurnId::generate().to_string());
        assert_eq!(violated(asks), ["plan_turn_id"]);
        assert_eq!(violated(|r| r.client_message_id = "a b".into()), ["client_message_id"]);
        assert_eq!(violated(|r| r.replaces_turn_id = "x".into()), ["replaces_turn_id"]);
        assert!(violated(|r| r.metadata = (0..16).map(|n| (n.to_string(), "x".repeat(512))).collect()).is_empty());
        assert_eq!(violated(|r| r.metadata = (0..17).map(|n| (n.to_string(), "x".into())).collect()), ["metadata"]);
        assert_eq!(violated(|r| r.metadata = [("a".into(), String::new())].into()), ["metadata[a]"]);
    }

    #[test]
    fn exactly_one_of_project_id_and_draft_id_is_required() {
        assert_eq!(violated(|r| r.draft_id.clear()), ["project_id"]);
        assert_eq!(violated(|r| r.project_id = ProjectId::generate().to_string()), ["draft_id"]);
        assert_eq!(violated(|r| r.project_id = "x".into()), ["project_id", "draft_id"]);
        let project = ProjectId::generate();
        let request = StartTurnRequest { draft_id: String::new(), project_id: project.to_string(), ..request() };
        assert_eq!(start(request).map(|start| (start.project, start.draft)), Ok((Some(project), None)));
    }

    #[test]
    fn the_fingerprint_depends_on_every_field_but_the_key() {
        let base = start(request()).expect("a valid request").fingerprint;
        let same = |change: fn(&mut StartTurnRequest)| {
            let mut request = request();
            change(&mut request);
            start(request).expect("a valid request").fingerprint == base
        };
        assert!(same(|r| r.idempotency_key = "other".into()));
        assert!(same(|r| r.if_active = IfActive::Queue as i32));
        assert!(same(|r| r.on_disconnect = OnDisconnect::Continue as i32));
        assert!(!same(|r| r.on_disconnect = OnDisconnect::Cancel as i32));
        assert!(!same(|r| r.if_active = IfActive::Reject as i32));
        assert!(same(|r| r.mode = TurnMode::Build as i32));
        assert!(!same(|r| r.mode = TurnMode::Ask as i32));
        assert!(!same(|r| r.plan_turn_id = "0190b3a0-0000-7000-8000-000000000000".into()));
        assert!(!same(|r| r.prompt.push('!')));
        assert!(!same(|r| r.agent = "builder".into()));
        assert!(!same(|r| r.metadata = [("a".into(), "b".into())].into()));
    }
}
