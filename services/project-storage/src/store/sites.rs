//! Published sites.

use proto::id::ProjectId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Connection, StoreError, signed, unsigned};
use crate::{
    git::Oid,
    model::{
        project::StoreId,
        site::{ServedDeployment, Site},
    },
};

/// The constraint that gives a slug to one site.
pub(crate) const SLUG_KEY: &str = "sites_slug_key";

/// The site of a project.
pub(crate) async fn find(db: impl PgExecutor<'_>, project: ProjectId) -> Result<Option<Site>, StoreError> {
    let query = sqlx::query!("SELECT slug, active, created_at, updated_at FROM sites WHERE project_id = $1", project.0);
    let row = chassis::postgres::query("select site", query.fetch_optional(db)).await?;
    Ok(row.map(|row| Site {
        project,
        slug: row.slug,
        active: unsigned(row.active),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }))
}

/// Whether another project has the slug.
pub(crate) async fn is_taken(db: impl PgExecutor<'_>, project: ProjectId, slug: &str) -> Result<bool, StoreError> {
    let query =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM sites WHERE slug = $2 AND project_id <> $1) AS "taken!""#, project.0, slug,);
    chassis::postgres::query("select slug", query.fetch_one(db)).await
}

/// Gives the site of a locked project its next deployment, which it serves from now on. Returns the number.
///
/// # Errors
/// A violation of [`SLUG_KEY`] if another project has the slug.
pub(crate) async fn advance(db: &mut Connection, project: ProjectId, slug: &str, now: OffsetDateTime) -> Result<u32, StoreError> {
    let query = sqlx::query_scalar!(
        "INSERT INTO sites (project_id, slug, active, newest, created_at, updated_at) VALUES ($1, $2, 1, 1, $3, $3)
         ON CONFLICT (project_id) DO UPDATE SET slug = $2, active = sites.newest + 1, newest = sites.newest + 1, updated_at = $3
         RETURNING newest",
        project.0,
        slug,
        now,
    );
    Ok(unsigned(chassis::postgres::query("advance site", query.fetch_one(&mut *db)).await?))
}

/// Serves another deployment of the site, if it has it. Returns `false` if it does not.
pub(crate) async fn activate(db: &mut Connection, project: ProjectId, number: u32, now: OffsetDateTime) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "UPDATE sites s SET active = $2, updated_at = CASE WHEN s.active = $2 THEN s.updated_at ELSE $3 END
         WHERE s.project_id = $1 AND EXISTS (SELECT 1 FROM deployments d WHERE d.project_id = $1 AND d.number = $2)",
        project.0,
        signed(number),
        now,
    );
    Ok(chassis::postgres::query("activate deployment", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// Deletes the site of a project with its deployments. Returns `false` if there is none.
pub(crate) async fn delete(db: &mut Connection, project: ProjectId) -> Result<bool, StoreError> {
    let query = sqlx::query!("DELETE FROM sites WHERE project_id = $1", project.0);
    Ok(chassis::postgres::query("delete site", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// The deployment that a site serves, or another one of it. The site of a deleted project is not served.
pub(crate) async fn served(db: impl PgExecutor<'_>, slug: &str, number: Option<u32>) -> Result<Option<ServedDeployment>, StoreError> {
    let query = sqlx::query!(
        "SELECT d.project_id, p.store_id, d.number, d.base_path, d.tree, d.hashed
         FROM sites s
         JOIN projects p ON p.id = s.project_id AND p.deleted_at IS NULL
         JOIN deployments d ON d.project_id = s.project_id AND d.number = coalesce($2, s.active)
         WHERE s.slug = $1",
        slug,
        number.map(signed),
    );
    let Some(row) = chassis::postgres::query("select served deployment", query.fetch_optional(db)).await? else { return Ok(None) };
    Ok(Some(ServedDeployment {
        project: ProjectId(row.project_id),
        store: StoreId(row.store_id),
        number: unsigned(row.number),
        base_path: row.base_path,
        tree: Oid::from_bytes(&row.tree)?,
        hashed: Oid::from_bytes(&row.hashed)?,
    }))
}
