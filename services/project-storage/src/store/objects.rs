//! Reading the git objects of a store.

use sqlx::PgExecutor;

use super::{StoreError, unsigned};
use crate::{git::Oid, model::project::StoreId};

/// A stored object; see [`crate::git::Object`].
pub(crate) struct Row {
    pub(crate) oid: Oid,
    pub(crate) tag: i16,
    pub(crate) size: i32,
    pub(crate) data: Vec<u8>,
}

/// Objects by their ids, in any order. Unknown ids are left out.
pub(crate) async fn read(db: impl PgExecutor<'_>, store: StoreId, oids: &[Oid]) -> Result<Vec<Row>, StoreError> {
    let ids: Vec<&[u8]> = oids.iter().map(Oid::as_bytes).collect();
    let query =
        sqlx::query!("SELECT oid, tag, size, data FROM objects WHERE store_id = $1 AND oid = ANY($2)", store.0, ids.as_slice() as _,);
    let rows = chassis::postgres::query("select objects", query.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok(Row { oid: Oid::from_bytes(&row.oid)?, tag: row.tag, size: row.size, data: row.data })).collect()
}

/// The sizes of files in bytes, by their ids. Unknown ids are left out.
pub(crate) async fn sizes(db: impl PgExecutor<'_>, store: StoreId, oids: &[Oid]) -> Result<Vec<(Oid, u32)>, StoreError> {
    let ids: Vec<&[u8]> = oids.iter().map(Oid::as_bytes).collect();
    let query = sqlx::query!("SELECT oid, size FROM objects WHERE store_id = $1 AND oid = ANY($2)", store.0, ids.as_slice() as _);
    let rows = chassis::postgres::query("select object sizes", query.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok((Oid::from_bytes(&row.oid)?, unsigned(row.size)))).collect()
}

/// Folders by their ids, in this order, until they have `max_bytes` together, and the first two in any case. Unknown ids are left out.
pub(crate) async fn read_within(db: impl PgExecutor<'_>, store: StoreId, oids: &[Oid], max_bytes: i64) -> Result<Vec<Row>, StoreError> {
    let ids: Vec<&[u8]> = oids.iter().map(Oid::as_bytes).collect();
    let query = sqlx::query!(
        r#"SELECT f.oid, f.tag, f.size, f.data
           FROM (SELECT o.oid, o.tag, o.size, o.data, w.place, sum(o.size) OVER (ORDER BY w.place) AS total
                 FROM unnest($2::bytea[]) WITH ORDINALITY AS w (oid, place) JOIN objects o ON o.store_id = $1 AND o.oid = w.oid) f
           WHERE f.place <= 2 OR f.total <= $3"#,
        store.0,
        ids.as_slice() as _,
        max_bytes,
    );
    let rows = chassis::postgres::query("select folders", query.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok(Row { oid: Oid::from_bytes(&row.oid)?, tag: row.tag, size: row.size, data: row.data })).collect()
}
