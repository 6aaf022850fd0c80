//! Reverts: a new revision without the change of an older one. An undo reverts the newest change of its user, and a redo the newest undo.

use std::sync::Arc;

use proto::id::TurnId;
use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        merge::{self, MergeStage},
        outcome::{self, MergeOutcome, MergeResult},
        request::{MaybeCommit, Preconditions, RequestKey, RequestState, SavePolicy, SaveRequest},
        stage::StagedTree,
    },
    error::Error,
    git::{self, Folder, Oid},
    model::{
        conflict::{ConflictKind, NewConflict},
        lineage,
        project::{Member, User},
        revision::{Revision, Undoes},
        undo::{self, Verb},
    },
    read::{history, merge::Contents, tree},
    store::revisions,
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

/// Reverts, or returns what an earlier request with the same idempotency key did.
pub(crate) async fn revert(writer: Writer<'_>, policy: SavePolicy<'_>, revert: Revert, now: OffsetDateTime) -> Result<MergeResult, Error> {
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
    type Output = MergeResult;

    async fn attempt(&mut self) -> Result<Attempt<MergeResult>, Error> {
        let member = match self.request.begin(&self.revert.preconditions).await? {
            RequestState::Repeat(recorded) => return outcome::replay(&self.request, recorded).await.map(Attempt::Done),
            RequestState::New(member) => *member,
        };
        if let Some(outcome) = outcome::old_conflict(&self.request, &member).await? {
            return Ok(Attempt::Done(MergeResult { project: member.project, outcome, replayed: true }));
        }
        let (reverted, stage) = self.merge(&member).await?;
        let message =
            if self.revert.message.is_empty() { undo::message(self.verb(), &reverted.revision) } else { self.revert.message.clone() };
        self.request.undoes = self.undoes(&reverted.revision);
        match stage {
            MergeStage::Unchanged(head) => outcome::commit(&mut self.request, member, MaybeCommit::Unchanged(head), &message).await,
            MergeStage::Clean(staged) => outcome::commit(&mut self.request, member, MaybeCommit::Commit(staged), &message).await,
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
        let _slot = merge::slot(&self.request).await?;
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
        let parent = match revision.previous() {
            Some(parent) => Some(history::find(self.request.pool(), member.project.id, parent).await?),
            None => None,
        };
        let before = tree::at_revision(objects, store, parent.as_ref()).await?;
        let after = tree::at_revision(objects, store, Some(&revision)).await?;
        Ok(Reverted { revision, before, after })
    }

    async fn stage(&self, member: &Member, reverted: &Reverted) -> Result<MergeStage, Error> {
        merge::stage(self.request.writer.objects, member, (&reverted.after, &reverted.before), &Contents::new()).await
    }

    /// Stores a conflict. Its commit follows the reverted revision and has the files from before it.
    async fn keep_conflict(
        &mut self,
        member: Member,
        reverted: Reverted,
        paths: Vec<String>,
        message: &str,
    ) -> Result<Attempt<MergeResult>, Error> {
        self.request.count().await?;
        if matches!(self.request.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let Reverted { revision, before, after } = reverted;
        let differences = git::diff(&after, &before);
        let staged = StagedTree { tree: Folder::clone(&before), differences, parents: vec![revision.id], contents: Contents::new() };
        let commit = self.request.pack(staged, message).await;
        let key = self.request.key();
        let conflict = NewConflict {
            id: outcome::conflict_id(&self.request, &member),
            kind: ConflictKind::Revert,
            base: Some((revision.id, revision.tree)),
            paths: &paths,
            fingerprint: key.map(|key| key.fingerprint.as_slice()),
        };
        let theirs = commit.new_revision(&member, self.request.writer.quotas);
        if matches!(self.request.write_conflict(&member, &conflict, theirs, &lineage::LogNumbers::new()).await?, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let outcome = MergeOutcome::Conflicted { id: conflict.id, paths };
        Ok(Attempt::Done(MergeResult { project: member.project, outcome, replayed: false }))
    }
}
