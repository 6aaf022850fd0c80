//! Reactions to answers. The row of the answer counts them, so that a page of messages does not.

use proto::id::{MessageId, ProjectId, UserId};

use super::{Connection, StoreError};
use crate::model::message::Reaction;

/// Sets the reaction of a person.
pub(crate) async fn set(
    db: &mut Connection,
    project: ProjectId,
    message: MessageId,
    user: UserId,
    reaction: &Reaction,
) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "INSERT INTO reactions (project_id, message_id, user_id, helpful, reason) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (project_id, message_id, user_id) DO UPDATE SET helpful = excluded.helpful, reason = excluded.reason,
             created_at = excluded.created_at",
        project.0,
        message.0,
        user.0,
        reaction.is_helpful,
        reaction.reason,
    );
    chassis::postgres::query("set reaction", query.execute(&mut *db)).await?;
    Ok(())
}

/// Deletes the reaction of a person.
pub(crate) async fn delete(db: &mut Connection, project: ProjectId, message: MessageId, user: UserId) -> Result<(), StoreError> {
    let query =
        sqlx::query!("DELETE FROM reactions WHERE project_id = $1 AND message_id = $2 AND user_id = $3", project.0, message.0, user.0,);
    chassis::postgres::query("delete reaction", query.execute(&mut *db)).await?;
    Ok(())
}

/// Stores the numbers of reactions in the row of a locked answer.
pub(crate) async fn count(db: &mut Connection, project: ProjectId, message: MessageId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "UPDATE messages m SET helpful = c.helpful, not_helpful = c.not_helpful
         FROM (SELECT count(*) FILTER (WHERE helpful)::integer AS helpful, count(*) FILTER (WHERE NOT helpful)::integer AS not_helpful
               FROM reactions WHERE project_id = $1 AND message_id = $2) c
         WHERE m.project_id = $1 AND m.id = $2",
        project.0,
        message.0,
    );
    chassis::postgres::query("count reactions", query.execute(&mut *db)).await?;
    Ok(())
}
