//! Ends turns from outside of their workers, and stores the outbox of project-storage.

use std::time::Duration;

use chassis::postgres::{begin_in_query, query};
use proto::id::{TurnId, UserId};
use sqlx::{PgPool, Postgres, Transaction};

use super::{
    StoreError, events, inconsistent,
    turns::{self, AcceptOutcome, AcceptTurn},
};
use crate::turn::{CancelDecision, End, State};

/// Cancels a user's turn in one transaction. `event` encodes `turn.cancelled` for a trace id. Returns `None` if there is no such turn,
/// and otherwise the decision with the seq of `turn.cancelled`, which is 0 if nothing was written.
pub(crate) async fn cancel(
    db: &PgPool,
    turn: TurnId,
    user: UserId,
    event: impl Fn(&str) -> Vec<u8> + Send + Sync,
) -> Result<Option<(CancelDecision, u32)>, StoreError> {
    let cancelled = async {
        let mut tx = begin_in_query(db).await?;
        let row = sqlx::query!("SELECT state, trace_id FROM turns WHERE id = $1 AND user_id = $2 FOR UPDATE", turn.0, user.0);
        let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let decision = CancelDecision::of(state(&row.state)?);
        if decision != CancelDecision::Now {
            return Ok(Some((decision, 0)));
        }
        let seq = write_cancelled(&mut tx, turn, &event(&row.trace_id)).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(Some((decision, seq)))
    };
    query("cancel turn", cancelled).await
}

/// Cancels a turn whose row is locked. Each statement has a new snapshot, so it sees the events that the worker wrote before the lock was
/// granted.
async fn write_cancelled(tx: &mut Transaction<'_, Postgres>, turn: TurnId, payload: &[u8]) -> Result<u32, StoreError> {
    let seq = events::last_seq(&mut **tx, turn).await? + 1;
    sqlx::query!(
        "WITH written AS (INSERT INTO turn_events (turn_id, seq, payload) VALUES ($1, $2, $3)),
            forgotten AS (DELETE FROM prompt_parts WHERE turn_id = $1)
        UPDATE turns SET state = 'cancelled', epoch = epoch + 1, lease_expires_at = NULL, ended_at = clock_timestamp(), last_seq = $2,
            history = NULL, plan = NULL, end_due = 'cancelled', end_retry_at = clock_timestamp()
        WHERE id = $1",
        turn.0,
        i32::try_from(seq).unwrap_or(i32::MAX),
        payload,
    )
    .execute(&mut **tx)
    .await?;
    Ok(seq)
}

/// The outcome of [`interrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InterruptOutcome {
    /// The turn is accepted. Holds the turn that was cancelled for it, with the seq of its `turn.cancelled`.
    Accepted(Option<(TurnId, u32)>),
    /// A turn of another user runs.
    Busy(TurnId),
    /// Another request or a worker has accepted or ended the turn in the meantime.
    Changed,
}

/// Accepts a turn that goes before every queued turn of the project, and cancels the running one, in one transaction. It cancels only
/// turns of the same user, and none that is committing.
pub(crate) async fn interrupt(
    db: &PgPool,
    accept: AcceptTurn<'_>,
    user: UserId,
    event: impl Fn(&str) -> Vec<u8> + Send + Sync,
) -> Result<InterruptOutcome, StoreError> {
    let outcome = async {
        let mut tx = begin_in_query(db).await?;
        let running = sqlx::query!(
            "SELECT id, user_id, state, trace_id FROM turns WHERE project_id = $1 AND state IN ('running', 'committing') FOR UPDATE",
            accept.project.0,
        );
        let mut cancelled = None;
        if let Some(row) = running.fetch_optional(&mut *tx).await?
            && CancelDecision::of(state(&row.state)?) == CancelDecision::Now
        {
            let running = TurnId(row.id);
            if row.user_id != user.0 {
                return Ok(InterruptOutcome::Busy(running));
            }
            cancelled = Some((running, write_cancelled(&mut tx, running, &event(&row.trace_id)).await?));
        }
        let accept = AcceptTurn { takes_slot: cancelled.is_some(), only_if_free: false, ..accept };
        if turns::accept(&mut *tx, accept).await? != AcceptOutcome::Accepted {
            return Ok(InterruptOutcome::Changed);
        }
        tx.commit().await?;
        Ok::<_, StoreError>(InterruptOutcome::Accepted(cancelled))
    };
    query("interrupt turn", outcome).await
}

fn state(text: &str) -> Result<State, StoreError> {
    State::parse(text).ok_or_else(|| inconsistent("turns.state"))
}

/// An entry of the outbox: the end of a turn that project-storage has to be told.
pub(crate) struct OutboxEntry {
    pub(crate) turn: TurnId,
    pub(crate) end: End,
    /// Project-storage is known to have begun the turn.
    pub(crate) begun: bool,
    /// Empty unless the turn failed.
    pub(crate) failure_reason: String,
}

/// Takes entries of the outbox that are due. Every replica can take them again after `retry`.
pub(crate) async fn take_due(db: &PgPool, limit: i64, retry: Duration) -> Result<Vec<OutboxEntry>, StoreError> {
    let due = sqlx::query!(
        r#"WITH due AS (
            SELECT id FROM turns WHERE end_due IS NOT NULL AND (end_retry_at IS NULL OR end_retry_at <= clock_timestamp())
            ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE turns t SET end_retry_at = clock_timestamp() + $2::float8 * interval '1 second' FROM due WHERE t.id = due.id
        RETURNING t.id, t.end_due AS "end_due!", t.project_id IS NOT NULL AS "begun!", t.failure_reason"#,
        limit,
        retry.as_secs_f64(),
    );
    let rows = query("take outbox", due.fetch_all(db)).await?;
    let end = |text: &str| End::parse(text).ok_or_else(|| inconsistent("turns.end_due"));
    rows.into_iter()
        .map(|row| Ok(OutboxEntry { turn: TurnId(row.id), end: end(&row.end_due)?, begun: row.begun, failure_reason: row.failure_reason }))
        .collect()
}

/// Removes an entry that project-storage has answered.
pub(crate) async fn mark_delivered(db: &PgPool, turn: TurnId) -> Result<(), StoreError> {
    let update = sqlx::query!("UPDATE turns SET end_due = NULL, end_retry_at = NULL WHERE id = $1", turn.0);
    query("settle outbox", update.execute(db)).await.map(drop)
}
