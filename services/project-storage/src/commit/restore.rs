//! A restore: a new revision with the files of an old one.

use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        request::{MaybeCommit, Preconditions, RequestKey, RequestState, SavePolicy, SaveRequest},
        stage::{ChangedPaths, StagedTree},
    },
    error::Error,
    git::{Folder, Oid},
    model::{
        project::{Member, User},
        revision::Revision,
    },
    read::{checkout::Checkout, history, tree},
};

/// What a user restores.
pub(crate) struct Restore {
    pub(crate) user: User,
    pub(crate) preconditions: Preconditions,
    /// The revision whose files come back.
    pub(crate) revision: Oid,
    /// For the history; empty for a message that names the revision.
    pub(crate) message: String,
    pub(crate) request: Option<RequestKey>,
}

/// The project after a restore.
pub(crate) struct RestoreResult {
    pub(crate) checkout: Checkout,
    /// An earlier request with the same id made the restore.
    pub(crate) replayed: bool,
}

/// Restores, or returns what an earlier request with the same id did.
pub(crate) async fn restore(
    writer: Writer<'_>,
    policy: SavePolicy<'_>,
    restore: Restore,
    now: OffsetDateTime,
) -> Result<RestoreResult, Error> {
    let request = SaveRequest::new(writer, policy, restore.user, restore.request.as_ref(), now);
    retry_on_race(RestoreWrite { request, restore: &restore }).await
}

/// One restore over its attempts.
struct RestoreWrite<'a> {
    request: SaveRequest<'a>,
    restore: &'a Restore,
}

impl OptimisticWrite for RestoreWrite<'_> {
    type Output = RestoreResult;

    async fn attempt(&mut self) -> Result<Attempt<RestoreResult>, Error> {
        let restore = self.restore;
        let member = match self.request.begin(&restore.preconditions).await? {
            RequestState::Repeat(recorded) => {
                return Ok(Attempt::Done(RestoreResult { checkout: self.request.replay(recorded).await?, replayed: true }));
            }
            RequestState::New(member) => *member,
        };
        let old = history::resolve(self.request.pool(), &member, Some(restore.revision)).await?.ok_or(Error::RevisionNotFound)?;
        let message = if restore.message.is_empty() { default_message(&old) } else { restore.message.clone() };
        let staged = self.stage(&member, &old).await?;
        Ok(match self.request.commit(member, staged, &message).await? {
            Attempt::Done(checkout) => Attempt::Done(RestoreResult { checkout, replayed: false }),
            Attempt::Raced => Attempt::Raced,
        })
    }
}

impl RestoreWrite<'_> {
    async fn stage(&self, member: &Member, old: &Revision) -> Result<MaybeCommit<StagedTree>, Error> {
        let (objects, store) = (self.request.writer.objects, member.project.store);
        let head_tree = tree::at_revision(objects, store, member.head.as_ref()).await?;
        let tree = Folder::clone(&*tree::at_revision(objects, store, Some(old)).await?);
        let paths = ChangedPaths { named: Vec::new(), default_field: "revision" };
        let staged = StagedTree::check(tree, &head_tree, &member.project.limits(), paths)?;
        Ok(if staged.differences.is_empty() {
            MaybeCommit::Unchanged(head_tree)
        } else {
            MaybeCommit::Commit(staged.with_parents(member.head.as_ref().map(|head| head.id)))
        })
    }
}

fn default_message(old: &Revision) -> String {
    match old.turn {
        // The commit of a conflicted turn has no number.
        Some(turn) if old.number == 0 => format!("Restore the files of the conflicted turn {turn}"),
        _ => format!("Restore revision {}", old.number),
    }
}
