//! Reverts, undo and redo.

use chassis::{clock::now, context::Context};
use proto::{error::Violations, id::TurnId, project_storage as pb};
use tonic::Request;

use super::{decode, encode, text};
use crate::{
    app::App,
    commit::{
        outcome::MergeResult,
        request::{Preconditions, SavePolicy},
        revert::{self, Revert, Subject},
    },
    error::Error,
    git::Oid,
    model::project::User,
};

/// The fields that all requests have.
struct Common {
    user: User,
    project_id: String,
    base_revision: String,
    message: String,
    if_match: String,
    request_id: String,
}

/// Decodes and reverts. `fingerprint` is that of the request without its condition.
async fn run(
    app: &App,
    context: &Context,
    common: Common,
    subject: impl FnOnce(&mut Violations) -> Option<Subject>,
    fingerprint: Vec<u8>,
) -> Result<MergeResult, Error> {
    let Common { user, project_id, base_revision, message, if_match, request_id } = common;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let subject = subject(&mut violations);
    let base = decode::revision(&mut violations, "base_revision", &base_revision);
    text::MESSAGE.check(&mut violations, &message);
    text::REQUEST_ID.check(&mut violations, &request_id);
    let condition = decode::condition(&mut violations, if_match);
    let (project, subject) = decode::checked(violations, project.zip(subject))?;
    let request = decode::request_key(request_id, || fingerprint);
    let preconditions = Preconditions { project, condition, base };
    let policy = SavePolicy::new(app.limiter.clone(), context);
    revert::revert(app.writer(), policy, Revert { user, preconditions, subject, message, request }, now()).await
}

/// An answer: the same fields of another message.
macro_rules! answer {
    ($response:ident, $result:expr) => {{
        let $crate::commit::outcome::MergeResult { project, outcome, replayed } = $result;
        let mut answer = pb::$response { project: Some(encode::project(&project)), replayed, ..Default::default() };
        match outcome {
            $crate::commit::outcome::MergeOutcome::Committed(revision) => {
                answer.set_outcome(pb::CommitOutcome::Committed);
                answer.revision = revision.as_ref().map(encode::revision);
            }
            $crate::commit::outcome::MergeOutcome::Unchanged(head) => {
                answer.set_outcome(pb::CommitOutcome::Unchanged);
                answer.revision = head.as_ref().map(encode::revision);
            }
            $crate::commit::outcome::MergeOutcome::Conflicted { id, paths } => {
                answer.set_outcome(pb::CommitOutcome::Conflicted);
                (answer.conflict_id, answer.conflict_paths) = (id.to_string(), paths);
            }
        }
        Ok(answer)
    }};
}
pub(super) use answer;

pub(super) async fn revert(app: &App, request: Request<pb::RevertRevisionRequest>) -> Result<pb::RevertRevisionResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let if_match = std::mem::take(&mut wire.if_match);
    let fingerprint = decode::fingerprint("RevertRevision", &wire);
    let pb::RevertRevisionRequest { project_id, revision, turn_id, base_revision, message, request_id, .. } = wire;
    let common = Common { user, project_id, base_revision, message, if_match, request_id };
    let subject = |violations: &mut Violations| subject(violations, &revision, &turn_id);
    answer!(RevertRevisionResponse, run(app, &context, common, subject, fingerprint).await?)
}

/// The revision to revert, named by exactly one of two ids.
fn subject(violations: &mut Violations, revision: &str, turn_id: &str) -> Option<Subject> {
    let turn = if turn_id.is_empty() { None } else { violations.parse::<TurnId>("turn_id", turn_id).map(Subject::Turn) };
    let revision = if revision.is_empty() { None } else { violations.parse::<Oid>("revision", revision).map(Subject::Revision) };
    match (&revision, &turn) {
        (Some(_), Some(_)) => violations.add("turn_id", "must be empty when revision is given"),
        (None, None) => violations.add("revision", "is required, or turn_id"),
        _ => {}
    }
    revision.or(turn)
}

pub(super) async fn undo(app: &App, request: Request<pb::UndoRevisionRequest>) -> Result<pb::UndoRevisionResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let if_match = std::mem::take(&mut wire.if_match);
    let fingerprint = decode::fingerprint("UndoRevision", &wire);
    let pb::UndoRevisionRequest { project_id, base_revision, request_id, .. } = wire;
    let common = Common { user, project_id, base_revision, message: String::new(), if_match, request_id };
    answer!(UndoRevisionResponse, run(app, &context, common, |_| Some(Subject::Undo), fingerprint).await?)
}

pub(super) async fn redo(app: &App, request: Request<pb::RedoRevisionRequest>) -> Result<pb::RedoRevisionResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let if_match = std::mem::take(&mut wire.if_match);
    let fingerprint = decode::fingerprint("RedoRevision", &wire);
    let pb::RedoRevisionRequest { project_id, base_revision, request_id, .. } = wire;
    let common = Common { user, project_id, base_revision, message: String::new(), if_match, request_id };
    answer!(RedoRevisionResponse, run(app, &context, common, |_| Some(Subject::Redo), fingerprint).await?)
}
