//! Resolutions, tarballs and bundles of packages. A read records the use if the last one is before `old`.

use chassis::postgres::query;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;

pub(crate) async fn resolution(
    db: impl PgExecutor<'_>,
    key: &[u8],
    now: OffsetDateTime,
    old: OffsetDateTime,
) -> Result<Option<Vec<u8>>, StoreError> {
    let select = sqlx::query_scalar!(
        "with touched as (update resolutions set used_at = $2 where key = $1 and used_at < $3) select body from resolutions where key = $1",
        key,
        now,
        old,
    );
    query("select resolutions", select.fetch_optional(db)).await
}

/// Keeps a resolution. Of two that are made at once, the first one stays, and is returned.
pub(crate) async fn put_resolution(db: impl PgExecutor<'_>, key: &[u8], body: &[u8], now: OffsetDateTime) -> Result<Vec<u8>, StoreError> {
    let insert = sqlx::query_scalar!(
        "insert into resolutions (key, body, used_at) values ($1, $2, $3) on conflict (key) do update set used_at = excluded.used_at
         returning body",
        key,
        body,
        now,
    );
    query("insert resolutions", insert.fetch_one(db)).await
}

pub(crate) async fn tarball(
    db: impl PgExecutor<'_>,
    integrity: &str,
    now: OffsetDateTime,
    old: OffsetDateTime,
) -> Result<Option<Vec<u8>>, StoreError> {
    let select = sqlx::query_scalar!(
        "with touched as (update tarballs set used_at = $2 where integrity = $1 and used_at < $3)
         select body from tarballs where integrity = $1",
        integrity,
        now,
        old,
    );
    query("select tarballs", select.fetch_optional(db)).await
}

pub(crate) async fn put_tarball(db: impl PgExecutor<'_>, integrity: &str, body: &[u8], now: OffsetDateTime) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into tarballs (integrity, body, used_at) values ($1, $2, $3) on conflict (integrity) do nothing",
        integrity,
        body,
        now,
    );
    query("insert tarballs", insert.execute(db)).await?;
    Ok(())
}

/// A bundle whose outputs are kept.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) body: Vec<u8>,
    pub(crate) outputs: Vec<String>,
}

pub(crate) async fn bundle(
    db: impl PgExecutor<'_>,
    key: &[u8],
    now: OffsetDateTime,
    old: OffsetDateTime,
) -> Result<Option<Bundle>, StoreError> {
    let select = sqlx::query_as!(
        Bundle,
        "with touched as (update bundles set used_at = $2 where key = $1 and used_at < $3)
         select body, outputs from bundles where key = $1
           and not exists (select from unnest(outputs) as wanted (output) where not exists (select from outputs o where o.name = wanted.output))",
        key,
        now,
        old,
    );
    query("select bundles", select.fetch_optional(db)).await
}

pub(crate) async fn put_bundle(db: impl PgExecutor<'_>, key: &[u8], bundle: &Bundle, now: OffsetDateTime) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into bundles (key, body, outputs, used_at) values ($1, $2, $3, $4) on conflict (key) do nothing",
        key,
        &bundle.body,
        &bundle.outputs,
        now,
    );
    query("insert bundles", insert.execute(db)).await?;
    Ok(())
}
