//! What there is of a person, for the deletion of their account.

use chassis::postgres::query;
use proto::id::{ProjectId, TemplateId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Connection, Pool, StoreError};
use crate::model::message::Author;

/// Stands for a person whose account was deleted.
const NOBODY: Uuid = Uuid::nil();

/// A project of the person after `after`, by id, whether it is deleted or not.
pub(crate) async fn next_owned(db: impl PgExecutor<'_>, user: UserId, after: ProjectId) -> Result<Option<ProjectId>, StoreError> {
    let select = sqlx::query_scalar!("SELECT id FROM projects WHERE owner_id = $1 AND id > $2 ORDER BY id LIMIT 1", user.0, after.0);
    Ok(query("select project of account", select.fetch_optional(db)).await?.map(ProjectId))
}

/// The next project after `after`, by id, that has the id of the person, and whether it is their own. It may be purged: forks read its log.
pub(crate) async fn next_trace(db: impl PgExecutor<'_>, user: UserId, after: ProjectId) -> Result<Option<(ProjectId, bool)>, StoreError> {
    // Each table gives its first project, so that a step reads a few entries of indexes, however much the person did in a project.
    let select = sqlx::query!(
        r#"SELECT t.project_id AS "project_id!", EXISTS (SELECT 1 FROM projects p WHERE p.id = t.project_id AND p.owner_id = $1) AS "is_own!"
           FROM (
               (SELECT project_id FROM members WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM former_members WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM ref_log WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM messages WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM turns WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM conflicts WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM labels WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM deployments WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM locks WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM preview_origins WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
               UNION ALL (SELECT project_id FROM reactions WHERE user_id = $1 AND project_id > $2 ORDER BY project_id LIMIT 1)
           ) t ORDER BY t.project_id LIMIT 1"#,
        user.0,
        after.0,
    );
    let row = query("select project with account", select.fetch_optional(db)).await?;
    Ok(row.map(|row| (ProjectId(row.project_id), row.is_own)))
}

/// The templates that the person has published.
pub(crate) async fn templates(db: impl PgExecutor<'_>, user: UserId) -> Result<Vec<TemplateId>, StoreError> {
    let select = sqlx::query_scalar!("SELECT id FROM templates WHERE publisher_id = $1 ORDER BY id", user.0);
    Ok(query("select templates of account", select.fetch_all(db)).await?.into_iter().map(TemplateId).collect())
}

/// The templates that the person has rated.
pub(crate) async fn rated(db: impl PgExecutor<'_>, user: UserId) -> Result<Vec<TemplateId>, StoreError> {
    let select = sqlx::query_scalar!("SELECT template_id FROM template_reviews WHERE user_id = $1 ORDER BY template_id", user.0);
    Ok(query("select reviews of account", select.fetch_all(db)).await?.into_iter().map(TemplateId).collect())
}

/// Deletes what is kept of the person's unpublished templates, with the reports about them.
pub(crate) async fn forget_unpublished(db: &mut Connection, user: UserId) -> Result<(), StoreError> {
    let delete = sqlx::query!(
        "WITH u AS (DELETE FROM unpublished_templates WHERE publisher_id = $1 RETURNING id),
              r AS (DELETE FROM template_reports WHERE template_id IN (SELECT id FROM u))
         DELETE FROM unpublished_requests WHERE publisher_id = $1",
        user.0,
    );
    query("delete marks of account", delete.execute(db)).await?;
    Ok(())
}

/// Whether a turn of the person runs in a project.
pub(crate) async fn has_open_turn(db: &mut Connection, user: UserId, project: ProjectId) -> Result<bool, StoreError> {
    let select = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM turns WHERE project_id = $2 AND user_id = $1 AND state = 1) AS "open!""#,
        user.0,
        project.0,
    );
    query("select open turn of account", select.fetch_one(db)).await
}

