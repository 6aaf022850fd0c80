//! Deletes what belongs to deleted projects and messages.

use chassis::postgres::query;
use proto::id::{ProjectId, TurnId};
use sqlx::PgPool;
use time::OffsetDateTime;

use super::StoreError;

/// Turns that one statement deletes.
const BATCH: i64 = 50;

/// Whether the project has an open turn, or a turn that was created before a time may still become one.
pub(crate) async fn has_open_turns(db: &PgPool, project: ProjectId, until: OffsetDateTime) -> Result<bool, StoreError> {
    let open = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM turns WHERE ended_at IS NULL AND project_id = $1)
            OR EXISTS (SELECT 1 FROM turns WHERE ended_at IS NULL AND project_id IS NULL AND created_at < $2) AS "open!""#,
        project.0,
        until,
    );
    query("select turns of deleted project", open.fetch_one(db)).await
}

/// Deletes the ended turns of a project with their logs and the entries of their metadata.
pub(crate) async fn delete_turns(db: &PgPool, project: ProjectId) -> Result<(), StoreError> {
    loop {
        let delete = sqlx::query!(
            "WITH t AS (
                 DELETE FROM turns WHERE id IN (
                     SELECT id FROM turns WHERE project_id = $1 AND ended_at IS NOT NULL ORDER BY id LIMIT $2 FOR UPDATE)
                 RETURNING id
             ), e AS (DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM t)),
                c AS (DELETE FROM turn_change_sets WHERE turn_id IN (SELECT id FROM t)),
                m AS (DELETE FROM turn_metadata WHERE turn_id IN (SELECT id FROM t)),
                p AS (DELETE FROM prompt_parts WHERE turn_id IN (SELECT id FROM t))
             SELECT id FROM t",
            project.0,
            BATCH,
        );
        if query("delete turns of project", delete.fetch_all(db)).await?.is_empty() {
            return Ok(());
        }
    }
}

/// Deletes the prompt, the log and the selection of a turn, which have words of its messages. Returns `false` if the turn is open, or if the
/// prompt of another open turn of the project may have the words.
pub(crate) async fn delete_texts(db: &PgPool, turn: TurnId) -> Result<bool, StoreError> {
    let delete = sqlx::query!(
        r#"WITH t AS (
               UPDATE turns SET prompt = '', selection = NULL WHERE id = $1 AND ended_at IS NOT NULL AND end_due IS NULL RETURNING id
           ), e AS (DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM t))
           SELECT EXISTS (SELECT 1 FROM t) OR NOT EXISTS (SELECT 1 FROM turns WHERE id = $1) AS "deleted!",
               EXISTS (SELECT 1 FROM turns d JOIN turns o USING (project_id) JOIN prompt_parts p ON p.turn_id = o.id
                   WHERE d.id = $1 AND o.id > d.id AND o.ended_at IS NULL) AS "told!""#,
        turn.0,
    );
    let row = query("delete texts of turn", delete.fetch_one(db)).await?;
    Ok(row.deleted && !row.told)
}
