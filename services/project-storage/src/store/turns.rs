//! Turns: their projects, their questions, and how they ended.

use proto::id::{MessageId, ProjectId, TurnId, UserId};
use sqlx::PgExecutor;

use super::{Connection, StoreError};
use crate::{
    git::Oid,
    model::{
        project::Role,
        turn::{Turn, TurnState},
    },
};

/// A turn by its id.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: TurnId) -> Result<Option<Turn>, StoreError> {
    let query = sqlx::query!(
        "SELECT project_id, user_id, state, fingerprint, message_id, digest, revision, conflict_paths FROM turns WHERE id = $1",
        id.0,
    );
    let row = chassis::postgres::query("select turn", query.fetch_optional(db)).await?;
    row.map(|row| {
        Ok(Turn {
            id,
            project: row.project_id.map(ProjectId),
            user: row.user_id.map(UserId),
            state: TurnState::from_number(row.state),
            fingerprint: row.fingerprint.unwrap_or_default(),
            message: row.message_id.map(MessageId),
            digest: row.digest.unwrap_or_default(),
            revision: row.revision.map(|oid| Oid::from_bytes(&oid)).transpose()?,
            conflict_paths: row.conflict_paths,
        })
    })
    .transpose()
}

/// Inserts an open turn. Returns `false` if its user may not edit the project, or if the id is taken.
pub(crate) async fn insert(db: &mut Connection, new: &NewTurn<'_>) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "INSERT INTO turns (id, project_id, user_id, state, fingerprint, message_id)
         SELECT $1, $2, $3, $4, $5, $6 FROM members WHERE project_id = $2 AND user_id = $3 AND role >= $7
         ON CONFLICT DO NOTHING",
        new.id.0,
        new.project.0,
        new.user.0,
        TurnState::Open as i16,
        new.fingerprint,
        new.message.0,
        Role::Editor as i16,
    );
    Ok(chassis::postgres::query("insert turn", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// A turn to insert.
pub(crate) struct NewTurn<'a> {
    pub(crate) id: TurnId,
    pub(crate) project: ProjectId,
    pub(crate) user: UserId,
    /// SHA-256 of the request.
    pub(crate) fingerprint: &'a [u8],
    /// The turn's question.
    pub(crate) message: MessageId,
}

/// Locks a turn's row; `None` if there is none.
pub(crate) async fn lock(db: &mut Connection, id: TurnId) -> Result<Option<TurnState>, StoreError> {
    let query = sqlx::query_scalar!("SELECT state FROM turns WHERE id = $1 FOR UPDATE", id.0);
    Ok(chassis::postgres::query("lock turn", query.fetch_optional(&mut *db)).await?.map(TurnState::from_number))
}

/// The message that a turn began with.
pub(crate) struct Question {
    pub(crate) message: MessageId,
    /// The turn that hides it.
    pub(crate) hidden_by: Option<TurnId>,
}

/// The question of a turn of this project.
pub(crate) async fn question(db: &mut Connection, project: ProjectId, id: TurnId) -> Result<Option<Question>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT q.id, q.hidden_by AS "hidden_by?" FROM turns t JOIN messages q ON q.project_id = t.project_id AND q.id = t.message_id
         WHERE t.id = $1 AND t.project_id = $2"#,
        id.0,
        project.0,
    );
    let row = chassis::postgres::query("select question", query.fetch_optional(&mut *db)).await?;
    Ok(row.map(|row| Question { message: MessageId(row.id), hidden_by: row.hidden_by.map(TurnId) }))
}

/// Locks the open turns whose question is a message or a later one.
pub(crate) async fn lock_open_since(db: &mut Connection, project: ProjectId, first: MessageId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "SELECT id FROM turns WHERE project_id = $1 AND state = $2 AND message_id >= $3 ORDER BY id FOR UPDATE",
        project.0,
        TurnState::Open as i16,
        first.0,
    );
    chassis::postgres::query("lock turns", query.fetch_all(&mut *db)).await?;
    Ok(())
}

/// Locks a turn, if it is open, and the open turns whose questions it hides. In the order of ids, in which every transaction locks
/// turns.
pub(crate) async fn lock_hidden_by(db: &mut Connection, project: ProjectId, by: TurnId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "SELECT t.id FROM turns t LEFT JOIN messages q ON q.project_id = t.project_id AND q.id = t.message_id
         WHERE t.project_id = $1 AND t.state = $2 AND (t.id = $3 OR q.hidden_by = $3) ORDER BY t.id FOR UPDATE OF t",
        project.0,
        TurnState::Open as i16,
        by.0,
    );
    chassis::postgres::query("lock turns", query.fetch_all(&mut *db)).await?;
    Ok(())
}

/// An open turn of a project.
pub(crate) async fn find_open(db: &mut Connection, project: ProjectId) -> Result<Option<TurnId>, StoreError> {
    // The number of the state is written out, so that the index of open turns is used.
    let query = sqlx::query_scalar!("SELECT id FROM turns WHERE project_id = $1 AND state = 1 LIMIT 1", project.0);
    Ok(chassis::postgres::query("select open turn", query.fetch_optional(&mut *db)).await?.map(TurnId))
}

/// What a commit stores in its turn's row.
pub(crate) struct TurnUpdate<'a> {
    pub(crate) state: TurnState,
    pub(crate) digest: &'a [u8],
    pub(crate) revision: Option<Oid>,
    pub(crate) conflict_paths: &'a [String],
}

/// Ends an open turn. Returns `false` if the turn has ended, or if its user may no longer edit the project.
pub(crate) async fn finish(db: &mut Connection, id: TurnId, update: &TurnUpdate<'_>) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "UPDATE turns t SET state = $2, digest = $3, revision = $4, conflict_paths = $5, ended_at = clock_timestamp()
         WHERE t.id = $1 AND t.state = $6
           AND EXISTS (SELECT 1 FROM members m WHERE m.project_id = t.project_id AND m.user_id = t.user_id AND m.role >= $7)",
        id.0,
        update.state as i16,
        update.digest,
        update.revision.as_ref().map(Oid::as_bytes),
        update.conflict_paths,
        TurnState::Open as i16,
        Role::Editor as i16,
    );
    Ok(chassis::postgres::query("update turn", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// A turn that has just ended.
pub(crate) struct EndedTurn {
    /// The project and the user; `None` if the user may no longer read the project.
    pub(crate) conversation: Option<(ProjectId, UserId)>,
}

/// Ends a turn that is open or unknown. Returns `None` if it had ended already.
pub(crate) async fn end(db: &mut Connection, id: TurnId, state: TurnState, failure_reason: &str) -> Result<Option<EndedTurn>, StoreError> {
    let query = sqlx::query!(
        r#"WITH e AS (
               INSERT INTO turns (id, state, failure_reason, ended_at) VALUES ($1, $2, $4, clock_timestamp())
               ON CONFLICT (id) DO UPDATE
               SET state = excluded.state, failure_reason = excluded.failure_reason, ended_at = excluded.ended_at WHERE turns.state = $3
               RETURNING project_id, user_id
           )
           SELECT m.project_id AS "project_id?", m.user_id AS "user_id?"
           FROM e LEFT JOIN members m ON m.project_id = e.project_id AND m.user_id = e.user_id"#,
        id.0,
        state as i16,
        TurnState::Open as i16,
        failure_reason,
    );
    let row = chassis::postgres::query("end turn", query.fetch_optional(&mut *db)).await?;
    Ok(row.map(|row| EndedTurn { conversation: row.project_id.map(ProjectId).zip(row.user_id.map(UserId)) }))
}
