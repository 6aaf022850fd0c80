//! The log of ended and of changed sessions.

use chassis::postgres::query;
use proto::id::{SessionId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, Tx};

/// The advisory lock that makes rows commit in the order of their cursors.
const LOCK: i64 = 0x6175_7468_7265_766f;

/// An ended or changed session and its position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) cursor: i64,
    pub(crate) session_id: SessionId,
    /// Otherwise its access tokens are out of date.
    pub(crate) has_ended: bool,
}

/// Appends to the log. It must be the last statement before the commit, because every other sign-out of the cluster waits from here on.
pub(crate) async fn append(tx: &mut Tx, session_ids: &[SessionId], now: OffsetDateTime) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = session_ids.iter().map(|id| id.0).collect();
    query("lock revocations", sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).execute(&mut **tx)).await?;
    let insert = sqlx::query!(
        "insert into revocations (session_id, created_at) select id, $2::timestamptz from unnest($1::uuid[]) as e (id)",
        &ids,
        now
    );
    query("insert revocations", insert.execute(&mut **tx)).await?;
    Ok(())
}

/// Appends the sessions of an account as changed. It must be the last statement before the commit, too.
pub(crate) async fn append_changes(tx: &mut Tx, user: UserId, now: OffsetDateTime) -> Result<(), StoreError> {
    query("lock revocations", sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).execute(&mut **tx)).await?;
    let insert = sqlx::query!(
        "insert into session_changes (session_id, created_at) select id, $2::timestamptz from sessions where user_id = $1",
        user.0,
        now
    );
    query("insert session_changes", insert.execute(&mut **tx)).await?;
    Ok(())
}

/// Appends all sessions as changed. It must be the last statement before the commit, too.
pub(crate) async fn append_changes_of_all(tx: &mut Tx, now: OffsetDateTime) -> Result<(), StoreError> {
    query("lock revocations", sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).execute(&mut **tx)).await?;
    let insert = sqlx::query!("insert into session_changes (session_id, created_at) select id, $1::timestamptz from sessions", now);
    query("insert session_changes", insert.execute(&mut **tx)).await?;
    Ok(())
}

/// The cursor of the last row, or 0 if there is none.
pub(crate) async fn head(db: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    let select = sqlx::query_scalar!(
        r#"select greatest((select max(cursor) from revocations), (select max(cursor) from session_changes), 0) as "head!""#
    );
    query("select revocations", select.fetch_one(db)).await
}

/// A cursor before all rows since a moment: that of the head if there are none. The order of cursors is that of the commits, not of the
/// moments, so it is before the first such row, not after the last older one.
pub(crate) async fn before(db: impl PgExecutor<'_>, since: OffsetDateTime) -> Result<i64, StoreError> {
    let select = sqlx::query_scalar!(
        r#"select coalesce(
             least((select min(cursor) from revocations where created_at >= $1),
                   (select min(cursor) from session_changes where created_at >= $1)) - 1,
             greatest((select max(cursor) from revocations), (select max(cursor) from session_changes), 0)) as "cursor!""#,
        since
    );
    query("select revocations", select.fetch_one(db)).await
}

pub(crate) async fn after(db: impl PgExecutor<'_>, cursor: i64, limit: i64) -> Result<Vec<Revocation>, StoreError> {
    let select = sqlx::query!(
        r#"select cursor as "cursor!", session_id as "session_id!", has_ended as "has_ended!" from (
             select cursor, session_id, true as has_ended from revocations where cursor > $1
             union all select cursor, session_id, false from session_changes where cursor > $1) rows
           order by cursor limit $2"#,
        cursor,
        limit,
    );
    let rows = query("select revocations", select.fetch_all(db)).await?;
    let revocation = |cursor, id, has_ended| Revocation { cursor, session_id: SessionId(id), has_ended };
    Ok(rows.into_iter().map(|row| revocation(row.cursor, row.session_id, row.has_ended)).collect())
}

pub(crate) async fn delete_before(db: impl PgExecutor<'_>, moment: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "with changes as (delete from session_changes where created_at < $1) delete from revocations where created_at < $1",
        moment
    );
    Ok(query("delete revocations", delete.execute(db)).await?.rows_affected())
}
