//! Objects that are written before the revision that uses them, under a lease; and the chunks of large files.

use std::time::Duration;

use chassis::fault_time;
use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Connection, StoreError, saves::stored_bytes};
use crate::{
    git::{Object, Oid},
    model::project::StoreId,
};

/// How long a lease is valid after its last renewal: longer than the stream of an upload may take.
const LEASE: Duration = Duration::from_secs(240);

fn lease_seconds() -> f64 {
    fault_time::shortened("write-lease", LEASE).as_secs_f64()
}

/// A lease, and the quota of the account that its objects count for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) id: Uuid,
    pub(crate) store: StoreId,
    pub(crate) project: ProjectId,
    /// Whose account counts what is written. The project may not exist yet.
    pub(crate) owner: UserId,
    /// The bytes that the owner's projects may store together.
    pub(crate) max_bytes: i64,
}

/// Begins a lease. What is written under it counts for the owner of the project, also in the store of another account. Returns `false` if the
/// store does not exist any more.
pub(crate) async fn begin(db: &mut Connection, lease: &Lease) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "INSERT INTO pending_writes (id, store_id, expires_at, owner_id)
         SELECT $1, s.id, clock_timestamp() + make_interval(secs => $3), CASE WHEN s.owner_id <> p.owner_id THEN p.owner_id END
         FROM stores s LEFT JOIN projects p ON p.id = $4 WHERE s.id = $2",
        lease.id,
        lease.store.0,
        lease_seconds(),
        lease.project.0,
    );
    Ok(chassis::postgres::query("insert pending write", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// Whether a lease is valid.
pub(crate) async fn is_valid(db: impl PgExecutor<'_>, id: Uuid) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM pending_writes WHERE id = $1 AND expires_at > clock_timestamp()) AS "valid!""#,
        id,
    );
    chassis::postgres::query("select pending write", query.fetch_one(db)).await
}

/// Renews a lease. Returns `false` if it has ended.
pub(crate) async fn renew(db: impl PgExecutor<'_>, lease: &Lease) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "UPDATE pending_writes SET expires_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1 AND expires_at > clock_timestamp()",
        lease.id,
        lease_seconds(),
    );
    Ok(chassis::postgres::query("renew pending write", query.execute(db)).await?.rows_affected() == 1)
}

/// Writes objects, sorted by id, and renews the lease. Returns `false` if nothing was written: the lease has ended, or the account is full.
pub(crate) async fn write(db: &mut Connection, lease: &Lease, objects: &[Object]) -> Result<bool, StoreError> {
    let oids: Vec<&[u8]> = objects.iter().map(|object| object.oid.as_bytes()).collect();
    let tags: Vec<i16> = objects.iter().map(|object| object.tag).collect();
    let sizes: Vec<i32> = objects.iter().map(|object| object.size).collect();
    let data: Vec<&[u8]> = objects.iter().map(|object| &*object.data).collect();
    let query = sqlx::query_scalar!(
        r#"WITH w AS (
               SELECT id, store_id, owner_id FROM pending_writes
               WHERE id = $1 AND store_id = $2 AND expires_at > clock_timestamp()
                 AND $5::bigint + account_bytes($3)
                     + coalesce((SELECT s.bytes FROM stores s WHERE s.id = $2 AND s.unused_since IS NOT NULL), 0) <= $6
               FOR UPDATE
           ), o AS (
               INSERT INTO objects (store_id, oid, tag, size, data)
               SELECT $2, u.oid, u.tag, u.size, u.data
               FROM unnest($7::bytea[], $8::smallint[], $9::integer[], $10::bytea[]) AS u (oid, tag, size, data)
               WHERE EXISTS (SELECT 1 FROM w)
               ON CONFLICT DO NOTHING
               RETURNING octet_length(data) AS bytes
           ), n AS (SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM o),
           h AS (
               INSERT INTO store_shares (store_id, owner_id, bytes)
               SELECT w.store_id, w.owner_id, n.bytes FROM w, n WHERE w.owner_id IS NOT NULL AND n.bytes > 0
               ON CONFLICT (store_id, owner_id) DO UPDATE SET bytes = store_shares.bytes + excluded.bytes
           ), u AS (
               UPDATE pending_writes p
               SET expires_at = clock_timestamp() + make_interval(secs => $4), bytes = p.bytes + n.bytes
               FROM w, n WHERE p.id = w.id
           )
           SELECT EXISTS (SELECT 1 FROM w) AS "written!""#,
        lease.id,
        lease.store.0,
        lease.owner.0,
        lease_seconds(),
        stored_bytes(objects),
        lease.max_bytes,
        oids.as_slice() as _,
        &tags,
        &sizes,
        data.as_slice() as _,
    );
    chassis::postgres::query("insert pending objects", query.fetch_one(&mut *db)).await
}

