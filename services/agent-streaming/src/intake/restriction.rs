//! Keys that are restricted to projects. project-storage refuses what they do not reach; this is for what it is not asked about. To such a key
//! every other project and turn looks absent, whether it exists or not.

use chassis::{
    context::Context,
    identity::{Caller, User},
};
use proto::{
    error::{ErrorCode, Fault},
    id::{ProjectId, TurnId},
};

use crate::{
    app::App,
    error::{Error, SERVICE},
    store::turns,
    turn::Turn,
};

/// Refuses another project. A draft id names a project if a turn has used it.
///
/// # Errors
/// PROJECT_NOT_FOUND, as project-storage answers it.
pub(crate) async fn require_project(app: &App, context: &Context, project: Option<ProjectId>, draft: Option<&str>) -> Result<(), Error> {
    let user = context.user()?;
    if user.projects().is_none() {
        return Ok(());
    }
    let project = match (project, draft) {
        (Some(project), _) => Some(project),
        (None, Some(draft)) => turns::project_of_draft(&app.db, user.id, draft).await?,
        (None, None) => None,
    };
    if project.is_some_and(|project| user.reaches(project)) {
        return Ok(());
    }
    let service = Caller::ProjectStorage.name();
    Err(Error::Refused(Fault::new(service, ErrorCode::NotFound, "PROJECT_NOT_FOUND", "no such project")))
}

/// Refuses what is about no single project.
///
/// # Errors
/// PROJECTS_RESTRICTED.
pub(crate) fn require_all_projects(user: &User) -> Result<(), Error> {
    if user.projects().is_none() {
        return Ok(());
    }
    let text = "a key that is restricted to projects cannot do this, because it is not about one of them";
    Err(Error::Refused(Fault::new(SERVICE, ErrorCode::Forbidden, "PROJECTS_RESTRICTED", text)))
}

/// Whether the key of the user reaches the project of a turn. A turn that is not begun has none yet.
pub(crate) fn reaches(user: &User, turn: &Turn) -> bool {
    match turn.project_id {
        Some(project) => user.reaches(project),
        None => user.projects().is_none(),
    }
}

/// Refuses a turn of another project.
///
/// # Errors
/// TURN_NOT_FOUND.
pub(crate) async fn require_turn(app: &App, user: &User, id: TurnId) -> Result<(), Error> {
    if user.projects().is_none() {
        return Ok(());
    }
    let turn = turns::find(&app.db, id, user.id).await?;
    turn.filter(|turn| reaches(user, turn)).map(|_| ()).ok_or(Error::TurnNotFound)
}
