//! The log of ended sessions.

use chassis::postgres::query;
use proto::id::SessionId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{StoreError, Tx};

/// The advisory lock that makes rows commit in the order of their cursors.
const LOCK: i64 = 0x6175_7468_7265_766f;

/// An ended session and its position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) cursor: i64,
    pub(crate) session_id: SessionId,
}

/// Appends to the log. It must be the last statement before the commit, because every other sign-out of the cluster waits from here on.
pub(crate) async fn append(tx: &mut Tx, session_id: SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
    query("lock revocations", sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).execute(&mut **tx)).await?;
    let insert = sqlx::query!("insert into revocations (session_id, created_at) values ($1, $2)", session_id.0, now);
    query("insert revocations", insert.execute(&mut **tx)).await?;
    Ok(())
}

/// The cursor of the last revocation, or 0 if there is none.
pub(crate) async fn head(db: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    let select = sqlx::query_scalar!(r#"select coalesce(max(cursor), 0) as "head!" from revocations"#);
    query("select revocations", select.fetch_one(db)).await
}

pub(crate) async fn after(db: impl PgExecutor<'_>, cursor: i64, limit: i64) -> Result<Vec<Revocation>, StoreError> {
    let select = sqlx::query!("select cursor, session_id from revocations where cursor > $1 order by cursor limit $2", cursor, limit);
    let rows = query("select revocations", select.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| Revocation { cursor: row.cursor, session_id: SessionId(row.session_id) }).collect())
}

pub(crate) async fn delete_before(db: impl PgExecutor<'_>, moment: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!("delete from revocations where created_at < $1", moment);
    Ok(query("delete revocations", delete.execute(db)).await?.rows_affected())
}
