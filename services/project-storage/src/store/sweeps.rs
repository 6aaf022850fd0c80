//! Removing rows whose time is over. Each sweep takes a bounded number of rows, so that it never holds many locks.

use sqlx::PgExecutor;

use super::Failure;

const ROWS: i64 = 1000;

/// Forgets request ids of saves that nobody repeats any more.
pub async fn save_requests(db: impl PgExecutor<'_>) -> Result<u64, Failure> {
    let query = sqlx::query!(
        "DELETE FROM save_requests WHERE (user_id, request_id) IN (
             SELECT user_id, request_id FROM save_requests WHERE created_at < now() - interval '7 days' LIMIT $1 FOR UPDATE SKIP LOCKED)",
        ROWS,
    );
    Ok(chassis::postgres::query("sweep save requests", query.execute(db)).await?.rows_affected())
}

/// Forgets capabilities that have ended.
pub async fn previews(db: impl PgExecutor<'_>) -> Result<u64, Failure> {
    let query = sqlx::query!(
        "DELETE FROM previews WHERE hash IN (
             SELECT hash FROM previews WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
        ROWS,
    );
    Ok(chassis::postgres::query("sweep previews", query.execute(db)).await?.rows_affected())
}

/// Forgets branches of conflicted turns that nobody resolved. Their objects stay until the store goes.
pub async fn branches(db: impl PgExecutor<'_>) -> Result<u64, Failure> {
    let query = sqlx::query!(
        "DELETE FROM refs WHERE (project_id, name) IN (
             SELECT project_id, name FROM refs WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)",
        ROWS,
    );
    Ok(chassis::postgres::query("sweep branches", query.execute(db)).await?.rows_affected())
}
