//! What agent-streaming calls for a turn.

use chassis::context::Context;
use proto::{error::Violations, id::TurnId, project_storage as pb};
use tonic::Request;

use super::{decode, encode, files::with_content};
use crate::{
    app::App,
    commit::{
        begin::{self, Begin},
        end,
        stage::Base,
        turn::{self, CommitTurn},
    },
    error::Error,
    model::{
        limits::{MESSAGE_BYTES, PROMPT_BYTES, SUMMARY_CHARACTERS},
        message::replace_nul,
        project::Role,
        turn::{TurnEnd, TurnState},
    },
    read::{
        conversation::{self, Selection},
        history, tree,
        turn_access::{self, TurnAccess},
    },
};

const DIGEST_BYTES: usize = 32;
const REASON_BYTES: usize = 64;
const MOST_MESSAGES: usize = 200;

pub(super) async fn begin(app: &App, request: Request<pb::BeginTurnRequest>) -> Result<pb::BeginTurnResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &wire.turn_id);
    let target = decode::target(&mut violations, &wire.project_id, &wire.draft_id);
    decode::text(&mut violations, "prompt", &wire.prompt, 1..=PROMPT_BYTES);
    let replaces = if wire.replaces_turn_id.is_empty() { None } else { violations.parse("replaces_turn_id", &wire.replaces_turn_id) };
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    let (id, target) = decode::checked(violations, id.zip(target))?;
    let project = begin::begin(app, Begin { turn: id, user, target, prompt: wire.prompt, replaces, base }).await?;
    Ok(pb::BeginTurnResponse { project_id: project.to_string() })
}

pub(super) async fn tree(app: &App, request: Request<pb::GetTurnTreeRequest>) -> Result<pb::GetTurnTreeResponse, Error> {
    let pb::GetTurnTreeRequest { turn_id, revision } = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &turn_id);
    let wanted = decode::revision(&mut violations, "revision", &revision);
    let id = decode::checked(violations, id)?;
    let TurnAccess { member, .. } = turn_access::find(&app.pool, id, Role::Viewer).await?;
    let revision = history::resolve(&app.pool, &member, wanted).await?;
    let tree = tree::at_revision(app, member.project.store, revision.as_ref()).await?;
    Ok(pb::GetTurnTreeResponse {
        revision: revision.map(|revision| revision.id.to_string()).unwrap_or_default(),
        files: tree.walk_files().into_iter().map(|(path, file)| encode::entry(path, Some(file))).collect(),
        limits: Some(encode::limits(member.project.limits())),
    })
}

pub(super) async fn read(app: &App, request: Request<pb::ReadTurnFilesRequest>) -> Result<pb::ReadTurnFilesResponse, Error> {
    let pb::ReadTurnFilesRequest { turn_id, revision, paths } = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &turn_id);
    let wanted = decode::revision(&mut violations, "revision", &revision);
    let id = decode::checked(violations, id)?;
    let TurnAccess { member, .. } = turn_access::find(&app.pool, id, Role::Viewer).await?;
    // Here no revision is the empty tree that the turn began with, whatever was saved since.
    let Some(wanted) = wanted else { return Ok(pb::ReadTurnFilesResponse::default()) };
    let revision = history::resolve(&app.pool, &member, Some(wanted)).await?;
    let tree = tree::at_revision(app, member.project.store, revision.as_ref()).await?;
    let files = if paths.is_empty() {
        tree.walk_files()
    } else {
        paths.into_iter().filter_map(|path| tree.file(&path).map(|file| (path, file))).collect()
    };
    Ok(pb::ReadTurnFilesResponse { files: with_content(app, &member, files).await? })
}

