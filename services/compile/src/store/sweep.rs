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
                 + (select coalesce(sum(octet_length(body)), 0) from bundles) + (select coalesce(sum(octet_length(body)), 0) from outlines)
                  )::bigint as "size!""#
    );
    query("select sizes", select.fetch_one(db)).await
}

/// A function that deletes the rows of a table, at most so many, whose last use is before a time. Returns their number.
macro_rules! delete_unused {
    ($table:ident, $name:literal, $key:literal) => {
        pub(crate) async fn $table(db: impl PgExecutor<'_>, before: OffsetDateTime, limit: i64) -> Result<u64, StoreError> {
            let delete = sqlx::query!(
                "delete from "
                    + $name
                    + " where "
                    + $key
                    + " in (select "
                    + $key
                    + " from "
                    + $name
                    + " where used_at < $1 order by used_at limit $2 for update skip locked)",
                before,
                limit,
            );
            Ok(query("delete unused rows", delete.execute(db)).await?.rows_affected())
        }
    };
}

delete_unused!(pages, "pages", "key");
delete_unused!(contents, "contents", "blob_id");
delete_unused!(facts, "facts", "key");
delete_unused!(outputs, "outputs", "name");
delete_unused!(resolutions, "resolutions", "key");
delete_unused!(tarballs, "tarballs", "integrity");
delete_unused!(bundles, "bundles", "key");
delete_unused!(outlines, "outlines", "key");
