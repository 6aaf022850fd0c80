//! Stores without a project and without a template: the contents of an import into a new project, and what unpublished templates leave.

use std::time::Duration;

use chassis::fault_time;
use sqlx::PgExecutor;

use super::{Connection, StoreError};
use crate::model::project::StoreId;

/// Rows that one statement deletes at most.
const MAX_ROWS: i64 = 2000;
/// How long a store may be without a lease before a sweep deletes it: an import takes its lease just after it has made its store.
const GRACE: Duration = Duration::from_secs(600);

/// Inserts a store without a project.
pub(crate) async fn insert_store(db: impl PgExecutor<'_>, store: StoreId) -> Result<(), StoreError> {
    let query = sqlx::query!("INSERT INTO stores (id, unused_since) VALUES ($1, clock_timestamp())", store.0);
    chassis::postgres::query("insert store", query.execute(db)).await?;
    Ok(())
}

/// Leaves the store of a template that is deleted in the same transaction.
pub(crate) async fn leave_store(db: &mut Connection, store: StoreId) -> Result<(), StoreError> {
    let query = sqlx::query!("UPDATE stores SET unused_since = clock_timestamp() WHERE id = $1", store.0);
    chassis::postgres::query("leave store", query.execute(&mut *db)).await?;
    Ok(())
}

/// The store that is unused longest, if there is one that nobody writes to.
pub(crate) async fn find_unused_store(db: impl PgExecutor<'_>) -> Result<Option<StoreId>, StoreError> {
    let query = sqlx::query_scalar!(
        "SELECT s.id FROM stores s
         WHERE s.unused_since < clock_timestamp() - make_interval(secs => $1)
           AND NOT EXISTS (SELECT 1 FROM pending_writes w WHERE w.store_id = s.id)
         ORDER BY s.unused_since LIMIT 1",
        fault_time::shortened("unused-store-grace", GRACE).as_secs_f64(),
    );
    Ok(chassis::postgres::query("select unused store", query.fetch_optional(db)).await?.map(StoreId))
}

/// Deletes a part of what a store without a lease has, and at last the store. Returns whether there may be more. An expired lease counts
/// as well, because its renewal may be on the way. A lease that is gone does not come back, so no project can be made of a store that has
/// lost a part.
pub(crate) async fn delete_part_of_unused_store(db: impl PgExecutor<'_>, store: StoreId) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"WITH s AS (
               SELECT id FROM stores
               WHERE id = $1 AND unused_since IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM pending_writes w WHERE w.store_id = $1)
               FOR UPDATE
           ), c AS (
               DELETE FROM chunks WHERE ctid = ANY(ARRAY(
                   SELECT k.ctid FROM chunks k JOIN s ON s.id = k.store_id LIMIT $2))
               RETURNING 1
           ), o AS (
               DELETE FROM objects WHERE ctid = ANY(ARRAY(
                   SELECT j.ctid FROM objects j JOIN s ON s.id = j.store_id
                   WHERE NOT EXISTS (SELECT 1 FROM chunks k WHERE k.store_id = $1) LIMIT $2))
               RETURNING 1
           ), d AS (
               DELETE FROM stores WHERE id = (SELECT id FROM s)
                 AND NOT EXISTS (SELECT 1 FROM chunks k WHERE k.store_id = $1)
                 AND NOT EXISTS (SELECT 1 FROM objects j WHERE j.store_id = $1)
           )
           SELECT EXISTS (SELECT 1 FROM c) OR EXISTS (SELECT 1 FROM o) AS "more!""#,
        store.0,
        MAX_ROWS,
    );
    chassis::postgres::query("delete unused store", query.fetch_one(db)).await
}
