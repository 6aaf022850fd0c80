//! Contents of files.

use chassis::postgres::query;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;

/// Those of the contents that are kept.
pub(crate) async fn get(db: impl PgExecutor<'_>, ids: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let select = sqlx::query!("select blob_id, body from contents where blob_id = any($1)", ids);
    let rows = query("select contents", select.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| (row.blob_id, row.body)).collect())
}

/// Keeps contents. In the order of the ids, so that two builds do not wait for each other in a circle.
pub(crate) async fn put(db: impl PgExecutor<'_>, ids: &[String], bodies: &[Vec<u8>], now: OffsetDateTime) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into contents (blob_id, body, used_at) select id, body, $3 from unnest($1::text[], $2::bytea[]) as new (id, body)
         order by id on conflict (blob_id) do nothing",
        ids,
        bodies,
        now,
    );
    query("insert contents", insert.execute(db)).await?;
    Ok(())
}

/// Records the use of contents whose last use is before `old`.
pub(crate) async fn touch(db: impl PgExecutor<'_>, ids: &[String], now: OffsetDateTime, old: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "update contents set used_at = $2 where blob_id in
           (select blob_id from contents where blob_id = any($1) and used_at < $3 order by blob_id for update)",
        ids,
        now,
        old,
    );
    query("update contents", update.execute(db)).await?;
    Ok(())
}
