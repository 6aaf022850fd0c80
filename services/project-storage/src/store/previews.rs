//! Preview capabilities, identified by their hashes.

use proto::id::{ProjectId, SessionId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{MAIN, StoreError, oid_or_none};
use crate::{
    git::Oid,
    model::project::{Role, StoreId},
};

/// A capability to store.
pub(crate) struct NewPreview<'a> {
    pub(crate) hash: &'a [u8],
    pub(crate) project: ProjectId,
    pub(crate) user: UserId,
    /// The session that creates it.
    pub(crate) session: SessionId,
    /// `None` for the head at the time of each use.
    pub(crate) revision: Option<Oid>,
    pub(crate) now: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
}

/// What a capability gives access to.
pub(crate) struct Preview {
    pub(crate) store: StoreId,
    /// The fixed revision, or the head, with its tree; `None` in a project without files.
    pub(crate) revision_and_tree: Option<(Oid, Oid)>,
    /// The last use, accurate to a minute.
    pub(crate) used_at: OffsetDateTime,
}

/// Stores a capability. Returns `false` if the session has ended.
pub(crate) async fn insert(db: impl PgExecutor<'_>, new: &NewPreview<'_>) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "INSERT INTO previews (hash, project_id, user_id, revision, touched_at, expires_at, session_id)
         SELECT $1, $2, $3, $4, $5, $6, $7 WHERE NOT EXISTS (SELECT 1 FROM ended_sessions WHERE session_id = $7)",
        new.hash,
        new.project.0,
        new.user.0,
        new.revision.as_ref().map(Oid::as_bytes),
        new.now,
        new.expires_at,
        new.session.0,
    );
    Ok(chassis::postgres::query("insert preview", query.execute(db)).await?.rows_affected() == 1)
}

/// Deletes a capability of the project, if the user created it or is an admin. Returns `false` if there is no such capability.
pub(crate) async fn delete(db: impl PgExecutor<'_>, hash: &[u8], project: ProjectId, user: UserId) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM previews WHERE hash = $1 AND project_id = $2
         AND (user_id = $3 OR EXISTS (SELECT 1 FROM members WHERE project_id = $2 AND user_id = $3 AND role >= $4))",
        hash,
        project.0,
        user.0,
        Role::Admin as i16,
    );
    Ok(chassis::postgres::query("delete preview", query.execute(db)).await?.rows_affected() == 1)
}

/// A valid capability whose creator may read the project and whose session has not ended.
pub(crate) async fn find(db: impl PgExecutor<'_>, hash: &[u8], now: OffsetDateTime) -> Result<Option<Preview>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT v.project_id, p.store_id, v.revision, v.touched_at, l.oid AS "oid?", l.tree AS "tree?"
           FROM previews v
           JOIN projects p ON p.id = v.project_id
           JOIN members m ON m.project_id = v.project_id AND m.user_id = v.user_id
           JOIN refs r ON r.project_id = v.project_id AND r.name = $3
           LEFT JOIN LATERAL (
               SELECT g.oid, g.tree FROM log_segments(v.project_id) s
               JOIN ref_log g ON g.project_id = s.log_id AND g.oid = coalesce(v.revision, r.oid)
               WHERE g.project_id = v.project_id OR g.name = $3 AND g.seq > s.after_number AND g.seq <= s.number
               LIMIT 1
           ) l ON true
           WHERE v.hash = $1 AND v.expires_at > $2
             AND NOT EXISTS (SELECT 1 FROM ended_sessions e WHERE e.session_id = v.session_id)"#,
        hash,
        now,
        MAIN,
    );
    let Some(row) = chassis::postgres::query("select preview", query.fetch_optional(db)).await? else { return Ok(None) };
    let oid = |bytes: Option<Vec<u8>>| bytes.map_or(Ok(None), |bytes| oid_or_none(&bytes));
    Ok(Some(Preview { store: StoreId(row.store_id), revision_and_tree: oid(row.oid)?.zip(oid(row.tree)?), used_at: row.touched_at }))
}

/// Stores a use of a capability with the new end of its validity.
pub(crate) async fn touch(db: impl PgExecutor<'_>, hash: &[u8], now: OffsetDateTime, expires_at: OffsetDateTime) -> Result<(), StoreError> {
    let query = sqlx::query!("UPDATE previews SET touched_at = $2, expires_at = $3 WHERE hash = $1", hash, now, expires_at);
    chassis::postgres::query("update preview", query.execute(db)).await?;
    Ok(())
}
