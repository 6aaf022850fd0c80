//! The outcome of a merge with the head: of a revert, or of another project. A repeat of the request gets the same.

use proto::id::ConflictId;

use crate::{
    commit::{
        attempt::Attempt,
        request::{MaybeCommit, SaveRequest},
        stage::StagedTree,
    },
    error::Error,
    model::{
        conflict,
        project::{Member, Project, Role, Target},
        revision::Revision,
    },
    read::member,
    store::{
        conflicts,
        saves::{RecordedSave, RequestOutcome},
    },
};

/// The project after a merge.
pub(crate) struct MergeResult {
    pub(crate) project: Project,
    pub(crate) outcome: MergeOutcome,
    /// An earlier request with the same idempotency key made it.
    pub(crate) replayed: bool,
}

/// How a merge ended.
pub(crate) enum MergeOutcome {
    Committed(Option<Revision>),
    /// Nothing was left to merge. The head as it is.
    Unchanged(Option<Revision>),
    Conflicted {
        id: ConflictId,
        paths: Vec<String>,
    },
}

impl MergeOutcome {
    fn new(revision: Option<Revision>, is_unchanged: bool) -> Self {
        if is_unchanged { Self::Unchanged(revision) } else { Self::Committed(revision) }
    }
}

/// Commits a clean merge, or records that nothing was left to merge.
pub(crate) async fn commit(
    request: &mut SaveRequest<'_>,
    member: Member,
    staged: MaybeCommit<StagedTree>,
    message: &str,
) -> Result<Attempt<MergeResult>, Error> {
    let is_unchanged = matches!(staged, MaybeCommit::Unchanged(_));
    let Attempt::Done(checkout) = request.commit(member, staged, message).await? else { return Ok(Attempt::Raced) };
    let outcome = MergeOutcome::new(checkout.revision, is_unchanged);
    Ok(Attempt::Done(MergeResult { project: checkout.project, outcome, replayed: false }))
}

/// The id of the conflict that the request makes, if it makes one.
pub(crate) fn conflict_id(request: &SaveRequest<'_>, member: &Member) -> ConflictId {
    conflict::id_of_request(request.user(), member.project.id, request.key().map(|key| key.id.as_str()))
}

/// The conflict of the same request, if its idempotency key is no longer recorded.
pub(crate) async fn old_conflict(request: &SaveRequest<'_>, member: &Member) -> Result<Option<MergeOutcome>, Error> {
    let Some(key) = request.key() else { return Ok(None) };
    let id = conflict_id(request, member);
    match conflicts::find_recorded(request.pool(), member.project.id, id).await? {
        Some(recorded) if recorded.fingerprint != key.fingerprint => Err(Error::KeyReused),
        Some(recorded) => Ok(Some(MergeOutcome::Conflicted { id, paths: recorded.paths })),
        None => Ok(None),
    }
}

/// What an earlier request with the same idempotency key did.
pub(crate) async fn replay(request: &SaveRequest<'_>, recorded: RecordedSave) -> Result<MergeResult, Error> {
    if recorded.outcome == RequestOutcome::Conflicted {
        let member = member::find(request.pool(), request.user(), &Target::Id(recorded.project), Role::Viewer).await?;
        let id = conflict_id(request, &member);
        let found = conflicts::find_recorded(request.pool(), member.project.id, id).await?;
        let paths = found.map(|found| found.paths).unwrap_or_default();
        return Ok(MergeResult { project: member.project, outcome: MergeOutcome::Conflicted { id, paths }, replayed: true });
    }
    let is_unchanged = recorded.outcome == RequestOutcome::Unchanged;
    let checkout = request.replay(recorded).await?;
    let outcome = MergeOutcome::new(checkout.revision, is_unchanged);
    Ok(MergeResult { project: checkout.project, outcome, replayed: true })
}
