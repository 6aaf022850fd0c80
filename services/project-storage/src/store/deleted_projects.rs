//! Projects that are deleted and can be restored.

use chassis::postgres::query;
use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Connection, MAIN, StoreError};
use crate::model::project::StoreId;

/// A deleted project.
pub(crate) struct DeletedProject {
    pub(crate) store: StoreId,
    pub(crate) deleted_at: OffsetDateTime,
}

/// Takes the members, the draft id and the idempotency keys from a locked project, and ends its previews. Returns the time.
pub(crate) async fn delete(db: &mut Connection, id: ProjectId) -> Result<OffsetDateTime, StoreError> {
    let update = sqlx::query_scalar!(
        r#"WITH m AS (DELETE FROM members WHERE project_id = $1 RETURNING user_id, role),
             f AS (INSERT INTO former_members (project_id, user_id, role) SELECT $1, user_id, role FROM m),
             v AS (DELETE FROM previews WHERE project_id = $1),
             k AS (DELETE FROM save_requests WHERE project_id = $1),
             q AS (DELETE FROM publish_requests WHERE project_id = $1),
             -- A save that waits for the head sees that it changed, and then that its user is no member.
             r AS (UPDATE refs SET lock_version = lock_version + 1 WHERE project_id = $1 AND name = $2)
         UPDATE projects SET deleted_at = clock_timestamp(), updated_at = clock_timestamp(), deleted_draft_id = draft_id, draft_id = NULL
         WHERE id = $1 RETURNING deleted_at AS "deleted_at!""#,
        id.0,
        MAIN,
    );
    query("delete project", update.fetch_one(&mut *db)).await
}

/// Gives a deleted project its members back, and its draft id unless another project has it. Returns `false` if the project is not
/// deleted, or if the user is not its owner.
pub(crate) async fn restore(db: &mut Connection, owner: UserId, id: ProjectId) -> Result<bool, StoreError> {
    let update = sqlx::query!(
        "WITH p AS (
             UPDATE projects p SET deleted_at = NULL, updated_at = clock_timestamp(), deleted_draft_id = NULL,
                 draft_id = (SELECT p.deleted_draft_id
                     WHERE NOT EXISTS (SELECT 1 FROM projects o WHERE o.owner_id = $2 AND o.draft_id = p.deleted_draft_id))
             WHERE p.id = $1 AND p.owner_id = $2 AND p.deleted_at IS NOT NULL RETURNING p.id
         ), f AS (DELETE FROM former_members f USING p WHERE f.project_id = p.id RETURNING f.user_id, f.role)
         INSERT INTO members (project_id, user_id, role) SELECT $1, user_id, role FROM f",
        id.0,
        owner.0,
    );
    Ok(query("restore project", update.execute(&mut *db)).await?.rows_affected() > 0)
}

/// A deleted project of this owner.
pub(crate) async fn find(db: impl PgExecutor<'_>, owner: UserId, id: ProjectId) -> Result<Option<DeletedProject>, StoreError> {
    let select = sqlx::query!(
        r#"SELECT store_id, deleted_at AS "deleted_at!" FROM projects WHERE id = $1 AND owner_id = $2 AND deleted_at IS NOT NULL"#,
        id.0,
        owner.0,
    );
    let row = query("select deleted project", select.fetch_optional(db)).await?;
    Ok(row.map(|row| DeletedProject { store: StoreId(row.store_id), deleted_at: row.deleted_at }))
}

/// A project that was deleted before a time, with its owner.
pub(crate) async fn expired(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<Option<(ProjectId, UserId)>, StoreError> {
    let select = sqlx::query!("SELECT id, owner_id FROM projects WHERE deleted_at < $1 ORDER BY deleted_at LIMIT 1", before);
    let row = query("select expired project", select.fetch_optional(db)).await?;
    Ok(row.map(|row| (ProjectId(row.id), UserId(row.owner_id))))
}
