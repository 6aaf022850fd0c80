//! Outlines of files.

use chassis::postgres::query;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;

/// Those of the outlines that are kept, with their keys. A use is recorded if the last one is before `old`.
pub(crate) async fn get(
    db: impl PgExecutor<'_>,
    keys: &[Vec<u8>],
    now: OffsetDateTime,
    old: OffsetDateTime,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let select = sqlx::query!(
        "with touched as (update outlines set used_at = $2 where key in
           (select key from outlines where key = any($1) and used_at < $3 order by key for update))
         select key, body from outlines where key = any($1)",
        keys,
        now,
        old,
    );
    let rows = query("select outlines", select.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.body)).collect())
}

/// Keeps outlines. In the order of the keys, so that two calls do not wait for each other in a circle.
pub(crate) async fn put(db: impl PgExecutor<'_>, keys: &[Vec<u8>], bodies: &[Vec<u8>], now: OffsetDateTime) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into outlines (key, body, used_at) select key, body, $3 from unnest($1::bytea[], $2::bytea[]) as new (key, body)
         order by key on conflict (key) do nothing",
        keys,
        bodies,
        now,
    );
    query("insert outlines", insert.execute(db)).await?;
    Ok(())
}
