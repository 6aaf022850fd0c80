//! Deleting expired rows. Each statement deletes a bounded number of rows, so that it never holds many locks, and returns that number.

use sqlx::PgExecutor;

use super::StoreError;
use crate::model::turn::TurnState;

/// Rows that one statement deletes at most.
const MAX_ROWS: i64 = 1000;

/// Deletes idempotency keys that are older than seven days.
pub(crate) async fn save_requests(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM save_requests WHERE (user_id, request_id) IN (
             SELECT user_id, request_id FROM save_requests WHERE created_at < now() - interval '7 days' LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep save requests", query.execute(db)).await?.rows_affected())
}

/// Deletes idempotency keys of publications whose templates were unpublished more than seven days ago.
pub(crate) async fn unpublished_requests(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM unpublished_requests WHERE (publisher_id, request_id) IN (
             SELECT publisher_id, request_id FROM unpublished_requests WHERE unpublished_at < now() - interval '7 days'
             LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep unpublished requests", query.execute(db)).await?.rows_affected())
}

/// Deletes idempotency keys of publications of sites that are older than seven days.
pub(crate) async fn publish_requests(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM publish_requests WHERE (user_id, request_id) IN (
             SELECT user_id, request_id FROM publish_requests WHERE created_at < now() - interval '7 days' LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep publish requests", query.execute(db)).await?.rows_affected())
}

/// Deletes expired previews.
pub(crate) async fn previews(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM previews WHERE hash IN (
             SELECT hash FROM previews WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep previews", query.execute(db)).await?.rows_affected())
}

/// Deletes sessions that ended more than a day ago, with previews that were created at the moment of their end. The last session stays,
/// because its cursor is the position in auth's log.
pub(crate) async fn ended_sessions(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "WITH old AS (
             DELETE FROM ended_sessions WHERE cursor IN (
                 SELECT cursor FROM ended_sessions
                 WHERE ended_at < now() - interval '1 day' AND cursor < (SELECT max(cursor) FROM ended_sessions)
                 LIMIT $1 FOR UPDATE SKIP LOCKED)
             RETURNING session_id
         ), p AS (DELETE FROM previews v USING old WHERE v.session_id = old.session_id)
         SELECT session_id FROM old",
        MAX_ROWS,
    );
    let rows = chassis::postgres::query("sweep ended sessions", query.fetch_all(db)).await?;
    Ok(u64::try_from(rows.len()).unwrap_or(0))
}

/// Deletes conflicts that nobody has resolved in time. Resolved ones stay, so that a repeat of the resolution is known.
pub(crate) async fn conflicts(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM conflicts WHERE id IN (
             SELECT id FROM conflicts WHERE resolution IS NULL AND expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep conflicts", query.execute(db)).await?.rows_affected())
}

/// Deletes expired branches of conflicts. A trigger asks for a sweep of their stores.
pub(crate) async fn branches(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM refs WHERE (project_id, name) IN (
             SELECT project_id, name FROM refs WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep branches", query.execute(db)).await?.rows_affected())
}

/// Deletes expired leases of objects that were written before a revision, with the chunks of blobs that were not finished, and asks for
/// sweeps of their stores.
pub(crate) async fn pending_writes(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "WITH w AS (
             DELETE FROM pending_writes WHERE id IN (
                 SELECT id FROM pending_writes WHERE expires_at < clock_timestamp() ORDER BY store_id LIMIT $1 FOR UPDATE SKIP LOCKED)
             RETURNING id, store_id, blob, owner_id, bytes
         ), c AS (
             DELETE FROM chunks USING w WHERE chunks.store_id = w.store_id AND chunks.id = w.blob
             RETURNING w.id, octet_length(chunks.data) AS bytes
         ), n AS (
             SELECT w.store_id, w.owner_id, coalesce(sum(w.bytes), 0) AS written,
                    coalesce(sum((SELECT sum(c.bytes) FROM c WHERE c.id = w.id)), 0) AS deleted
             FROM w WHERE w.owner_id IS NOT NULL GROUP BY w.store_id, w.owner_id
         ), h AS (
             UPDATE store_shares s SET bytes = s.bytes - n.deleted, unused = s.unused + n.written - n.deleted
             FROM n WHERE s.store_id = n.store_id AND s.owner_id = n.owner_id
         ), q AS (INSERT INTO sweep_requests (store_id) SELECT DISTINCT store_id FROM w)
         SELECT id FROM w",
        MAX_ROWS,
    );
    let rows = chassis::postgres::query("sweep pending writes", query.fetch_all(db)).await?;
    Ok(u64::try_from(rows.len()).unwrap_or(0))
}

/// Deletes entries of the log of deletions that every service acknowledged more than seven days ago.
pub(crate) async fn deletions(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM deletions WHERE id IN (
             SELECT id FROM deletions WHERE done_at < now() - interval '7 days' LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep deletions", query.execute(db)).await?.rows_affected())
}

/// Deletes old texts of edited messages that no open turn may read again.
pub(crate) async fn message_versions(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM message_versions WHERE (project_id, message_id, replaced_at) IN (
             SELECT v.project_id, v.message_id, v.replaced_at FROM message_versions v
             WHERE NOT EXISTS (SELECT 1 FROM turns t WHERE t.project_id = v.project_id AND t.state = $2 AND t.created_at < v.replaced_at)
             LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
        TurnState::Open as i16,
    );
    Ok(chassis::postgres::query("sweep message versions", query.execute(db)).await?.rows_affected())
}
