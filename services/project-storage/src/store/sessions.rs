//! The ended sessions, as far as auth's log of them was read.

use proto::id::SessionId;
use sqlx::PgExecutor;

use super::StoreError;

/// The cursor up to which auth's log of ended sessions was read; 0 if it was never read.
pub(crate) async fn last_cursor(db: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar!(r#"SELECT coalesce(max(cursor), 0) AS "cursor!" FROM ended_sessions"#);
    chassis::postgres::query("select ended sessions", query.fetch_one(db)).await
}

/// Deletes entries after the end of auth's log. They are of another log, because auth has another database now.
pub(crate) async fn delete_after(db: impl PgExecutor<'_>, end: i64) -> Result<(), StoreError> {
    let query = sqlx::query!("DELETE FROM ended_sessions WHERE cursor > $1", end);
    chassis::postgres::query("forget ended sessions", query.execute(db)).await?;
    Ok(())
}

/// Stores the cursor up to which the log was read and the session that ended there, and deletes the session's capabilities.
pub(crate) async fn end(db: impl PgExecutor<'_>, cursor: i64, session: Option<SessionId>) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "WITH e AS (INSERT INTO ended_sessions (cursor, session_id) VALUES ($1, $2) ON CONFLICT DO NOTHING)
         DELETE FROM previews WHERE session_id = $2",
        cursor,
        session.map(|session| session.0),
    );
    chassis::postgres::query("end session", query.execute(db)).await?;
    Ok(())
}
