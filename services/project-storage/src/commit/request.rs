//! What saves, restores, reverts and resolutions of conflicts have in common: an idempotent request, the policy `save`, the project's lock, and one
//! statement that writes the revision.

mod key;

use std::sync::Arc;

use chassis::{client::ServiceChannel, context::Context};
use proto::{
    auth::Plan,
    id::{ProjectId, UserId},
    rate_limit::rate_limit_service_client::RateLimitServiceClient,
};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use self::key::RequestKey;
use crate::{
    commit::{
        Writer,
        attempt::Attempt,
        lock::ProjectGuard,
        objects::{CommitAuthor, CommitObjects, CompressedFiles},
        stage::StagedTree,
    },
    error::{Error, SERVICE},
    git::{Folder, Oid},
    locks,
    merge::MergeMode,
    model::{
        condition::Condition,
        conflict::NewConflict,
        lineage::LogNumbers,
        project::{Member, Project, Role, Target, User, require},
        revision::{Actor, Revision, Undoes},
    },
    read::{checkout::Checkout, history, load::MergeSlot, member, tree},
    store::{
        self, Connection, Pool, lineage, pending, projects,
        saves::{self, NewRevision, RecordedSave, RequestOutcome},
    },
};

/// The policy `save` of rate-limit. A request counts once, however often it is repeated after a race.
pub(crate) struct SavePolicy<'a> {
    limiter: RateLimitServiceClient<ServiceChannel>,
    pub(crate) context: &'a Context,
    is_counted: bool,
}

impl<'a> SavePolicy<'a> {
    pub(crate) fn new(limiter: RateLimitServiceClient<ServiceChannel>, context: &'a Context) -> Self {
        Self { limiter, context, is_counted: false }
    }

    pub(crate) async fn count(&mut self, user: UserId) -> Result<(), Error> {
        if !self.is_counted {
            let subject = format!("user:{user}");
            chassis::limit::check(&mut self.limiter, self.context, SERVICE, &[("save", &subject)]).await?;
            self.is_counted = true;
        }
        Ok(())
    }
}

/// A project that a request changes, and what must hold for it.
#[derive(Debug, Clone)]
pub(crate) struct Preconditions {
    pub(crate) project: ProjectId,
    pub(crate) condition: Condition,
    /// The head that the user looked at; `None` for any.
    pub(crate) base: Option<Oid>,
}

/// Whether a request is a repeat.
pub(crate) enum RequestState {
    /// An earlier request with the same idempotency key did it.
    Repeat(RecordedSave),
    New(Box<Member>),
}

/// What to write: a commit, or nothing because no file differs from this tree.
pub(crate) enum MaybeCommit<T> {
    Commit(T),
    Unchanged(Arc<Folder>),
}

/// A user's save over its attempts.
pub(crate) struct SaveRequest<'a> {
    pub(crate) writer: Writer<'a>,
    pub(crate) now: OffsetDateTime,
    /// What the revision undoes.
    pub(crate) undoes: Option<Undoes>,
    /// What makes the revision. Locks take it for the user's own change.
    pub(crate) actor: Actor,
    pub(crate) policy: SavePolicy<'a>,
    user: User,
    key: Option<&'a RequestKey>,
    lease: Option<Uuid>,
    compressed: CompressedFiles,
    guard: Option<ProjectGuard<'a>>,
}

impl<'a> SaveRequest<'a> {
    pub(crate) fn new(writer: Writer<'a>, policy: SavePolicy<'a>, user: User, key: Option<&'a RequestKey>, now: OffsetDateTime) -> Self {
        Self {
            writer,
            now,
            undoes: None,
            actor: Actor::Person,
            policy,
            user,
            key,
            lease: None,
            compressed: CompressedFiles::new(),
            guard: None,
        }
    }

    /// The request uses contents that a [`crate::commit::blobs::BlobWriter`] has written under this lease.
    pub(crate) fn with_lease(self, lease: Option<Uuid>) -> Self {
        Self { lease, ..self }
    }