/// Writes a chunk of a blob, and renews the lease. Returns `false` as [`write`] does.
pub(crate) async fn write_chunk(db: &mut Connection, lease: &Lease, blob: Uuid, n: i32, data: &[u8]) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"WITH w AS (
               SELECT id, store_id, owner_id FROM pending_writes
               WHERE id = $1 AND store_id = $2 AND expires_at > clock_timestamp()
                 AND $5::bigint + account_bytes($3)
                     + coalesce((SELECT s.bytes FROM stores s WHERE s.id = $2 AND s.unused_since IS NOT NULL), 0) <= $6
               FOR UPDATE
           ), o AS (
               INSERT INTO chunks (store_id, id, n, data) SELECT $2, $7, $8, $9 WHERE EXISTS (SELECT 1 FROM w)
               RETURNING octet_length(data) AS bytes
           ), n AS (SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM o),
           h AS (
               INSERT INTO store_shares (store_id, owner_id, bytes)
               SELECT w.store_id, w.owner_id, n.bytes FROM w, n WHERE w.owner_id IS NOT NULL AND n.bytes > 0
               ON CONFLICT (store_id, owner_id) DO UPDATE SET bytes = store_shares.bytes + excluded.bytes
           ), u AS (
               UPDATE pending_writes p
               SET expires_at = clock_timestamp() + make_interval(secs => $4), bytes = p.bytes + n.bytes, blob = $7
               FROM w, n WHERE p.id = w.id
           )
           SELECT EXISTS (SELECT 1 FROM w) AS "written!""#,
        lease.id,
        lease.store.0,
        lease.owner.0,
        lease_seconds(),
        i64::try_from(data.len()).unwrap_or(i64::MAX),
        lease.max_bytes,
        blob,
        n,
        data,
    );
    chassis::postgres::query("insert chunk", query.fetch_one(&mut *db)).await
}

/// Writes the object of a blob whose chunks are complete, and renews the lease. Returns `false` if the lease has ended, or if the store
/// has the object already.
pub(crate) async fn finish_chunks(db: &mut Connection, lease: &Lease, object: &Object) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "WITH o AS (
             INSERT INTO objects (store_id, oid, tag, size, data)
             SELECT p.store_id, $3, $4, $5, $6 FROM (
                 SELECT store_id FROM pending_writes WHERE id = $1 AND store_id = $2 AND expires_at > clock_timestamp() FOR UPDATE
             ) p
             ON CONFLICT DO NOTHING
             RETURNING store_id
         )
         UPDATE pending_writes SET blob = NULL, expires_at = clock_timestamp() + make_interval(secs => $7) FROM o WHERE id = $1",
        lease.id,
        lease.store.0,
        object.oid.as_bytes(),
        object.tag,
        object.size,
        &*object.data,
        lease_seconds(),
    );
    Ok(chassis::postgres::query("insert chunked object", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// Deletes the chunks of a blob that the store has already, or that will not be finished. Returns `false` if the lease has ended.
pub(crate) async fn drop_chunks(db: &mut Connection, lease: &Lease, blob: Uuid) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "WITH w AS (
             SELECT id, owner_id FROM pending_writes WHERE id = $1 AND store_id = $2 AND expires_at > clock_timestamp() FOR UPDATE
         ), c AS (
             DELETE FROM chunks USING w WHERE chunks.store_id = $2 AND chunks.id = $3 RETURNING octet_length(chunks.data) AS bytes
         ), n AS (SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM c),
         h AS (
             UPDATE store_shares s SET bytes = s.bytes - n.bytes FROM w, n WHERE s.store_id = $2 AND s.owner_id = w.owner_id
         ), u AS (
             UPDATE pending_writes p SET blob = NULL, bytes = p.bytes - n.bytes FROM w, n WHERE p.id = w.id
         )
         SELECT id FROM w",
        lease.id,
        lease.store.0,
        blob,
    );
    Ok(chassis::postgres::query("delete chunks of blob", query.fetch_optional(&mut *db)).await?.is_some())
}

/// Ends a lease in the transaction that makes its objects reachable. Returns `false` if it was lost before.
pub(crate) async fn take(db: &mut Connection, lease: Uuid) -> Result<bool, StoreError> {
    let query = sqlx::query!("DELETE FROM pending_writes WHERE id = $1 AND expires_at > clock_timestamp()", lease);
    Ok(chassis::postgres::query("take pending write", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// Ends a lease without a revision: deletes the chunks of the blob that was not finished, and asks for a sweep of the store.
pub(crate) async fn end(db: impl PgExecutor<'_>, id: Uuid) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "WITH w AS (DELETE FROM pending_writes WHERE id = $1 RETURNING store_id, blob, owner_id, bytes),
         c AS (
             DELETE FROM chunks c USING w WHERE c.store_id = w.store_id AND c.id = w.blob RETURNING octet_length(c.data) AS bytes
         ), n AS (SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM c),
         h AS (
             UPDATE store_shares s SET bytes = s.bytes - n.bytes, unused = s.unused + w.bytes - n.bytes
             FROM w, n WHERE s.store_id = w.store_id AND s.owner_id = w.owner_id
         )
         INSERT INTO sweep_requests (store_id) SELECT store_id FROM w",
        id,
    );
    chassis::postgres::query("delete pending write", query.execute(db)).await?;
    Ok(())
}

/// Some chunks of a blob, from one number on, in order.
pub(crate) async fn chunks(db: impl PgExecutor<'_>, store: StoreId, blob: Uuid, from: i32, limit: i64) -> Result<Vec<Vec<u8>>, StoreError> {
    let query = sqlx::query_scalar!(
        "SELECT data FROM chunks WHERE store_id = $1 AND id = $2 AND n >= $3 ORDER BY n LIMIT $4",
        store.0,
        blob,
        from,
        limit,
    );
    chassis::postgres::query("select chunks", query.fetch_all(db)).await
}

/// The size of a blob and the id of its chunks, if it has chunks. `None` if the store does not have it.
pub(crate) async fn chunked(db: impl PgExecutor<'_>, store: StoreId, oid: Oid) -> Result<Option<(i16, Vec<u8>)>, StoreError> {
    let query = sqlx::query!("SELECT tag, data FROM objects WHERE store_id = $1 AND oid = $2", store.0, oid.as_bytes());
    let row = chassis::postgres::query("select object", query.fetch_optional(db)).await?;
    Ok(row.map(|row| (row.tag, row.data)))
}
