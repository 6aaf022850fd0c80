//! The log of deletions that other services follow.

use chassis::{identity::Caller, postgres::query};
use proto::id::{MessageId, ProjectId, TurnId};
use sqlx::PgExecutor;

use super::{Connection, StoreError};
use crate::model::deletion::{Deleted, Deletion, FOLLOWERS};

/// The kinds as the database stores them.
const MESSAGE: i16 = 1;
const PROJECT: i16 = 2;

/// Adds an entry that every follower has to acknowledge.
pub(crate) async fn insert(db: &mut Connection, deleted: Deleted) -> Result<(), StoreError> {
    let (kind, project, turn, message) = match deleted {
        Deleted::Project(project) => (PROJECT, project, None, None),
        Deleted::Message { project, turn, message } => (MESSAGE, project, Some(turn.0), Some(message.0)),
    };
    let followers: Vec<String> = FOLLOWERS.iter().map(|follower| follower.name().to_owned()).collect();
    let insert = sqlx::query!(
        "INSERT INTO deletions (kind, project_id, turn_id, message_id, waiting_for) VALUES ($1, $2, $3, $4, $5)",
        kind,
        project.0,
        turn,
        message,
        &followers,
    );
    query("insert deletion", insert.execute(db)).await?;
    Ok(())
}

/// The entries after an id that a service has not acknowledged, by id.
pub(crate) async fn waiting(db: impl PgExecutor<'_>, follower: Caller, after: i64, limit: i64) -> Result<Vec<Deletion>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, kind, project_id, turn_id, message_id, created_at FROM deletions
         WHERE done_at IS NULL AND id > $1 AND $2 = ANY(waiting_for) ORDER BY id LIMIT $3",
        after,
        follower.name(),
        limit,
    );
    let rows = query("select deletions", rows.fetch_all(db)).await?;
    rows.into_iter()
        .map(|row| {
            let project = ProjectId(row.project_id);
            let deleted = match (row.kind, row.turn_id, row.message_id) {
                (PROJECT, ..) => Deleted::Project(project),
                (MESSAGE, Some(turn), Some(message)) => Deleted::Message { project, turn: TurnId(turn), message: MessageId(message) },
                _ => return Err(StoreError::Inconsistent("deletions.kind".to_owned())),
            };
            Ok(Deletion { id: row.id, deleted, created_at: row.created_at })
        })
        .collect()
}

/// Stores that a service has acknowledged entries. An entry that no service has to acknowledge any more is done.
pub(crate) async fn acknowledge(db: impl PgExecutor<'_>, follower: Caller, ids: &[i64]) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "UPDATE deletions SET waiting_for = array_remove(waiting_for, $1),
             done_at = CASE WHEN array_remove(waiting_for, $1) = '{}' THEN clock_timestamp() END
         WHERE id = ANY($2) AND done_at IS NULL AND $1 = ANY(waiting_for)",
        follower.name(),
        ids,
    );
    query("acknowledge deletions", update.execute(db)).await?;
    Ok(())
}
