//! Preview capabilities, known here only by their hashes.

use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Failure, MAIN, oid_or_none};
use crate::{git::Oid, project::StoreId};

/// A capability to be kept.
pub struct NewPreview<'a> {
    pub hash: &'a [u8],
    pub project: ProjectId,
    pub user: UserId,
    /// `None` follows the head.
    pub revision: Option<Oid>,
    pub now: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

/// What a capability opens.
pub struct Opened {
    pub project: ProjectId,
    pub store: StoreId,
    /// Fixed at its making.
    pub revision: Option<Oid>,
    /// Revision and tree to read: the fixed one or the head; `None` in a project without files.
    pub read: Option<(Oid, Oid)>,
    pub touched_at: OffsetDateTime,
}

/// Keeps a capability.
pub async fn insert(db: impl PgExecutor<'_>, new: &NewPreview<'_>) -> Result<(), Failure> {
    let query = sqlx::query!(
        "INSERT INTO previews (hash, project_id, user_id, revision, touched_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        new.hash,
        new.project.0,
        new.user.0,
        new.revision.as_ref().map(Oid::as_bytes),
        new.now,
        new.expires_at,
    );
    chassis::postgres::query("insert preview", query.execute(db)).await?;
    Ok(())
}

/// What a capability opens now, for as long as the person who made it may read the project.
pub async fn open(db: impl PgExecutor<'_>, hash: &[u8], now: OffsetDateTime) -> Result<Option<Opened>, Failure> {
    let query = sqlx::query!(
        r#"SELECT v.project_id, p.store_id, v.revision, v.touched_at, l.oid AS "oid?", l.tree AS "tree?"
           FROM previews v
           JOIN projects p ON p.id = v.project_id
           JOIN members m ON m.project_id = v.project_id AND m.user_id = v.user_id
           JOIN refs r ON r.project_id = v.project_id AND r.name = $3
           LEFT JOIN LATERAL (
               SELECT g.oid, g.tree FROM ref_log g WHERE g.project_id = v.project_id AND g.oid = coalesce(v.revision, r.oid) LIMIT 1
           ) l ON true
           WHERE v.hash = $1 AND v.expires_at > $2"#,
        hash,
        now,
        MAIN,
    );
    let Some(row) = chassis::postgres::query("select preview", query.fetch_optional(db)).await? else { return Ok(None) };
    let oid = |bytes: Option<Vec<u8>>| bytes.map_or(Ok(None), |bytes| oid_or_none(&bytes));
    Ok(Some(Opened {
        project: ProjectId(row.project_id),
        store: StoreId(row.store_id),
        revision: oid(row.revision)?,
        read: oid(row.oid)?.zip(oid(row.tree)?),
        touched_at: row.touched_at,
    }))
}

/// Moves a capability's end on.
pub async fn touch(db: impl PgExecutor<'_>, hash: &[u8], now: OffsetDateTime, expires_at: OffsetDateTime) -> Result<(), Failure> {
    let query = sqlx::query!("UPDATE previews SET touched_at = $2, expires_at = $3 WHERE hash = $1", hash, now, expires_at);
    chassis::postgres::query("update preview", query.execute(db)).await?;
    Ok(())
}
