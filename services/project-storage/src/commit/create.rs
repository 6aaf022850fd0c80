//! A project without files, made once per draft id and once per request id.

use crate::{
    app::App,
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        request::RequestKey,
    },
    error::Error,
    model::project::{Project, Role, Target, UNNAMED, User},
    read::member,
    store::{
        self, projects,
        saves::{self, RecordedSave},
    },
};

/// What a person asks for.
pub(crate) struct Create {
    pub(crate) owner: User,
    pub(crate) draft: Option<String>,
    /// Empty where nobody named it.
    pub(crate) name: String,
    pub(crate) request: Option<RequestKey>,
}

/// The project.
pub(crate) struct CreateResult {
    pub(crate) project: Project,
    /// By an earlier request with the same id.
    pub(crate) replayed: bool,
}

/// Makes an empty project, or finds the one of the request id or of the draft id.
pub(crate) async fn create(app: &App, create: Create) -> Result<CreateResult, Error> {
    retry_on_race(CreateWrite { app, create: &create }).await
}

/// One creation over its attempts.
struct CreateWrite<'a> {
    app: &'a App,
    create: &'a Create,
}

impl OptimisticWrite for CreateWrite<'_> {
    type Output = CreateResult;

    async fn attempt(&mut self) -> Result<Attempt<CreateResult>, Error> {
        match recorded(self.app, self.create).await? {
            Some(project) => Ok(Attempt::Done(CreateResult { project, replayed: true })),
            None => insert(self.app, self.create).await,
        }
    }
}

/// What the same request made before.
async fn recorded(app: &App, create: &Create) -> Result<Option<Project>, Error> {
    let Some(request) = &create.request else { return Ok(None) };
    let recorded = saves::find_recorded(&app.pool, create.owner.id, &request.id).await?;
    let Some(RecordedSave { project, fingerprint, .. }) = recorded else { return Ok(None) };
    if fingerprint != request.fingerprint {
        return Err(Error::KeyReused);
    }
    Ok(Some(member::find(&app.pool, create.owner.id, &Target::Id(project), Role::Viewer).await?.project))
}

/// Raced if somebody else used the same request id or the same draft id meanwhile.
async fn insert(app: &App, create: &Create) -> Result<Attempt<CreateResult>, Error> {
    let Create { owner, draft, name, request } = create;
    let mut tx = store::begin(&app.pool).await?;
    let found = match draft {
        Some(draft) => projects::find(&mut *tx, owner.id, &Target::Draft(draft.clone())).await?,
        None => None,
    };
    let project = match found {
        Some(member) => member.project,
        None => {
            let name = if name.is_empty() { UNNAMED.to_owned() } else { name.clone() };
            let project = Project::new(*owner, draft.clone(), name, chassis::clock::now());
            if !app.quotas.insert(&mut tx, &project).await? {
                return Ok(Attempt::Raced);
            }
            project
        }
    };
    if let Some(request) = request
        && !saves::record_unchanged(&mut tx, owner.id, project.id, request.row(), None).await?
    {
        return Ok(Attempt::Raced);
    }
    store::commit(tx).await?;
    Ok(Attempt::Done(CreateResult { project, replayed: false }))
}
