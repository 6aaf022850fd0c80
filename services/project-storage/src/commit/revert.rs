//! Reverts: a new revision without the change of an older one. An undo reverts the newest change of its user, and a redo the newest undo.

use std::sync::Arc;

use proto::id::{ConflictId, TurnId};
use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        merge::{self, MergeStage},
        request::{MaybeCommit, Preconditions, RequestKey, RequestState, SavePolicy, SaveRequest},
        stage::StagedTree,
    },
    error::Error,
    git::{self, Folder, Oid},
    model::{
        conflict::{self, ConflictKind, NewConflict},
        project::{Member, Project, Role, Target, User},
        revision::{Revision, Undoes},
        undo::{self, Verb},
    },
    read::{history, member, tree},
    store::{
        conflicts, revisions,
        saves::{RecordedSave, RequestOutcome},
    },
};

/// The newest revisions of a user that an undo or a redo looks at.
const MAX_OWN_REVISIONS: i64 = 1000;
/// Revisions that an undo or a redo tries, because those before had nothing left to revert.
const MAX_TRIES: usize = 20;

/// What a user reverts.
pub(crate) struct Revert {
    pub(crate) user: User,
    pub(crate) preconditions: Preconditions,
    pub(crate) subject: Subject,
    /// For the history; empty for a message that names the revision.
    pub(crate) message: String,
    pub(crate) request: Option<RequestKey>,
}

/// Which revision is reverted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject {
    Revision(Oid),
    /// What the turn made.
    Turn(TurnId),
    /// The newest change of the user that is not undone.
    Undo,
    /// The newest undo of the user that is not redone.
    Redo,
}

/// The project after a revert.
pub(crate) struct RevertResult {
    pub(crate) project: Project,
    pub(crate) outcome: RevertOutcome,
    /// An earlier request with the same idempotency key made it.
    pub(crate) replayed: bool,
}

/// How a revert ended.
pub(crate) enum RevertOutcome {
    Committed(Option<Revision>),
    /// Nothing was left to revert. The head as it is.
    Unchanged(Option<Revision>),
    Conflicted {
        id: ConflictId,
        paths: Vec<String>,
    },
}

/// Reverts, or returns what an earlier request with the same idempotency key did.
pub(crate) async fn revert(writer: Writer<'_>, policy: SavePolicy<'_>, revert: Revert, now: OffsetDateTime) -> Result<RevertResult, Error> {
    let request = SaveRequest::new(writer, policy, revert.user, revert.request.as_ref(), now);
    retry_on_race(RevertWrite { request, revert: &revert }).await
}

/// One revert over its attempts.
struct RevertWrite<'a> {
    request: SaveRequest<'a>,
    revert: &'a Revert,
}

/// A revision to revert, with the trees before and after it.
struct Reverted {
    revision: Revision,
    before: Arc<Folder>,
    after: Arc<Folder>,
}

impl OptimisticWrite for RevertWrite<'_> {
    type Output = RevertResult;

    async fn attempt(&mut self) -> Result<Attempt<RevertResult>, Error> {
        let member = match self.request.begin(&self.revert.preconditions).await? {
            RequestState::Repeat(recorded) => return self.replay(recorded).await.map(Attempt::Done),
            RequestState::New(member) => *member,
        };
        if let Some(outcome) = self.old_conflict(&member).await? {
            return Ok(Attempt::Done(RevertResult { project: member.project, outcome, replayed: true }));
        }
        let (reverted, stage) = self.merge(&member).await?;
        let message =
            if self.revert.message.is_empty() { undo::message(self.verb(), &reverted.revision) } else { self.revert.message.clone() };
        self.request.undoes = self.undoes(&reverted.revision);
        match stage {
            MergeStage::Unchanged(head) => self.commit(member, MaybeCommit::Unchanged(head), &message).await,
            MergeStage::Clean(staged) => self.commit(member, MaybeCommit::Commit(staged), &message).await,
            MergeStage::Conflicts(paths) => self.keep_conflict(member, reverted, paths, &message).await,
        }
    }
}

