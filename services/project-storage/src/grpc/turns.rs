//! The RPCs of a turn, which agent-streaming calls.

use chassis::{clock::now, context::Context};
use proto::{error::Violations, id::TurnId, project_storage as pb, text::replace_nul};
use tonic::Request;

use super::{decode, encode, parts, text};
use crate::{
    app::App,
    commit::{
        begin::{self, Begin},
        end,
        stage::Base,
        turn::{self, CommitTurn},
    },
    error::Error,
    locks,
    model::{
        limits::SUMMARY_CHARACTERS,
        turn::{PartialAnswer, TurnEnd, TurnState},
    },
    read::{
        checkout,
        conversation::{self, Selection},
    },
};

/// Bytes of SHA-256.
const DIGEST_BYTES: usize = 32;
/// Messages that ListTurnMessages returns at most.
const MAX_MESSAGES: usize = 1_000;

pub(super) async fn begin(app: &App, request: Request<pb::BeginTurnRequest>) -> Result<pb::BeginTurnResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &wire.turn_id);
    let target = decode::target(&mut violations, &wire.project_id, &wire.draft_id);
    text::PROMPT.check(&mut violations, &wire.prompt);
    let replaces = if wire.replaces_turn_id.is_empty() { None } else { violations.parse("replaces_turn_id", &wire.replaces_turn_id) };
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    let (id, target) = decode::checked(violations, id.zip(target))?;
    let begin = Begin { turn: id, user, target, prompt: wire.prompt, replaces, base };
    let project = begin::begin(app.pool(), app.quotas, begin, now()).await?;
    Ok(pb::BeginTurnResponse { project_id: project.to_string() })
}

pub(super) async fn tree(app: &App, request: Request<pb::GetTurnTreeRequest>) -> Result<pb::GetTurnTreeResponse, Error> {
    let pb::GetTurnTreeRequest { turn_id, revision } = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &turn_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    let id = decode::checked(violations, id)?;
    let checkout = checkout::for_turn(&app.objects, id, revision).await?;
    Ok(pb::GetTurnTreeResponse {
        revision: encode::optional_id(checkout.revision.as_ref()),
        files: encode::files(checkout.tree.walk_files()),
        limits: Some(encode::limits(checkout.project.limits())),
        locked_paths: locks::of_agents(app.pool(), &checkout.project).await?,
    })
}

pub(super) async fn read(app: &App, request: Request<pb::ReadTurnFilesRequest>) -> Result<pb::ReadTurnFilesResponse, Error> {
    let pb::ReadTurnFilesRequest { turn_id, revision, paths, any_size } = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &turn_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    let id = decode::checked(violations, id)?;
    let files = checkout::turn_files(&app.objects, id, revision, paths, any_size).await?;
    Ok(pb::ReadTurnFilesResponse { files: files.into_iter().map(encode::file).collect() })
}

pub(super) async fn list_messages(app: &App, request: Request<pb::ListTurnMessagesRequest>) -> Result<pb::ListTurnMessagesResponse, Error> {
    let pb::ListTurnMessagesRequest { turn_id, limit, message_ids } = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &turn_id);
    if !usize::try_from(limit).is_ok_and(|limit| limit <= MAX_MESSAGES) {
        violations.add("limit", format!("must be 0 to {MAX_MESSAGES}"));
    }
    let ids = decode::message_ids(&mut violations, &message_ids, MAX_MESSAGES);
    let id = decode::checked(violations, id)?;
    let selection = if ids.is_empty() { Selection::Newest(limit) } else { Selection::Ids(ids) };
    let messages = conversation::messages_before(app.pool(), id, &selection).await?;
    Ok(pb::ListTurnMessagesResponse { messages: messages.into_iter().map(encode::message).collect() })
}

pub(super) async fn commit(app: &App, request: Request<pb::CommitTurnRequest>) -> Result<pb::CommitTurnResponse, Error> {
    let context = Context::of(&request);
    let wire = request.into_inner();
    let mut violations = Violations::default();
    let id = violations.parse::<TurnId>("turn_id", &wire.turn_id);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    if wire.digest.len() != DIGEST_BYTES {
        violations.add("digest", format!("must be {DIGEST_BYTES} bytes"));
    }
    text::ANSWER.check(&mut violations, &wire.answer);
    let turn = decode::checked(violations, id)?;
    let commit = CommitTurn {
        turn,
        base: base.map_or(Base::Nothing, Base::Revision),
        set: decode::changes(wire.changes, false).await?,
        digest: wire.digest.to_vec(),
        parts: parts::decode(wire.parts, &wire.answer),
        answer: replace_nul(wire.answer),
        // A model wrote the message, so it is cut instead of refused.
        message: wire.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUMMARY_CHARACTERS).collect(),
    };
    let committed = turn::commit((app.writer(), &context), commit, now()).await?;
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
    text::PARTIAL_ANSWER.check(&mut violations, &wire.partial_answer);
    let reason = failure_reason(&mut violations, &wire);
    let parts = parts::decode(wire.parts, &wire.partial_answer);
    let partial = PartialAnswer { text: replace_nul(wire.partial_answer), parts };
    let end = match pb::TurnEnd::try_from(wire.end) {
        Ok(pb::TurnEnd::Failed) => Some(TurnEnd::Failed { partial, reason }),
        Ok(pb::TurnEnd::Cancelled) => Some(TurnEnd::Cancelled { partial }),
        Ok(pb::TurnEnd::Withdrawn) => {
            if !partial.text.is_empty() {
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
    end::end(app.pool(), id, end, now()).await?;
    Ok(pb::EndTurnResponse {})
}

/// The reason of a failed turn; empty for other ends.
fn failure_reason(violations: &mut Violations, wire: &pb::EndTurnRequest) -> String {
    let reason = &wire.failure_reason;
    text::FAILURE_REASON.check(violations, reason);
    if !reason.is_empty() && wire.end() != pb::TurnEnd::Failed {
        violations.add("failure_reason", "must be empty unless the turn failed");
    }
    reason.clone()
}
