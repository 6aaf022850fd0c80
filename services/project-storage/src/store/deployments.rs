//! Deployments of sites.

use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Connection, StoreError, signed, unsigned};
use crate::{
    git::{Corruption, Oid},
    model::site::Deployment,
};

/// A deployment to store.
pub(crate) struct NewDeployment<'a> {
    pub(crate) project: ProjectId,
    pub(crate) deployment: &'a Deployment,
    /// The tree of all files.
    pub(crate) tree: Oid,
    /// The tree of the files whose paths have a hash of the content.
    pub(crate) hashed: Oid,
}

struct Row {
    number: i32,
    revision: Vec<u8>,
    base_path: String,
    files: i32,
    bytes: i64,
    user_id: uuid::Uuid,
    created_at: OffsetDateTime,
}

impl Row {
    fn deployment(self) -> Result<Deployment, Corruption> {
        Ok(Deployment {
            number: unsigned(self.number),
            revision: Oid::from_bytes(&self.revision)?,
            base_path: self.base_path,
            files: unsigned(self.files),
            bytes: u64::try_from(self.bytes).unwrap_or(0),
            user: UserId(self.user_id),
            created_at: self.created_at,
        })
    }
}

/// Stores a deployment of the site of a locked project.
pub(crate) async fn insert(db: &mut Connection, new: &NewDeployment<'_>) -> Result<(), StoreError> {
    let Deployment { number, revision, base_path, files, bytes, user, created_at } = new.deployment;
    let query = sqlx::query!(
        "INSERT INTO deployments (project_id, number, revision, tree, hashed, base_path, files, bytes, user_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        new.project.0,
        signed(*number),
        revision.as_bytes(),
        new.tree.as_bytes(),
        new.hashed.as_bytes(),
        base_path,
        signed(*files),
        i64::try_from(*bytes).unwrap_or(i64::MAX),
        user.0,
        created_at,
    );
    chassis::postgres::query("insert deployment", query.execute(&mut *db)).await?;
    Ok(())
}

/// Deletes the deployments up to a number.
pub(crate) async fn delete_up_to(db: &mut Connection, project: ProjectId, number: u32) -> Result<(), StoreError> {
    let query = sqlx::query!("DELETE FROM deployments WHERE project_id = $1 AND number <= $2", project.0, signed(number));
    chassis::postgres::query("delete deployments", query.execute(&mut *db)).await?;
    Ok(())
}

/// The tree of all files of a deployment.
pub(crate) async fn tree(db: impl PgExecutor<'_>, project: ProjectId, number: u32) -> Result<Option<Oid>, StoreError> {
    let query = sqlx::query_scalar!("SELECT tree FROM deployments WHERE project_id = $1 AND number = $2", project.0, signed(number));
    let tree = chassis::postgres::query("select deployment", query.fetch_optional(db)).await?;
    Ok(tree.map(|tree| Oid::from_bytes(&tree)).transpose()?)
}

/// The deployments before a number, the newest first.
pub(crate) async fn page(db: impl PgExecutor<'_>, project: ProjectId, before: u32, limit: i64) -> Result<Vec<Deployment>, StoreError> {
    let query = sqlx::query_as!(
        Row,
        "SELECT number, revision, base_path, files, bytes, user_id, created_at FROM deployments
         WHERE project_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
        project.0,
        signed(before),
        limit,
    );
    let rows = chassis::postgres::query("select deployments", query.fetch_all(db)).await?;
    Ok(rows.into_iter().map(Row::deployment).collect::<Result<_, _>>()?)
}