impl RevertWrite<'_> {
    fn verb(&self) -> Verb {
        match self.revert.subject {
            Subject::Revision(_) | Subject::Turn(_) => Verb::Revert,
            Subject::Undo => Verb::Undo,
            Subject::Redo => Verb::Redo,
        }
    }

    /// What the new revision undoes. A revert that names its revision is a change like every other one.
    fn undoes(&self, reverted: &Revision) -> Option<Undoes> {
        let is_redo = match self.verb() {
            Verb::Revert => return None,
            _ if chassis::seeded_bug::is("forget-the-undo") => return None,
            Verb::Undo => false,
            Verb::Redo => true,
        };
        Some(Undoes { revision: reverted.id, is_redo })
    }

    /// The revision to revert, and the head without its change: the first one that leaves a trace, if an undo may revert several.
    async fn merge(&self, member: &Member) -> Result<(Reverted, MergeStage), Error> {
        let mut subjects = self.subjects(member).await?;
        subjects.truncate(MAX_TRIES);
        let last = subjects.pop().ok_or(Error::RevisionNotFound)?;
        for subject in subjects {
            let reverted = self.load(member, subject).await?;
            let stage = self.stage(member, &reverted).await?;
            if !matches!(stage, MergeStage::Unchanged(_)) {
                return Ok((reverted, stage));
            }
        }
        let reverted = self.load(member, last).await?;
        let stage = self.stage(member, &reverted).await?;
        Ok((reverted, stage))
    }

    /// The revisions that may be reverted, the first one first.
    async fn subjects(&self, member: &Member) -> Result<Vec<Oid>, Error> {
        let (pool, project) = (self.request.pool(), member.project.id);
        let own = async || revisions::own(pool, project, self.revert.user.id, MAX_OWN_REVISIONS).await;
        let found = match self.revert.subject {
            Subject::Revision(id) => return Ok(vec![id]),
            Subject::Turn(turn) => {
                let found = revisions::find_applied(pool, project, turn).await?.ok_or(Error::RevisionNotFound)?;
                return Ok(vec![found.id]);
            }
            Subject::Undo => undo::undoable(&own().await?),
            Subject::Redo => undo::redoable(&own().await?),
        };
        match (found.is_empty(), self.revert.subject) {
            (false, _) => Ok(found),
            (true, Subject::Redo) => Err(Error::NothingToRedo),
            (true, _) => Err(Error::NothingToUndo),
        }
    }

    async fn load(&self, member: &Member, id: Oid) -> Result<Reverted, Error> {
        let (objects, store) = (self.request.writer.objects, member.project.store);
        let revision = history::resolve(self.request.pool(), member, Some(id)).await?.ok_or(Error::RevisionNotFound)?;
        if revision.number == 0 {
            // The commit of a conflict was never applied.
            return Err(Error::RevisionNotFound);
        }
        let parent = match revision.parents.first() {
            Some(parent) => Some(history::find(self.request.pool(), member.project.id, *parent).await?),
            None => None,
        };
        let before = tree::at_revision(objects, store, parent.as_ref()).await?;
        let after = tree::at_revision(objects, store, Some(&revision)).await?;
        Ok(Reverted { revision, before, after })
    }

    async fn stage(&self, member: &Member, reverted: &Reverted) -> Result<MergeStage, Error> {
        merge::stage(self.request.writer.objects, member, &reverted.after, &reverted.before).await
    }

    /// Commits the head without the change, or records that nothing was left to revert.
    async fn commit(&mut self, member: Member, staged: MaybeCommit<StagedTree>, message: &str) -> Result<Attempt<RevertResult>, Error> {
        let is_unchanged = matches!(staged, MaybeCommit::Unchanged(_));
        let Attempt::Done(checkout) = self.request.commit(member, staged, message).await? else { return Ok(Attempt::Raced) };
        let outcome = if is_unchanged { RevertOutcome::Unchanged(checkout.revision) } else { RevertOutcome::Committed(checkout.revision) };
        Ok(Attempt::Done(RevertResult { project: checkout.project, outcome, replayed: false }))
    }

    /// Stores a conflict. Its commit follows the reverted revision and has the files from before it.
    async fn keep_conflict(
        &mut self,
        member: Member,
        reverted: Reverted,
        paths: Vec<String>,
        message: &str,
    ) -> Result<Attempt<RevertResult>, Error> {
        self.request.count().await?;
        if matches!(self.request.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let Reverted { revision, before, after } = reverted;
        let differences = git::diff(&after, &before);
        let staged = StagedTree { tree: Folder::clone(&before), differences, parents: vec![revision.id], contents: Default::default() };
        let commit = self.request.pack(staged, message).await;
        let key = self.request.key();
        let conflict = NewConflict {
            id: self.conflict_id(&member),
            kind: ConflictKind::Revert,
            base: Some((revision.id, revision.tree)),
            paths: &paths,
            fingerprint: key.map(|key| key.fingerprint.as_slice()),
        };
        let theirs = commit.new_revision(&member, self.request.writer.quotas);
        if matches!(self.request.write_conflict(&member, &conflict, theirs).await?, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let outcome = RevertOutcome::Conflicted { id: conflict.id, paths };
        Ok(Attempt::Done(RevertResult { project: member.project, outcome, replayed: false }))
    }

    fn conflict_id(&self, member: &Member) -> ConflictId {
        conflict::id_of_request(self.revert.user.id, member.project.id, self.request.key().map(|key| key.id.as_str()))
    }

    /// The conflict of the same request, if its idempotency key is no longer recorded.
    async fn old_conflict(&self, member: &Member) -> Result<Option<RevertOutcome>, Error> {
        let Some(key) = self.request.key() else { return Ok(None) };
        let id = self.conflict_id(member);
        match conflicts::find_recorded(self.request.pool(), member.project.id, id).await? {
            Some(recorded) if recorded.fingerprint != key.fingerprint => Err(Error::KeyReused),
            Some(recorded) => Ok(Some(RevertOutcome::Conflicted { id, paths: recorded.paths })),
            None => Ok(None),
        }
    }

    /// What an earlier request with the same idempotency key did.
    async fn replay(&self, recorded: RecordedSave) -> Result<RevertResult, Error> {
        if recorded.outcome == RequestOutcome::Conflicted {
            let member = member::find(self.request.pool(), self.revert.user.id, &Target::Id(recorded.project), Role::Viewer).await?;
            let id = self.conflict_id(&member);
            let found = conflicts::find_recorded(self.request.pool(), member.project.id, id).await?;
            let paths = found.map(|found| found.paths).unwrap_or_default();
            return Ok(RevertResult { project: member.project, outcome: RevertOutcome::Conflicted { id, paths }, replayed: true });
        }
        let is_unchanged = recorded.outcome == RequestOutcome::Unchanged;
        let checkout = self.request.replay(recorded).await?;
        let outcome = if is_unchanged { RevertOutcome::Unchanged(checkout.revision) } else { RevertOutcome::Committed(checkout.revision) };
        Ok(RevertResult { project: checkout.project, outcome, replayed: true })
    }
}
