//! Changing what the owner of a project can set.

use proto::id::{ProjectId, UserId};

use crate::{
    error::Error,
    model::{
        condition::Condition,
        filter::ProjectUpdate,
        project::{Project, Role, Target, require},
    },
    read::member,
    store::{self, Pool, projects},
};

/// Changes the name and the metadata of a project, if the user is an admin of it.
pub(crate) async fn update(
    pool: &Pool,
    user: UserId,
    id: ProjectId,
    update: &ProjectUpdate,
    condition: &Condition,
) -> Result<Project, Error> {
    let target = Target::Id(id);
    // Before the lock, so that only members can wait for it.
    member::find(pool, user, &target, Role::Admin).await?;
    let mut tx = store::begin(pool).await?;
    if !condition.is_empty() || !update.metadata.is_empty() {
        projects::lock(&mut tx, id).await?;
    }
    let found = projects::find(&mut *tx, user, &target).await?;
    require(found.as_ref().map(|member| member.role), Role::Admin)?;
    let project = found.ok_or(Error::ProjectNotFound)?.project;
    let metadata = update.metadata_of(&project)?;
    // If nothing changes, this may be a repeat, and the ETag has changed since: the condition is not checked.
    if !update.is_done(&project, metadata.as_ref()) {
        condition.check(Some(&project))?;
    }
    if !projects::update(&mut *tx, id, user, update.name.as_deref(), metadata.as_ref()).await? {
        return Err(Error::ProjectNotFound);
    }
    let updated = projects::find(&mut *tx, user, &target).await?.ok_or(Error::ProjectNotFound)?;
    store::commit(tx).await?;
    Ok(updated.project)
}
