//! A project without files, made once per draft id and once per request id.

use crate::{
    Storage,
    attempt::{Attempt, Write, retry_on_race},
    error::Error,
    project::{self, Actor, Project, Role, Target, UNNAMED},
    saver::RequestKey,
    store::{
        self, projects,
        saves::{self, Past},
    },
};

/// What a person asks for.
pub struct Create {
    pub owner: Actor,
    pub draft: Option<String>,
    /// Empty where nobody named it.
    pub name: String,
    pub request: Option<RequestKey>,
}

/// The project.
pub struct Created {
    pub project: Project,
    /// By an earlier request with the same id.
    pub replayed: bool,
}

/// Makes an empty project, or finds the one of the request id or of the draft id.
pub async fn create(storage: &Storage, create: Create) -> Result<Created, Error> {
    retry_on_race(CreateRun { storage, create: &create }).await
}

/// One creation over its attempts.
struct CreateRun<'a> {
    storage: &'a Storage,
    create: &'a Create,
}

impl Write for CreateRun<'_> {
    type Done = Created;

    async fn attempt(&mut self) -> Result<Attempt<Created>, Error> {
        match previous(self.storage, self.create).await? {
            Some(project) => Ok(Attempt::Done(Created { project, replayed: true })),
            None => try_create(self.storage, self.create).await,
        }
    }
}

/// What the same request made before.
async fn previous(storage: &Storage, create: &Create) -> Result<Option<Project>, Error> {
    let Some(request) = &create.request else { return Ok(None) };
    let Some(Past { project, fingerprint, .. }) = saves::past(&storage.pool, create.owner.id, &request.id).await? else { return Ok(None) };
    if fingerprint != request.fingerprint {
        return Err(Error::KeyReused);
    }
    Ok(Some(project::find(storage, create.owner.id, &Target::Id(project), Role::Viewer).await?.project))
}

/// It is a race if the same request id or the same draft id was used in between.
async fn try_create(storage: &Storage, create: &Create) -> Result<Attempt<Created>, Error> {
    let Create { owner, draft, name, request } = create;
    let mut tx = store::begin(&storage.pool).await?;
    let found = match draft {
        Some(draft) => projects::find(&mut *tx, owner.id, &Target::Draft(draft.clone())).await?,
        None => None,
    };
    let project = match found {
        Some(member) => member.project,
        None => {
            let name = if name.is_empty() { UNNAMED.to_owned() } else { name.clone() };
            let project = Project::new(*owner, draft.clone(), name, chassis::clock::now());
            if !storage.quotas.insert(&mut tx, &project).await? {
                return Ok(Attempt::Raced);
            }
            project
        }
    };
    if let Some(request) = request
        && !saves::remember(&mut tx, owner.id, project.id, request.row(), None).await?
    {
        return Ok(Attempt::Raced);
    }
    store::commit(tx).await?;
    Ok(Attempt::Done(Created { project, replayed: false }))
}
