//! The locks of projects.

use chassis::postgres::query;
use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Connection, MAIN, StoreError};
use crate::model::lock::{Lock, LockScope};

/// The locks of a project, sorted by path.
pub(crate) async fn list(db: impl PgExecutor<'_>, project: ProjectId) -> Result<Vec<Lock>, StoreError> {
    let select = sqlx::query!("SELECT path, scope, user_id, created_at FROM locks WHERE project_id = $1 ORDER BY path", project.0);
    let rows = query("select locks", select.fetch_all(db)).await?;
    let lock = |path, scope, user, created_at| Lock { path, scope, user: UserId(user), created_at };
    Ok(rows.into_iter().map(|row| lock(row.path, scope(row.scope), row.user_id, row.created_at)).collect())
}

/// A scope by its number. An unknown number, which a later release may have written, is the widest scope.
fn scope(number: i16) -> LockScope {
    if number == LockScope::Agents as i16 { LockScope::Agents } else { LockScope::Everybody }
}

/// Sets a lock. Returns who set it and when; a lock with the same scope stays as it is.
pub(crate) async fn set(
    db: &mut Connection,
    project: ProjectId,
    path: &str,
    scope: LockScope,
    user: UserId,
) -> Result<(UserId, OffsetDateTime), StoreError> {
    let insert = sqlx::query!(
        "INSERT INTO locks (project_id, path, scope, user_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (project_id, path) DO UPDATE SET
             scope = excluded.scope,
             user_id = CASE WHEN locks.scope = excluded.scope THEN locks.user_id ELSE excluded.user_id END,
             created_at = CASE WHEN locks.scope = excluded.scope THEN locks.created_at ELSE excluded.created_at END
         RETURNING user_id, created_at",
        project.0,
        path,
        scope as i16,
        user.0,
    );
    let row = query("set lock", insert.fetch_one(&mut *db)).await?;
    Ok((UserId(row.user_id), row.created_at))
}

/// Deletes a lock.
pub(crate) async fn delete(db: &mut Connection, project: ProjectId, path: &str) -> Result<(), StoreError> {
    let delete = sqlx::query!("DELETE FROM locks WHERE project_id = $1 AND path = $2", project.0, path);
    query("delete lock", delete.execute(&mut *db)).await?;
    Ok(())
}

/// Moves locks to the new paths of their files.
pub(crate) async fn rename(db: &mut Connection, project: ProjectId, renames: &[(String, String)]) -> Result<(), StoreError> {
    let (old, new): (Vec<String>, Vec<String>) = renames.iter().cloned().unzip();
    let update = sqlx::query!(
        "UPDATE locks l SET path = r.new FROM unnest($2::text[], $3::text[]) AS r (old, new) WHERE l.project_id = $1 AND l.path = r.old",
        project.0,
        &old,
        &new,
    );
    query("rename locks", update.execute(&mut *db)).await?;
    Ok(())
}

/// Counts a change of the locks, so that no commit that checked the former ones moves the head.
pub(crate) async fn count_change(db: &mut Connection, project: ProjectId) -> Result<(), StoreError> {
    let update = sqlx::query!("UPDATE refs SET lock_version = lock_version + 1 WHERE project_id = $1 AND name = $2", project.0, MAIN);
    query("count change of locks", update.execute(&mut *db)).await?;
    Ok(())
}
