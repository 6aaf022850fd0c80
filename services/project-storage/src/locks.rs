//! Locks of paths: setting, listing and deleting them, and the check of a commit.

use proto::id::{ProjectId, UserId};

use crate::{
    error::Error,
    git::{Difference, Folder},
    model::{
        lock::{self, Lock, LockScope, MAX_LOCKS},
        path::FilePath,
        project::{Member, Project, Role, Target, require},
        revision::Actor,
    },
    read::member,
    store::{self, Connection, Pool, StoreError, Tx, locks, projects},
};

/// All locks of a project, sorted by path.
pub(crate) async fn list(pool: &Pool, user: UserId, project: ProjectId) -> Result<Vec<Lock>, Error> {
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    Ok(locks::list(pool, project).await?)
}

/// Locks a path, or changes the scope of its lock.
///
/// # Errors
/// [`Error::TooManyLocks`] if the project has as many others as it may have.
pub(crate) async fn set(pool: &Pool, user: UserId, project: ProjectId, path: &FilePath, scope: LockScope) -> Result<Lock, Error> {
    let (mut tx, role) = begin(pool, user, project, scope.role()).await?;
    let present = locks::list(&mut *tx, project).await?;
    match present.iter().find(|lock| lock.path == path.as_str()) {
        Some(lock) => require(Some(role), lock.scope.role())?,
        None if present.len() >= MAX_LOCKS as usize => return Err(Error::TooManyLocks { limit: MAX_LOCKS }),
        None => {}
    }
    let (user, created_at) = locks::set(&mut tx, project, path.as_str(), scope, user).await?;
    locks::count_change(&mut tx, project).await?;
    store::commit(tx).await?;
    Ok(Lock { path: path.to_string(), scope, user, created_at })
}

/// Deletes a lock.
///
/// # Errors
/// [`Error::LockNotFound`] if the project does not have it.
pub(crate) async fn delete(pool: &Pool, user: UserId, project: ProjectId, path: &FilePath) -> Result<(), Error> {
    let (mut tx, role) = begin(pool, user, project, Role::Editor).await?;
    let present = locks::list(&mut *tx, project).await?;
    let lock = present.iter().find(|lock| lock.path == path.as_str()).ok_or(Error::LockNotFound)?;
    require(Some(role), lock.scope.role())?;
    locks::delete(&mut tx, project, path.as_str()).await?;
    locks::count_change(&mut tx, project).await?;
    store::commit(tx).await?;
    Ok(())
}

/// Begins a transaction with the project locked, for a user with this role or a higher one. Returns the role.
async fn begin(pool: &Pool, user: UserId, project: ProjectId, needed: Role) -> Result<(Tx, Role), Error> {
    let target = Target::Id(project);
    // Before the lock, so that only members can wait for it.
    member::find(pool, user, &target, needed).await?;
    let mut tx = store::begin(pool).await?;
    projects::lock(&mut tx, project).await?;
    let role = projects::find(&mut *tx, user, &target).await?.map(|member| member.role);
    require(role, needed)?;
    Ok((tx, role.ok_or(Error::ProjectNotFound)?))
}

/// Checks that no lock stops the author of a commit. Returns the locks that follow a rename: old path, new path. The locks are those of the
/// member's `lock_version`, or later ones; then the commit does not move the head.
///
/// # Errors
/// [`Error::PathLocked`] with the first locked path.
pub(crate) async fn check(
    db: &mut Connection,
    member: &Member,
    actor: Actor,
    (differences, tree): (&[Difference], &Folder),
) -> Result<Vec<(String, String)>, Error> {
    if member.project.lock_version == 0 {
        return Ok(Vec::new());
    }
    let present = locks::list(&mut *db, member.project.id).await?;
    lock::check(&present, actor, member.role, differences)?;
    Ok(if actor == Actor::Person { lock::followers(&present, differences, tree) } else { Vec::new() })
}

/// Moves locks to the new paths of their files.
pub(crate) async fn follow(db: &mut Connection, project: ProjectId, moved: &[(String, String)]) -> Result<(), StoreError> {
    if moved.is_empty() || chassis::seeded_bug::is("leave-the-lock-behind") {
        return Ok(());
    }
    locks::rename(db, project, moved).await?;
    locks::count_change(db, project).await
}

/// The paths that agents may not change, sorted.
pub(crate) async fn of_agents(pool: &Pool, project: &Project) -> Result<Vec<String>, StoreError> {
    if project.lock_version == 0 {
        return Ok(Vec::new());
    }
    Ok(locks::list(pool, project.id).await?.into_iter().map(|lock| lock.path).collect())
}