pub(super) async fn list_messages(app: &App, request: Request<pb::ListTurnMessagesRequest>) -> Result<pb::ListTurnMessagesResponse, Error> {
    let pb::ListTurnMessagesRequest { turn_id, limit, message_ids } = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &turn_id);
    if !usize::try_from(limit).is_ok_and(|limit| limit <= MOST_MESSAGES) {
        violations.add("limit", format!("must be 0 to {MOST_MESSAGES}"));
    }
    let wanted = decode::message_ids(&mut violations, &message_ids, MOST_MESSAGES);
    let id = decode::checked(violations, id)?;
    let selection = if wanted.is_empty() { Selection::Newest(limit) } else { Selection::Ids(wanted) };
    let messages = conversation::messages_before(&app.pool, id, &selection).await?;
    Ok(pb::ListTurnMessagesResponse { messages: messages.into_iter().map(encode::message).collect() })
}

pub(super) async fn commit(app: &App, request: Request<pb::CommitTurnRequest>) -> Result<pb::CommitTurnResponse, Error> {
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &wire.turn_id);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    if wire.digest.len() != DIGEST_BYTES {
        violations.add("digest", format!("must be {DIGEST_BYTES} bytes"));
    }
    violations.length("answer", &wire.answer, 0..=MESSAGE_BYTES);
    let turn = decode::checked(violations, id)?;
    let commit = CommitTurn {
        turn,
        base: base.map_or(Base::Nothing, Base::Revision),
        set: decode::changes(wire.changes, false).await?,
        digest: wire.digest.to_vec(),
        answer: replace_nul(wire.answer),
        // A model's words: made to fit rather than refused at the end of a turn.
        message: wire.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUMMARY_CHARACTERS).collect(),
    };
    let committed = turn::commit(app, commit).await?;
    let outcome = match committed.state {
        TurnState::Committed => pb::CommitOutcome::Committed,
        TurnState::Conflicted => pb::CommitOutcome::Conflicted,
        TurnState::Unchanged | TurnState::Open | TurnState::Failed | TurnState::Cancelled => pb::CommitOutcome::Unchanged,
    };
    Ok(pb::CommitTurnResponse {
        outcome: outcome.into(),
        revision: committed.revision.as_ref().map(encode::revision).or_else(|| committed.id.map(encode::revision_id)),
        conflict_paths: committed.conflict_paths,
    })
}

pub(super) async fn end(app: &App, request: Request<pb::EndTurnRequest>) -> Result<pb::EndTurnResponse, Error> {
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &wire.turn_id);
    violations.length("partial_answer", &wire.partial_answer, 0..=MESSAGE_BYTES);
    let reason = failure_reason(&mut violations, &wire);
    let partial = replace_nul(wire.partial_answer);
    let end = match pb::TurnEnd::try_from(wire.end) {
        Ok(pb::TurnEnd::Failed) => Some(TurnEnd::Failed { partial, reason }),
        Ok(pb::TurnEnd::Cancelled) => Some(TurnEnd::Cancelled { partial }),
        Ok(pb::TurnEnd::Withdrawn) => {
            if !partial.is_empty() {
                violations.add("partial_answer", "must be empty for a turn that is withdrawn");
            }
            Some(TurnEnd::Withdrawn)
        }
        Ok(pb::TurnEnd::Unspecified) | Err(_) => {
            violations.add("end", "must be TURN_END_FAILED, TURN_END_CANCELLED or TURN_END_WITHDRAWN");
            None
        }
    };
    let (id, end) = decode::checked(violations, id.zip(end))?;
    end::end(&app.pool, id, end).await?;
    Ok(pb::EndTurnResponse {})
}

/// Why a turn failed.
fn failure_reason(violations: &mut Violations, wire: &pb::EndTurnRequest) -> String {
    let reason = &wire.failure_reason;
    violations.length("failure_reason", reason, 0..=REASON_BYTES);
    if !reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_') {
        violations.add("failure_reason", "may have `A-Z`, `0-9` and `_` only");
    }
    if !reason.is_empty() && wire.end() != pb::TurnEnd::Failed {
        violations.add("failure_reason", "must be empty unless the turn failed");
    }
    reason.clone()
}
