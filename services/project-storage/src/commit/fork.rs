//! A fork: a new project that continues the log of another one.

use proto::id::ProjectId;
use time::OffsetDateTime;

use crate::{
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        create::{CreateResult, find_created},
        quota::Quotas,
        request::{RequestKey, SavePolicy},
    },
    error::Error,
    git::Oid,
    model::{
        project::{ForkOrigin, MAX_FORK_DEPTH, Member, Project, Role, Target, User},
        revision::Revision,
    },
    read::{history, member},
    store::{
        self, Pool,
        forks::{self, ForkResult},
        saves::{self, RequestOutcome},
    },
};

/// A fork to make.
pub(crate) struct Fork {
    pub(crate) owner: User,
    pub(crate) parent: ProjectId,
    /// The last revision that the fork has; `None` for the head.
    pub(crate) revision: Option<Oid>,
    pub(crate) draft: Option<String>,
    /// Empty for the name of the parent.
    pub(crate) name: String,
    pub(crate) request: Option<RequestKey>,
}

/// Forks a project that the owner of the fork may read, or finds the fork of the idempotency key.
///
/// # Errors
/// [`Error::RevisionNotFound`] for a revision that is not in the parent's log, [`Error::ForkTooDeep`], and [`Error::TooManyProjects`].
pub(crate) async fn fork(
    (pool, quotas): (&Pool, Quotas),
    policy: SavePolicy<'_>,
    fork: Fork,
    now: OffsetDateTime,
) -> Result<CreateResult, Error> {
    retry_on_race(ForkWrite { pool, quotas, policy, fork: &fork, now }).await
}

/// One fork over its attempts.
struct ForkWrite<'a> {
    pool: &'a Pool,
    quotas: Quotas,
    policy: SavePolicy<'a>,
    fork: &'a Fork,
    now: OffsetDateTime,
}

impl OptimisticWrite for ForkWrite<'_> {
    type Output = CreateResult;

    async fn attempt(&mut self) -> Result<Attempt<CreateResult>, Error> {
        match find_created(self.pool, self.fork.owner.id, self.fork.request.as_ref()).await? {
            Some(project) => Ok(Attempt::Done(CreateResult { project, replayed: true })),
            None => self.insert().await,
        }
    }
}

impl ForkWrite<'_> {
    /// Inserts the fork. Raced if another request used the same idempotency key meanwhile.
    async fn insert(&mut self) -> Result<Attempt<CreateResult>, Error> {
        let Fork { owner, parent, revision, request, .. } = self.fork;
        let member = member::find(self.pool, owner.id, &Target::Id(*parent), Role::Viewer).await?;
        let revision = history::resolve(self.pool, &member, *revision).await?;
        if revision.as_ref().is_some_and(Revision::is_on_branch) {
            return Err(Error::RevisionNotFound);
        }
        if forks::depth(self.pool, *parent).await? >= MAX_FORK_DEPTH {
            return Err(Error::ForkTooDeep { limit: MAX_FORK_DEPTH });
        }
        self.policy.count(owner.id).await?;
        let project = self.project(member, revision.as_ref());
        let mut tx = store::begin(self.pool).await?;
        let max = self.quotas.projects.of(owner.plan);
        match forks::insert(&mut tx, &project, (*parent, revision.as_ref()), max).await? {
            ForkResult::Inserted => {}
            ForkResult::ParentGone => return Err(Error::ProjectNotFound),
            ForkResult::DraftTaken => return Err(draft_taken()),
            ForkResult::AccountFull => return Err(Error::TooManyProjects { limit: max }),
        }
        if let Some(request) = request {
            let head = revision.as_ref().map(|revision| revision.id);
            if !saves::record(&mut tx, owner.id, project.id, request.row(), (RequestOutcome::Unchanged, head)).await? {
                return Ok(Attempt::Raced);
            }
        }
        store::commit(tx).await?;
        Ok(Attempt::Done(CreateResult { project, replayed: false }))
    }

    fn project(&self, parent: Member, revision: Option<&Revision>) -> Project {
        let Fork { owner, draft, name, .. } = self.fork;
        let name = if name.is_empty() { parent.project.name } else { name.clone() };
        let head = revision.map(|revision| (revision.id, revision.number));
        let (revision, number) = head.unzip();
        let origin = ForkOrigin { project: Some(parent.project.id), revision, number: number.unwrap_or(0) };
        let new = Project::new(*owner, draft.clone(), name, self.now);
        Project { store: parent.project.store, head, forked_from: Some(origin), ..new }
    }
}

fn draft_taken() -> Error {
    Error::Field { field: "draft_id".to_owned(), problem: "must not be the draft id of another project".to_owned() }
}
