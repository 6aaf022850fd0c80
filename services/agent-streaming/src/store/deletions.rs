//! Deletes what belongs to deleted projects and messages.

use chassis::postgres::query;
use proto::id::{ProjectId, TurnId, UserId};
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

/// The open turns of a user.
pub(crate) async fn open_turns_of(db: &PgPool, user: UserId) -> Result<Vec<TurnId>, StoreError> {
    let open = sqlx::query_scalar!("SELECT id FROM turns WHERE user_id = $1 AND ended_at IS NULL ORDER BY id", user.0);
    Ok(query("select open turns of user", open.fetch_all(db)).await?.into_iter().map(TurnId).collect())
}

/// Deletes the ended turns of a user, of which project-storage knows the end, with their logs and the entries of their metadata. Returns
/// whether no turn is left.
pub(crate) async fn delete_turns_of(db: &PgPool, user: UserId) -> Result<bool, StoreError> {
    loop {
        let delete = sqlx::query!(
            "WITH t AS (
                 DELETE FROM turns WHERE id IN (
                     SELECT id FROM turns WHERE user_id = $1 AND ended_at IS NOT NULL AND end_due IS NULL ORDER BY id LIMIT $2 FOR UPDATE)
                 RETURNING id
             ), e AS (DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM t)),
                c AS (DELETE FROM turn_change_sets WHERE turn_id IN (SELECT id FROM t)),
                m AS (DELETE FROM turn_metadata WHERE turn_id IN (SELECT id FROM t)),
                p AS (DELETE FROM prompt_parts WHERE turn_id IN (SELECT id FROM t))
             SELECT id FROM t",
            user.0,
            BATCH,
        );
        if query("delete turns of user", delete.fetch_all(db)).await?.is_empty() {
            break;
        }
    }
    let left = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM turns WHERE user_id = $1) AS "left!""#, user.0);
    Ok(!query("select turns of user", left.fetch_one(db)).await?)
}

/// Deletes the prompt, the log and the selection of a turn of a project, which have words of its messages. Returns `false` if the turn is open, or
/// if another open turn may have the words: each of the project, because it reads the conversation, and one that is not begun, because its plan
/// may be the answer of the turn.
pub(crate) async fn delete_texts(db: &PgPool, project: ProjectId, turn: TurnId) -> Result<bool, StoreError> {
    let delete = sqlx::query!(
        r#"WITH t AS (
               UPDATE turns SET prompt = '', selection = NULL WHERE id = $1 AND ended_at IS NOT NULL AND end_due IS NULL RETURNING id
           ), e AS (DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM t))
           SELECT EXISTS (SELECT 1 FROM t) OR NOT EXISTS (SELECT 1 FROM turns WHERE id = $1) AS "deleted!",
               EXISTS (SELECT 1 FROM turns WHERE project_id = $2 AND id <> $1 AND ended_at IS NULL)
                   OR EXISTS (SELECT 1 FROM turns d JOIN turns o USING (user_id)
                       WHERE d.id = $1 AND o.ended_at IS NULL AND o.project_id IS NULL AND o.plan IS NOT NULL) AS "told!""#,
        turn.0,
        project.0,
    );
    let row = query("delete texts of turn", delete.fetch_one(db)).await?;
    Ok(row.deleted && !row.told)
}
