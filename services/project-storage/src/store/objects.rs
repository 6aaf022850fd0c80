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
