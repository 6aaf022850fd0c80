//! Creating a project without files, once per draft id and once per idempotency key.

use proto::{id::UserId, metadata::Metadata};
use time::OffsetDateTime;

use crate::{
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        quota::Quotas,
        request::RequestKey,
    },
    error::Error,
    model::project::{Project, Role, Target, UNNAMED, User},
    read::member,
    store::{
        self, Pool, projects,
        saves::{self, RequestOutcome},
    },
};

/// A project to create.
pub(crate) struct Create {
    pub(crate) owner: User,
    pub(crate) draft: Option<String>,
    /// Empty for the default name.
    pub(crate) name: String,
    pub(crate) metadata: Metadata,
    pub(crate) request: Option<RequestKey>,
}

/// The created project.
pub(crate) struct CreateResult {
    pub(crate) project: Project,
    /// An earlier request with the same id created the project.
    pub(crate) replayed: bool,
}

/// Creates an empty project, or finds the project of the idempotency key or of the draft id.
pub(crate) async fn create(pool: &Pool, quotas: Quotas, create: Create, now: OffsetDateTime) -> Result<CreateResult, Error> {
    retry_on_race(CreateWrite { pool, quotas, create: &create, now }).await
}

/// One creation over its attempts.
struct CreateWrite<'a> {
    pool: &'a Pool,
    quotas: Quotas,
    create: &'a Create,
    now: OffsetDateTime,
}

impl OptimisticWrite for CreateWrite<'_> {
    type Output = CreateResult;

    async fn attempt(&mut self) -> Result<Attempt<CreateResult>, Error> {
        match find_created(self.pool, self.create.owner.id, self.create.request.as_ref()).await? {
            Some(project) => Ok(Attempt::Done(CreateResult { project, replayed: true })),
            None => self.insert().await,
        }
    }
}

/// The project that the same request created before.
pub(crate) async fn find_created(pool: &Pool, owner: UserId, request: Option<&RequestKey>) -> Result<Option<Project>, Error> {
    let Some(request) = request else { return Ok(None) };
    let Some(recorded) = request.find_recorded(pool, owner).await? else { return Ok(None) };
    Ok(Some(member::find(pool, owner, &Target::Id(recorded.project), Role::Viewer).await?.project))
}

impl CreateWrite<'_> {
    /// Inserts the project. Raced if another request used the same idempotency key or the same draft id meanwhile.
    async fn insert(&self) -> Result<Attempt<CreateResult>, Error> {
        let Create { owner, draft, name, metadata, request } = self.create;
        let mut tx = store::begin(self.pool).await?;
        let found = match draft {
            Some(draft) => projects::find(&mut *tx, owner.id, &Target::Draft(draft.clone())).await?,
            None => None,
        };
        let project = match found {
            Some(member) => member.project,
            None => {
                let name = if name.is_empty() { UNNAMED.to_owned() } else { name.clone() };
                let project = Project { metadata: metadata.clone(), ..Project::new(*owner, draft.clone(), name, self.now) };
                if !self.quotas.insert(&mut tx, &project).await? {
                    return Ok(Attempt::Raced);
                }
                project
            }
        };
        if let Some(request) = request
            && !saves::record(&mut tx, owner.id, project.id, request.row(), (RequestOutcome::Unchanged, None)).await?
        {
            return Ok(Attempt::Raced);
        }
        store::commit(tx).await?;
        Ok(Attempt::Done(CreateResult { project, replayed: false }))
    }
}
