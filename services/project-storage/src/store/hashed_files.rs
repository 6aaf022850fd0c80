//! The files of sites whose paths have a hash of the content, by address.

use proto::id::ProjectId;
use sqlx::PgExecutor;

use super::{Connection, StoreError, signed, unsigned};
use crate::{
    git::{FileRef, Oid},
    model::site::{self, ServedDeployment},
};

/// Stores those of a new deployment: paths with their files. It is the newest one that has their addresses.
pub(crate) async fn insert(
    db: &mut Connection,
    (project, number): (ProjectId, u32),
    base_path: &str,
    files: &[(String, FileRef)],
) -> Result<(), StoreError> {
    if files.is_empty() {
        return Ok(());
    }
    let addresses: Vec<String> = files.iter().map(|(path, _)| site::address(base_path, path)).collect();
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let ids: Vec<&[u8]> = files.iter().map(|(_, file)| file.oid.as_bytes()).collect();
    let sizes: Vec<i32> = files.iter().map(|(_, file)| signed(file.size)).collect();
    let query = sqlx::query!(
        "INSERT INTO hashed_files (project_id, address, number, path, oid, size)
         SELECT $1, f.address, $2, f.path, f.oid, f.size
         FROM unnest($3::text[], $4::text[], $5::bytea[], $6::integer[]) AS f (address, path, oid, size)
         ON CONFLICT (project_id, address) DO UPDATE
         SET number = excluded.number, path = excluded.path, oid = excluded.oid, size = excluded.size",
        project.0,
        signed(number),
        &addresses[..],
        paths.as_slice() as _,
        ids.as_slice() as _,
        &sizes[..],
    );
    chassis::postgres::query("insert hashed files", query.execute(&mut *db)).await?;
    Ok(())
}

/// The newest file at an address of a site, with its path and its deployment.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    served: &ServedDeployment,
    address: &str,
) -> Result<Option<(ServedDeployment, String, FileRef)>, StoreError> {
    let query = sqlx::query!(
        "SELECT h.path, h.oid, h.size, d.number, d.base_path, d.tree, d.hashed
         FROM hashed_files h JOIN deployments d ON d.project_id = h.project_id AND d.number = h.number
         WHERE h.project_id = $1 AND h.address = $2",
        served.project.0,
        address,
    );
    let row = chassis::postgres::query("select hashed file", query.fetch_optional(db)).await?;
    row.map(|row| {
        let deployment = ServedDeployment {
            project: served.project,
            store: served.store,
            number: unsigned(row.number),
            base_path: row.base_path,
            tree: Oid::from_bytes(&row.tree)?,
            hashed: Oid::from_bytes(&row.hashed)?,
        };
        Ok((deployment, row.path, FileRef { oid: Oid::from_bytes(&row.oid)?, size: unsigned(row.size) }))
    })
    .transpose()
}
