//! The labels of revisions.

use std::collections::HashMap;

use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Connection, StoreError};
use crate::{git::Oid, model::revision::Label};

/// The labels of a project after a name, sorted by name.
pub(crate) async fn page(db: impl PgExecutor<'_>, project: ProjectId, after: &str, limit: i64) -> Result<Vec<Label>, StoreError> {
    let query = sqlx::query!(
        "SELECT name, oid, user_id, created_at FROM labels WHERE project_id = $1 AND name > $2 ORDER BY name LIMIT $3",
        project.0,
        after,
        limit,
    );
    let rows = chassis::postgres::query("select labels", query.fetch_all(db)).await?;
    let labels = rows.into_iter().map(|row| {
        let revision = Oid::from_bytes(&row.oid)?;
        Ok(Label { name: row.name, revision, user: UserId(row.user_id), created_at: row.created_at })
    });
    labels.collect()
}

/// The names of revisions, sorted. A revision without a label is left out.
pub(crate) async fn of_revisions(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    revisions: &[Oid],
) -> Result<HashMap<Oid, Vec<String>>, StoreError> {
    let oids: Vec<&[u8]> = revisions.iter().map(Oid::as_bytes).collect();
    let query = sqlx::query!(
        "SELECT oid, name FROM labels WHERE project_id = $1 AND oid = ANY($2) ORDER BY name",
        project.0,
        oids.as_slice() as _,
    );
    let mut names: HashMap<Oid, Vec<String>> = HashMap::new();
    for row in chassis::postgres::query("select labels of revisions", query.fetch_all(db)).await? {
        names.entry(Oid::from_bytes(&row.oid)?).or_default().push(row.name);
    }
    Ok(names)
}

/// How many labels a project has, without one name.
pub(crate) async fn count_others(db: &mut Connection, project: ProjectId, name: &str) -> Result<i64, StoreError> {
    let query = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM labels WHERE project_id = $1 AND name <> $2"#, project.0, name);
    chassis::postgres::query("count labels", query.fetch_one(&mut *db)).await
}

/// Gives a revision a name, or moves the name to it. Returns when and by whom; a label that is set already stays as it is.
pub(crate) async fn set(
    db: &mut Connection,
    project: ProjectId,
    name: &str,
    revision: Oid,
    user: UserId,
) -> Result<(UserId, OffsetDateTime), StoreError> {
    let query = sqlx::query!(
        "INSERT INTO labels (project_id, name, oid, user_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (project_id, name) DO UPDATE SET
             oid = excluded.oid,
             user_id = CASE WHEN labels.oid = excluded.oid THEN labels.user_id ELSE excluded.user_id END,
             created_at = CASE WHEN labels.oid = excluded.oid THEN labels.created_at ELSE excluded.created_at END
         RETURNING user_id, created_at",
        project.0,
        name,
        revision.as_bytes(),
        user.0,
    );
    let row = chassis::postgres::query("set label", query.fetch_one(&mut *db)).await?;
    Ok((UserId(row.user_id), row.created_at))
}

/// Deletes a label; `false` if the project does not have it.
pub(crate) async fn delete(db: impl PgExecutor<'_>, project: ProjectId, name: &str) -> Result<bool, StoreError> {
    let query = sqlx::query!("DELETE FROM labels WHERE project_id = $1 AND name = $2", project.0, name);
    Ok(chassis::postgres::query("delete label", query.execute(db)).await?.rows_affected() == 1)
}
