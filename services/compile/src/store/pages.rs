//! Answers of whole builds.

use chassis::postgres::query;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;

/// A kept answer.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) body: Vec<u8>,
    pub(crate) outputs: Vec<String>,
    pub(crate) used_at: OffsetDateTime,
}

pub(crate) async fn get(db: impl PgExecutor<'_>, key: &[u8]) -> Result<Option<Row>, StoreError> {
    let select = sqlx::query_as!(Row, "select body, outputs, used_at from pages where key = $1", key);
    query("select pages", select.fetch_optional(db)).await
}

/// Keeps an answer. The same key has the same answer.
pub(crate) async fn put(
    db: impl PgExecutor<'_>,
    key: &[u8],
    body: &[u8],
    outputs: &[String],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into pages (key, body, outputs, used_at) values ($1, $2, $3, $4) on conflict (key) do nothing",
        key,
        body,
        outputs,
        now,
    );
    query("insert pages", insert.execute(db)).await?;
    Ok(())
}

pub(crate) async fn touch(db: impl PgExecutor<'_>, key: &[u8], now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!("update pages set used_at = $2 where key = $1 and used_at < $2", key, now);
    query("update pages", update.execute(db)).await?;
    Ok(())
}