/// Deletes the texts that the person wrote in the conversation of a locked project, and their reactions. Answers of agents stay.
pub(crate) async fn delete_texts(db: &mut Connection, user: UserId, project: ProjectId) -> Result<(), StoreError> {
    let reactions = sqlx::query!(
        "WITH r AS (DELETE FROM reactions WHERE project_id = $2 AND user_id = $1 RETURNING message_id, helpful)
         UPDATE messages m SET helpful = m.helpful - r.helpful::integer, not_helpful = m.not_helpful - (NOT r.helpful)::integer
         FROM r WHERE m.project_id = $2 AND m.id = r.message_id",
        user.0,
        project.0,
    );
    query("delete reactions of account", reactions.execute(&mut *db)).await?;
    let texts = sqlx::query!(
        "WITH m AS (
             UPDATE messages SET text = '', parts = NULL, helpful = 0, not_helpful = 0, deleted_at = coalesce(deleted_at, clock_timestamp())
             WHERE project_id = $2 AND user_id = $1 AND role = $3 RETURNING id
         ), r AS (DELETE FROM reactions WHERE project_id = $2 AND message_id IN (SELECT id FROM m))
         DELETE FROM message_versions WHERE project_id = $2 AND message_id IN (SELECT id FROM m)",
        user.0,
        project.0,
        Author::Person as i16,
    );
    query("delete messages of account", texts.execute(db)).await?;
    Ok(())
}

/// Takes the person's name off what they did in a locked project. Forks show revisions of a project that is purged, so its log is included.
pub(crate) async fn forget_in_project(db: &mut Connection, user: UserId, project: ProjectId) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "WITH l AS (UPDATE ref_log SET user_id = $3 WHERE project_id = $2 AND user_id = $1),
              m AS (UPDATE messages SET user_id = $3 WHERE project_id = $2 AND user_id = $1),
              t AS (UPDATE turns SET user_id = $3 WHERE project_id = $2 AND user_id = $1),
              c AS (UPDATE conflicts SET user_id = $3 WHERE project_id = $2 AND user_id = $1),
              n AS (UPDATE labels SET user_id = $3 WHERE project_id = $2 AND user_id = $1),
              d AS (UPDATE deployments SET user_id = $3 WHERE project_id = $2 AND user_id = $1),
              o AS (DELETE FROM preview_origins WHERE project_id = $2 AND user_id = $1)
         DELETE FROM locks WHERE project_id = $2 AND user_id = $1",
        user.0,
        project.0,
        NOBODY,
    );
    query("forget account in project", update.execute(db)).await?;
    Ok(())
}

/// Takes the person's role in a project. Their previews of it end.
pub(crate) async fn leave(db: &mut Connection, user: UserId, project: ProjectId) -> Result<(), StoreError> {
    let delete = sqlx::query!(
        "WITH f AS (DELETE FROM former_members WHERE project_id = $2 AND user_id = $1)
         DELETE FROM members WHERE project_id = $2 AND user_id = $1",
        user.0,
        project.0,
    );
    query("leave project", delete.execute(db)).await?;
    Ok(())
}

/// Deletes the person's reports and idempotency keys, and their part of stores of others. What uploads that have not ended still write there
/// counts for the owner of the store.
pub(crate) async fn forget(db: &Pool, user: UserId) -> Result<(), StoreError> {
    // In the order in which every transaction locks leases.
    let leases = sqlx::query!(
        "UPDATE pending_writes SET owner_id = NULL
         WHERE id IN (SELECT id FROM pending_writes WHERE owner_id = $1 ORDER BY id FOR UPDATE)",
        user.0,
    );
    query("forget account in leases", leases.execute(db)).await?;
    let delete = sqlx::query!(
        "WITH r AS (DELETE FROM template_reports WHERE user_id = $1),
              s AS (DELETE FROM save_requests WHERE user_id = $1),
              p AS (DELETE FROM publish_requests WHERE user_id = $1)
         DELETE FROM store_shares WHERE owner_id = $1",
        user.0,
    );
    query("forget account", delete.execute(db)).await?;
    Ok(())
}
