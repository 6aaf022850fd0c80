//! Renaming a project.

use proto::id::{ProjectId, UserId};

use crate::{
    error::Error,
    model::{
        condition::Condition,
        project::{Project, Role, Target, require},
    },
    store::{self, Pool, projects},
};

/// Renames a project, if the user is an admin of it.
pub(crate) async fn rename(pool: &Pool, user: UserId, id: ProjectId, name: &str, condition: &Condition) -> Result<Project, Error> {
    let target = Target::Id(id);
    let mut tx = store::begin(pool).await?;
    if !condition.is_empty() {
        projects::lock(&mut tx, id).await?;
    }
    let found = projects::find(&mut *tx, user, &target).await?;
    require(found.as_ref().map(|member| member.role), Role::Admin)?;
    // If the project has the name already, this may be a repeat, and the ETag has changed since: the condition is not checked.
    if let Some(member) = found.as_ref().filter(|member| member.project.name != name) {
        condition.check(Some(&member.project))?;
    }
    if !projects::rename(&mut *tx, id, user, name).await? {
        return Err(Error::ProjectNotFound);
    }
    let renamed = projects::find(&mut *tx, user, &target).await?.ok_or(Error::ProjectNotFound)?;
    store::commit(tx).await?;
    Ok(renamed.project)
}