    pub(crate) fn pool(&self) -> &'a Pool {
        &self.writer.objects.pool
    }

    /// What the same request did before. The caller has read the head already: then a repeat that sees the revision of the first
    /// request also sees its row.
    pub(crate) async fn find_recorded(&self) -> Result<Option<RecordedSave>, Error> {
        match self.key {
            Some(key) => key.find_recorded(self.pool(), self.user.id).await,
            None => Ok(None),
        }
    }

    /// Begins a change of a project that exists, other than a change set: looks for an earlier request with the same idempotency key, and checks the role
    /// and the conditions.
    ///
    /// # Errors
    /// [`Error::RoleRequired`], [`Error::EtagMismatch`], and [`Error::StaleRevision`] if the user has not seen the head.
    pub(crate) async fn begin(&self, preconditions: &Preconditions) -> Result<RequestState, Error> {
        let Preconditions { project, condition, base } = preconditions;
        let mut member = member::find(self.pool(), self.user.id, &Target::Id(*project), Role::Viewer).await?;
        if let Some(recorded) = self.find_recorded().await? {
            return Ok(RequestState::Repeat(recorded));
        }
        require(Some(member.role), Role::Editor)?;
        condition.check(Some(&member.project))?;
        self.apply_plan(&mut member);
        let head = member.head.as_ref().map(|head| head.id);
        if base.is_some() && *base != head {
            return Err(Error::stale(*base, head, Vec::new(), MergeMode::Paths));
        }
        Ok(RequestState::New(Box::new(member)))
    }

    /// The slot of a merge.
    pub(crate) fn merge_slot(&self) -> MergeSlot<'a> {
        MergeSlot { slots: self.writer.load_slots, context: self.policy.context, user: self.user.id }
    }

    pub(crate) fn user(&self) -> UserId {
        self.user.id
    }

    /// The idempotency key and the fingerprint of the request; `None` if it has none.
    pub(crate) fn key(&self) -> Option<&'a RequestKey> {
        self.key
    }

    /// Applies the plan of the access token, if the owner saves.
    pub(crate) fn apply_plan(&self, member: &mut Member) {
        if member.project.owner == self.user.id {
            member.project.plan = self.user.plan;
        }
    }

    /// The owner's plan, if the owner saves.
    fn plan_of(&self, project: &Project) -> Option<Plan> {
        (project.owner == self.user.id).then_some(self.user.plan)
    }

    /// Counts the policy `save`, once per request.
    pub(crate) async fn count(&mut self) -> Result<(), Error> {
        self.policy.count(self.user.id).await
    }

    /// Takes the project's lock for this attempt and all later ones. Raced if another save had it, because the head may have moved.
    pub(crate) async fn lock(&mut self, project: &Project) -> Attempt<()> {
        let waited = self.writer.locks.lock_once(&mut self.guard, project.id).await;
        if waited { Attempt::Raced } else { Attempt::Done(()) }
    }

    /// Makes the objects of the commit. `message` is shown in the history and may be empty.
    pub(crate) async fn pack(&mut self, staged: StagedTree, message: &str) -> CommitObjects {
        let author = CommitAuthor { user: self.user.id, turn: None, message, now: self.now };
        CommitObjects::pack(staged, &author, &mut self.compressed).await
    }

    /// Writes the revision in one statement. Raced if the head moved, the role was withdrawn, or the idempotency key was used meanwhile.
    ///
    /// # Errors
    /// [`Error::AccountTooLarge`] if the owner's account has no room; [`Error::PathLocked`] if a lock stops the user;
    /// [`Error::WriteExpired`] if the lease of contents was lost.
    pub(crate) async fn write(
        &self,
        db: &mut Connection,
        member: Member,
        commit: &CommitObjects,
    ) -> Result<Attempt<(Project, Revision)>, Error> {
        let quotas = self.writer.quotas;
        let moved = locks::check(db, &member, Actor::Person, (&commit.differences, &commit.tree)).await?;
        let new = NewRevision {
            request: self.key.map(RequestKey::row),
            plan: self.plan_of(&member.project),
            actor: self.actor,
            undoes: self.undoes,
            pending: self.lease,
            ..commit.new_revision(&member, quotas)
        };
        let (number, created_at) = match saves::advance(db, &new).await {
            Ok(Some(written)) => written,
            Ok(None) => {
                quotas.check_bytes(db, &member.project, &commit.objects).await?;
                if let Some(lease) = self.lease
                    && !pending::is_valid(&mut *db, lease).await?
                {
                    return Err(Error::WriteExpired);
                }
                return Ok(Attempt::Raced);
            }
            Err(error) if error.violates(saves::REQUEST_KEY) => return Ok(Attempt::Raced),
            Err(error) => return Err(error.into()),
        };
        locks::follow(db, member.project.id, &moved).await?;
        let revision = new.revision(number, created_at);
        let mut project = member.project;
        set_head(&mut project, Some(&revision));
        Ok(Attempt::Done((project, revision)))
    }

    /// Commits a staged tree to a project that exists: counts, takes the lock, and writes. Returns the project after it.
    pub(crate) async fn commit(
        &mut self,
        member: Member,
        staged: MaybeCommit<StagedTree>,
        message: &str,
    ) -> Result<Attempt<Checkout>, Error> {
        self.count().await?;
        if matches!(self.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        // Packing takes time. Only then is a connection taken, because other requests wait for connections.
        let packed = self.pack_changes(staged, message).await;
        let is_new = matches!(packed, MaybeCommit::Commit(_));
        let written = if member.project.lock_version == 0 {
            let mut db = store::connection(self.pool()).await?;
            self.write_changes(&mut db, member, packed).await?
        } else {
            // A lock may follow a rename, in the same transaction.
            let mut tx = store::begin(self.pool()).await?;
            let written = self.write_changes(&mut tx, member, packed).await?;
            if matches!(written, Attempt::Done(_)) {
                store::commit(tx).await?;
            }
            written
        };
        if let (Attempt::Done(Checkout { project, revision: Some(revision), .. }), true) = (&written, is_new) {
            self.announce(project, revision);
        }
        Ok(written)
    }

    /// Tells the watchers of the project that the revision is committed.
    pub(crate) fn announce(&self, project: &Project, revision: &Revision) {
        self.writer.changes.committed(project.id, revision.number);
    }

    /// As [`SaveRequest::pack`], if there is something to commit.
    pub(crate) async fn pack_changes(&mut self, staged: MaybeCommit<StagedTree>, message: &str) -> MaybeCommit<CommitObjects> {
        match staged {
            MaybeCommit::Commit(staged) => MaybeCommit::Commit(self.pack(staged, message).await),
            MaybeCommit::Unchanged(tree) => MaybeCommit::Unchanged(tree),
        }
    }

    /// As [`SaveRequest::write`], if there is something to commit. Otherwise records only that the request was served.
    pub(crate) async fn write_changes(
        &self,
        db: &mut Connection,
        member: Member,
        packed: MaybeCommit<CommitObjects>,
    ) -> Result<Attempt<Checkout>, Error> {
        match packed {
            MaybeCommit::Commit(commit) => {
                let Attempt::Done((project, revision)) = self.write(db, member, &commit).await? else {
                    return Ok(Attempt::Raced);
                };
                commit.put_into(&self.writer.objects.cache, project.store);
                Ok(Attempt::Done(Checkout { project, revision: Some(revision), tree: commit.tree }))
            }
            MaybeCommit::Unchanged(tree) => {
                let Member { project, head, .. } = member;
                let head_id = head.as_ref().map(|head| head.id);
                if matches!(self.record(db, project.id, RequestOutcome::Unchanged, head_id).await?, Attempt::Raced) {
                    return Ok(Attempt::Raced);
                }
                Ok(Attempt::Done(Checkout { project, revision: head, tree }))
            }
        }
    }

    /// Records the idempotency key of a request that made no revision, if it has one. Raced if the key was used meanwhile.
    async fn record(
        &self,
        db: &mut Connection,
        project: ProjectId,
        outcome: RequestOutcome,
        head: Option<Oid>,
    ) -> Result<Attempt<()>, Error> {
        let Some(key) = self.key else { return Ok(Attempt::Done(())) };
        let recorded = saves::record(db, self.user.id, project, key.row(), (outcome, head)).await?;
        Ok(if recorded { Attempt::Done(()) } else { Attempt::Raced })
    }

    /// Stores a conflict with its commit and with what its resolution merges, and records the request, in one transaction. Raced if the head moved, the role was withdrawn, or
    /// the idempotency key was used meanwhile.
    ///
    /// # Errors
    /// [`Error::AccountTooLarge`] if the owner's account has no room.
    pub(crate) async fn write_conflict(
        &self,
        member: &Member,
        conflict: &NewConflict<'_>,
        theirs: NewRevision<'_>,
        merged: &LogNumbers,
    ) -> Result<Attempt<()>, Error> {
        let project = member.project.id;
        let mut tx = store::begin(self.pool()).await?;
        self.writer.quotas.check_bytes(&mut tx, &member.project, theirs.objects).await?;
        let theirs = NewRevision { undoes: self.undoes, ..theirs };
        match saves::create_branch(&mut tx, conflict, &theirs).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Attempt::Raced),
            // The same request at the same time: its conflict has the same id.
            Err(error) if error.violates(saves::REFS_KEY) || error.violates(saves::CONFLICTS_KEY) => return Ok(Attempt::Raced),
            Err(error) => return Err(error.into()),
        }
        if !merged.is_empty() {
            lineage::insert_pending(&mut tx, member.project.store, conflict.id, merged).await?;
        }
        if matches!(self.record(&mut tx, project, RequestOutcome::Conflicted, theirs.expected).await?, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        projects::touch(&mut tx, project, self.plan_of(&member.project)).await?;
        store::commit(tx).await?;
        Ok(Attempt::Done(()))
    }

    /// The project as an earlier request left it, if the user may still read it.
    pub(crate) async fn replay(&self, recorded: RecordedSave) -> Result<Checkout, Error> {
        let member = member::find(self.pool(), self.user.id, &Target::Id(recorded.project), Role::Viewer).await?;
        let revision = match recorded.revision {
            Some(id) => Some(history::find(self.pool(), recorded.project, id).await?),
            None => None,
        };
        let mut project = member.project;
        set_head(&mut project, revision.as_ref());
        let tree = tree::at_revision(self.writer.objects, project.store, revision.as_ref()).await?;
        Ok(Checkout { project, revision, tree })
    }
}

/// Changes a project to what it was directly after a revision.
fn set_head(project: &mut Project, revision: Option<&Revision>) {
    project.head = revision.map(|revision| (revision.id, revision.number));
    project.updated_at = revision.map_or(project.updated_at, |revision| revision.created_at);
    project.edited_at = revision.map_or(project.edited_at, |revision| revision.created_at);
}
