//! Removing rows whose time is over. Each sweep takes a bounded number of rows, so that it never holds many locks.

use sqlx::PgExecutor;

use super::StoreError;

const MAX_ROWS: i64 = 1000;

/// Forgets request ids of saves that nobody repeats any more.
pub(crate) async fn save_requests(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM save_requests WHERE (user_id, request_id) IN (
             SELECT user_id, request_id FROM save_requests WHERE created_at < now() - interval '7 days' LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep save requests", query.execute(db)).await?.rows_affected())
}

/// Forgets capabilities that have ended.
pub(crate) async fn previews(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM previews WHERE hash IN (
             SELECT hash FROM previews WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep previews", query.execute(db)).await?.rows_affected())
}

/// Forgets sessions that ended long ago, with what was made for them at that very moment. The last one stays.
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

/// Forgets branches of conflicted turns that nobody resolved. Their objects stay until the store goes.
pub(crate) async fn branches(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM refs WHERE (project_id, name) IN (
             SELECT project_id, name FROM refs WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
        MAX_ROWS,
    );
    Ok(chassis::postgres::query("sweep branches", query.execute(db)).await?.rows_affected())
}
