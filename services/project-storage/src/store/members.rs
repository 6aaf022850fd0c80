//! The projects of a person.

use proto::id::{ProjectId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::StoreError;

/// The projects that a person may read before one of them, the newest first.
pub(crate) async fn projects_before(
    db: impl PgExecutor<'_>,
    user: UserId,
    before: Option<ProjectId>,
    limit: i64,
) -> Result<Vec<ProjectId>, StoreError> {
    let query = sqlx::query_scalar!(
        "SELECT project_id FROM members WHERE user_id = $1 AND project_id < $2 ORDER BY project_id DESC LIMIT $3",
        user.0,
        before.map_or(Uuid::max(), |project| project.0),
        limit,
    );
    let rows = chassis::postgres::query("select projects of member", query.fetch_all(db)).await?;
    Ok(rows.into_iter().map(ProjectId).collect())
}
