//! Stores whose project does not exist yet: the contents of an import into a new project.

use sqlx::PgExecutor;

use super::StoreError;
use crate::model::project::StoreId;

/// Inserts a store without a project.
pub(crate) async fn insert_store(db: impl PgExecutor<'_>, store: StoreId) -> Result<(), StoreError> {
    let query = sqlx::query!("INSERT INTO stores (id) VALUES ($1)", store.0);
    chassis::postgres::query("insert store", query.execute(db)).await?;
    Ok(())
}

/// Deletes a store with everything in it, unless a project uses it.
pub(crate) async fn delete_unused_store(db: impl PgExecutor<'_>, store: StoreId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "WITH s AS (
             DELETE FROM stores s WHERE s.id = $1 AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.store_id = s.id) RETURNING s.id
         ), c AS (DELETE FROM chunks USING s WHERE chunks.store_id = s.id)
         DELETE FROM objects USING s WHERE objects.store_id = s.id",
        store.0,
    );
    chassis::postgres::query("delete unused store", query.execute(db)).await?;
    Ok(())
}

/// Deletes stores without a project whose leases have expired, because their process died. Returns how many there were.
pub(crate) async fn sweep_unused_stores(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query_scalar!(
        r#"WITH s AS (
               DELETE FROM stores WHERE id IN (
                   SELECT s.id FROM stores s WHERE s.id IN (SELECT w.store_id FROM pending_writes w WHERE w.expires_at < clock_timestamp())
                     AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.store_id = s.id)
                     AND NOT EXISTS (SELECT 1 FROM pending_writes w WHERE w.store_id = s.id AND w.expires_at >= clock_timestamp())
                   LIMIT 10 FOR UPDATE SKIP LOCKED)
               RETURNING id
           ), c AS (DELETE FROM chunks USING s WHERE chunks.store_id = s.id),
           o AS (DELETE FROM objects USING s WHERE objects.store_id = s.id)
           SELECT count(*) AS "count!" FROM s"#,
    );
    let count = chassis::postgres::query("sweep unused stores", query.fetch_one(db)).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}
