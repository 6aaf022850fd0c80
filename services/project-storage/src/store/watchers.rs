//! The access of those who watch projects.

use proto::id::{ProjectId, SessionId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::StoreError;

/// A watcher that has no access.
pub(crate) struct WithoutAccess {
    /// The position in the list that was asked for.
    pub(crate) index: usize,
    /// The session has ended.
    pub(crate) session_ended: bool,
}

/// Those of these watchers who may not read their project, or whose session has ended.
pub(crate) async fn without_access(
    db: impl PgExecutor<'_>,
    watchers: &[(ProjectId, UserId, SessionId)],
) -> Result<Vec<WithoutAccess>, StoreError> {
    let projects: Vec<Uuid> = watchers.iter().map(|(project, ..)| project.0).collect();
    let users: Vec<Uuid> = watchers.iter().map(|(_, user, _)| user.0).collect();
    let sessions: Vec<Uuid> = watchers.iter().map(|(.., session)| session.0).collect();
    let query = sqlx::query!(
        r#"SELECT w.number AS "number!", w.ended AS "ended!" FROM (
               SELECT u.number, u.project_id, u.user_id, EXISTS (SELECT 1 FROM ended_sessions e WHERE e.session_id = u.session_id) AS ended
               FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS u (project_id, user_id, session_id, number)
           ) w
           WHERE w.ended OR NOT EXISTS (SELECT 1 FROM members m WHERE m.project_id = w.project_id AND m.user_id = w.user_id)"#,
        &projects,
        &users,
        &sessions,
    );
    let rows = chassis::postgres::query("select watchers without access", query.fetch_all(db)).await?;
    let index = |number: i64| usize::try_from(number - 1).unwrap_or(usize::MAX);
    Ok(rows.into_iter().map(|row| WithoutAccess { index: index(row.number), session_ended: row.ended }).collect())
}
