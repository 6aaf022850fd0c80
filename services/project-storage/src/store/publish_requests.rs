//! Idempotency keys of publications, with what they answer.

use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;

use super::{Connection, StoreError, from_json, json, saves::Request, signed, unsigned};
use crate::{
    git::Oid,
    model::{
        publication::Publication,
        site::{Deployment, Site},
    },
};

/// The constraint that gives the id of a request to one publication.
pub(crate) const REQUEST_KEY: &str = "publish_requests_pkey";

/// Stores the key of a publication.
///
/// # Errors
/// A violation of [`REQUEST_KEY`] if the user has used the key for another one.
pub(crate) async fn insert(db: &mut Connection, request: Request<'_>, made: &Publication) -> Result<(), StoreError> {
    let Publication { site, deployment, findings } = made;
    let query = sqlx::query!(
        "INSERT INTO publish_requests (user_id, request_id, project_id, fingerprint, slug, site_created_at, number, revision, base_path,
                                       files, bytes, created_at, findings)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        deployment.user.0,
        request.id,
        site.project.0,
        request.fingerprint,
        site.slug,
        site.created_at,
        signed(deployment.number),
        deployment.revision.as_bytes(),
        deployment.base_path,
        signed(deployment.files),
        i64::try_from(deployment.bytes).unwrap_or(i64::MAX),
        deployment.created_at,
        json(findings)?,
    );
    chassis::postgres::query("insert publish request", query.execute(&mut *db)).await?;
    Ok(())
}

/// The publication of a user with this key, and its fingerprint.
pub(crate) async fn find(db: impl PgExecutor<'_>, user: UserId, request: &str) -> Result<Option<(Publication, Vec<u8>)>, StoreError> {
    let query = sqlx::query!(
        "SELECT project_id, fingerprint, slug, site_created_at, number, revision, base_path, files, bytes, created_at, findings
         FROM publish_requests WHERE user_id = $1 AND request_id = $2",
        user.0,
        request,
    );
    let row = chassis::postgres::query("select publish request", query.fetch_optional(db)).await?;
    row.map(|row| {
        let deployment = Deployment {
            number: unsigned(row.number),
            revision: Oid::from_bytes(&row.revision)?,
            base_path: row.base_path,
            files: unsigned(row.files),
            bytes: u64::try_from(row.bytes).unwrap_or(0),
            user,
            created_at: row.created_at,
        };
        let site = Site {
            project: ProjectId(row.project_id),
            slug: row.slug,
            active: deployment.number,
            created_at: row.site_created_at,
            updated_at: row.created_at,
        };
        Ok((Publication { site, deployment, findings: from_json(&row.findings)? }, row.fingerprint))
    })
    .transpose()
}
