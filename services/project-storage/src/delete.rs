//! Deleting a project, restoring it, and purging it for ever.

use proto::id::{ProjectId, UserId};
use time::OffsetDateTime;

use crate::{
    error::Error,
    model::{
        condition::Condition,
        deletion::{Deleted, purge_time, purged_before},
        project::{Project, Role, StoreId, Target, require},
    },
    read::member,
    store::{self, Connection, Pool, StoreError, deleted_projects, deletions, projects},
};

/// Deletes a project, if the user is its owner. Returns when it will be purged.
pub(crate) async fn delete(pool: &Pool, user: UserId, id: ProjectId, condition: &Condition) -> Result<OffsetDateTime, Error> {
    member::find(pool, user, &Target::Id(id), Role::Owner).await?;
    let mut tx = store::begin(pool).await?;
    projects::lock_all(&mut tx, id).await?;
    check(&mut tx, user, id, condition).await?;
    let deleted_at = deleted_projects::delete(&mut tx, id).await?;
    store::commit(tx).await?;
    Ok(purge_time(deleted_at))
}

/// Purges a project, if the user is its owner. It may be deleted already; then there is nothing that the condition could be about.
pub(crate) async fn purge(pool: &Pool, user: UserId, id: ProjectId, condition: &Condition) -> Result<(), Error> {
    let mut tx = store::begin(pool).await?;
    let is_deleted = deleted_projects::find(&mut *tx, user, id).await?.is_some();
    if !is_deleted {
        // Before the locks, so that only the owner can wait for them. In the transaction: a second connection could be one too many.
        let found = projects::find(&mut *tx, user, &Target::Id(id)).await?;
        require(found.map(|member| member.role), Role::Owner)?;
    }
    projects::lock_all(&mut tx, id).await?;
    let store = match deleted_projects::find(&mut *tx, user, id).await? {
        Some(deleted) => deleted.store,
        None => check(&mut tx, user, id, condition).await?.store,
    };
    purge_locked(&mut tx, id, store).await?;
    store::commit(tx).await?;
    Ok(())
}

/// Checks under the locks that the user is the owner, and the condition.
async fn check(tx: &mut Connection, user: UserId, id: ProjectId, condition: &Condition) -> Result<Project, Error> {
    let found = projects::find(&mut *tx, user, &Target::Id(id)).await?;
    require(found.as_ref().map(|member| member.role), Role::Owner)?;
    let project = found.ok_or(Error::ProjectNotFound)?.project;
    condition.check(Some(&project))?;
    Ok(project)
}

/// Deletes a locked project for ever, and tells the services that keep data of it.
pub(crate) async fn purge_locked(tx: &mut Connection, id: ProjectId, store: StoreId) -> Result<(), StoreError> {
    projects::delete(tx, id, store).await?;
    deletions::insert(tx, Deleted::Project(id)).await
}

/// Restores a deleted project of this owner. Returns the project, also if it is not deleted.
pub(crate) async fn undelete(pool: &Pool, owner: UserId, id: ProjectId) -> Result<Project, Error> {
    let mut tx = store::begin(pool).await?;
    let target = Target::Id(id);
    // A new project of the owner must not take the draft id at the same time.
    projects::lock_account(&mut tx, owner).await?;
    if deleted_projects::restore(&mut tx, owner, id).await? {
        let restored = projects::find(&mut *tx, owner, &target).await?.ok_or(Error::ProjectNotFound)?;
        store::commit(tx).await?;
        return Ok(restored.project);
    }
    drop(tx);
    Ok(member::find(pool, owner, &target, Role::Owner).await?.project)
}

/// Purges the projects that were deleted thirty days ago or earlier. Returns how many there were.
pub(crate) async fn purge_expired(pool: &Pool, now: OffsetDateTime) -> Result<u64, StoreError> {
    let before = purged_before(now);
    let mut purged = 0;
    while let Some((id, owner)) = deleted_projects::expired(pool, before).await? {
        let mut tx = store::begin(pool).await?;
        projects::lock_all(&mut tx, id).await?;
        // Read again under the locks: the owner may have restored it, or another replica may have purged it.
        if let Some(project) = deleted_projects::find(&mut *tx, owner, id).await?.filter(|project| project.deleted_at < before) {
            purge_locked(&mut tx, id, project.store).await?;
            store::commit(tx).await?;
            purged += 1;
        }
    }
    Ok(purged)
}
