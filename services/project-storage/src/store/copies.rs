//! Copies of objects between stores. The contents do not leave the database.

use super::{Connection, StoreError};
use crate::{
    git::{Object, Oid},
    model::project::StoreId,
};

/// Copies objects that the target does not have, large ones with their chunks. Returns how many of the ids the target has then. Nobody
/// else may write to the target.
pub(crate) async fn copy(db: &mut Connection, from: StoreId, to: StoreId, oids: &[Oid]) -> Result<usize, StoreError> {
    let ids: Vec<&[u8]> = oids.iter().map(Oid::as_bytes).collect();
    let query = sqlx::query_scalar!(
        r#"WITH c AS (
               INSERT INTO objects (store_id, oid, tag, size, data)
               SELECT $2, oid, tag, size, data FROM objects WHERE store_id = $1 AND oid = ANY($3) ORDER BY oid
               ON CONFLICT DO NOTHING
               RETURNING tag, data
           ), k AS (
               INSERT INTO chunks (store_id, id, n, data)
               SELECT $2, k.id, k.n, k.data
               FROM c JOIN chunks k ON k.store_id = $1 AND k.id = CASE WHEN c.tag >> 4 = 2 THEN encode(c.data, 'hex')::uuid END
           )
           SELECT (SELECT count(*) FROM c) + (SELECT count(*) FROM objects WHERE store_id = $2 AND oid = ANY($3)) AS "count!""#,
        from.0,
        to.0,
        ids.as_slice() as _,
    );
    let present = chassis::postgres::query("copy objects", query.fetch_one(&mut *db)).await?;
    Ok(usize::try_from(present).unwrap_or(0))
}

/// Inserts objects that the store does not have.
pub(crate) async fn insert(db: &mut Connection, store: StoreId, objects: &[Object]) -> Result<(), StoreError> {
    let oids: Vec<&[u8]> = objects.iter().map(|object| object.oid.as_bytes()).collect();
    let tags: Vec<i16> = objects.iter().map(|object| object.tag).collect();
    let sizes: Vec<i32> = objects.iter().map(|object| object.size).collect();
    let data: Vec<&[u8]> = objects.iter().map(|object| &*object.data).collect();
    let query = sqlx::query!(
        "INSERT INTO objects (store_id, oid, tag, size, data)
         SELECT $1, u.oid, u.tag, u.size, u.data
         FROM unnest($2::bytea[], $3::smallint[], $4::integer[], $5::bytea[]) AS u (oid, tag, size, data)
         ON CONFLICT DO NOTHING",
        store.0,
        oids.as_slice() as _,
        &tags,
        &sizes,
        data.as_slice() as _,
    );
    chassis::postgres::query("insert template objects", query.execute(&mut *db)).await?;
    Ok(())
}
