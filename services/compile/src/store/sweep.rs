//! Deletes rows by their last use. A row that another transaction uses now is skipped.

use chassis::postgres::query;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;

/// The bytes of all rows.
pub(crate) async fn size(db: impl PgExecutor<'_>) -> Result<i64, StoreError> {
    let select = sqlx::query_scalar!(
        r#"select ((select coalesce(sum(octet_length(body)), 0) from contents) + (select coalesce(sum(octet_length(body)), 0) from facts)
                 + (select coalesce(sum(octet_length(body)), 0) from outputs) + (select coalesce(sum(octet_length(body)), 0) from pages)
                 + (select coalesce(sum(octet_length(body)), 0) from resolutions) + (select coalesce(sum(octet_length(body)), 0) from tarballs)
                 + (select coalesce(sum(octet_length(body)), 0) from bundles)
                  )::bigint as "size!""#
    );
    query("select sizes", select.fetch_one(db)).await
}

pub(crate) async fn pages(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from pages where key in (select key from pages where used_at < $1 order by used_at limit $2 for update skip locked)",
        before,
        limit,
    );
    Ok(query("delete pages", delete.execute(db)).await?.rows_affected())
}

pub(crate) async fn contents(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from contents where blob_id in
           (select blob_id from contents where used_at < $1 order by used_at limit $2 for update skip locked)",
        before,
        limit,
    );
    Ok(query("delete contents", delete.execute(db)).await?.rows_affected())
}

pub(crate) async fn facts(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from facts where key in (select key from facts where used_at < $1 order by used_at limit $2 for update skip locked)",
        before,
        limit,
    );
    Ok(query("delete facts", delete.execute(db)).await?.rows_affected())
}

pub(crate) async fn outputs(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from outputs where name in (select name from outputs where used_at < $1 order by used_at limit $2 for update skip locked)",
        before,
        limit,
    );
    Ok(query("delete outputs", delete.execute(db)).await?.rows_affected())
}

pub(crate) async fn resolutions(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from resolutions where key in
           (select key from resolutions where used_at < $1 order by used_at limit $2 for update skip locked)",
        before,
        limit,
    );
    Ok(query("delete resolutions", delete.execute(db)).await?.rows_affected())
}

pub(crate) async fn tarballs(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from tarballs where integrity in
           (select integrity from tarballs where used_at < $1 order by used_at limit $2 for update skip locked)",
        before,
        limit,
    );
    Ok(query("delete tarballs", delete.execute(db)).await?.rows_affected())
}

pub(crate) async fn bundles(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from bundles where key in
           (select key from bundles where used_at < $1 order by used_at limit $2 for update skip locked)",
        before,
        limit,
    );
    Ok(query("delete bundles", delete.execute(db)).await?.rows_affected())
}
