//! Turns that end without their owner's doing, and the outbox that tells project-storage.

use std::time::Duration;

use chassis::postgres::{begin_in_query, query};
use proto::id::{TurnId, UserId};
use sqlx::{PgPool, Postgres, Transaction};

use super::{
    StoreError, events, inconsistent,
    turns::{self, Accepted, Begun},
};
use crate::turn::{Cancel, End, State};

/// The bytes of `turn.cancelled` in the log of a turn with this trace id.
pub(crate) type CancelledEvent = fn(trace_id: &str) -> Vec<u8>;

/// Cancels a person's turn in one transaction, whoever drives it. `None`: no such turn. Returns the seq of `turn.cancelled` if
/// it was written now.
pub(crate) async fn cancel(db: &PgPool, turn: TurnId, user: UserId, event: CancelledEvent) -> Result<Option<(Cancel, u32)>, StoreError> {
    let cancelled = async {
        let mut tx = begin_in_query(db).await?;
        let row = sqlx::query!("SELECT state, trace_id FROM turns WHERE id = $1 AND user_id = $2 FOR UPDATE", turn.0, user.0);
        let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let cancel = Cancel::of(state(&row.state)?);
        if cancel != Cancel::Now {
            return Ok(Some((cancel, 0)));
        }
        let seq = write_cancelled(&mut tx, turn, &event(&row.trace_id)).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(Some((cancel, seq)))
    };
    query("cancel turn", cancelled).await
}

/// Ends a locked turn. The statements have a fresh snapshot, so that they see what the owner wrote while the lock was waited
/// for.
async fn write_cancelled(tx: &mut Transaction<'_, Postgres>, turn: TurnId, payload: &[u8]) -> Result<u32, StoreError> {
    let seq = events::last_seq(&mut **tx, turn).await? + 1;
    sqlx::query!(
        "WITH written AS (INSERT INTO turn_events (turn_id, seq, payload) VALUES ($1, $2, $3))
        UPDATE turns SET state = 'cancelled', epoch = epoch + 1, lease_expires_at = NULL, ended_at = clock_timestamp(), last_seq = $2,
            history = NULL, end_due = 'cancelled', end_retry_at = clock_timestamp()
        WHERE id = $1",
        turn.0,
        i32::try_from(seq).unwrap_or(i32::MAX),
        payload,
    )
    .execute(&mut **tx)
    .await?;
    Ok(seq)
}

/// What became of a turn that interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The turn is accepted. The one that it stopped, with the seq of its `turn.cancelled`.
    Accepted(Option<(TurnId, u32)>),
    /// Another person's turn runs.
    Busy(TurnId),
    /// Somebody else accepted or ended it meanwhile.
    Moved,
}

/// Accepts a turn that goes before every waiting one, and stops the running one for it, in one transaction. Only a person's own
/// turn is stopped; one that is committing is waited for.
pub(crate) async fn interrupt(db: &PgPool, begun: Begun<'_>, user: UserId, event: CancelledEvent) -> Result<Interrupted, StoreError> {
    let interrupted = async {
        let mut tx = begin_in_query(db).await?;
        let running = sqlx::query!(
            "SELECT id, user_id, state, trace_id FROM turns WHERE project_id = $1 AND state IN ('running', 'committing') FOR UPDATE",
            begun.project.0,
        );
        let mut stopped = None;
        if let Some(row) = running.fetch_optional(&mut *tx).await?
            && Cancel::of(state(&row.state)?) == Cancel::Now
        {
            let running = TurnId(row.id);
            if row.user_id != user.0 {
                return Ok(Interrupted::Busy(running));
            }
            stopped = Some((running, write_cancelled(&mut tx, running, &event(&row.trace_id)).await?));
        }
        let begun = Begun { takes_slot: stopped.is_some(), only_if_free: false, ..begun };
        if turns::accept(&mut *tx, begun).await? != Accepted::Yes {
            return Ok(Interrupted::Moved);
        }
        tx.commit().await?;
        Ok::<_, StoreError>(Interrupted::Accepted(stopped))
    };
    query("interrupt turn", interrupted).await
}

fn state(text: &str) -> Result<State, StoreError> {
    State::parse(text).ok_or_else(|| inconsistent("turns.state"))
}

/// An entry of the outbox.
pub(crate) struct Due {
    pub(crate) turn: TurnId,
    pub(crate) end: End,
    /// It had its project.
    pub(crate) begun: bool,
    /// Empty unless it failed.
    pub(crate) failure_reason: String,
}

/// Takes entries of the outbox that are due; another replica may try them again after `retry`.
pub(crate) async fn take_due(db: &PgPool, limit: i64, retry: Duration) -> Result<Vec<Due>, StoreError> {
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
    let entry = |end: &str| End::parse(end).ok_or_else(|| inconsistent("turns.end_due"));
    rows.into_iter()
        .map(|row| Ok(Due { turn: TurnId(row.id), end: entry(&row.end_due)?, begun: row.begun, failure_reason: row.failure_reason }))
        .collect()
}

/// Project-storage knows.
pub(crate) async fn settle(db: &PgPool, turn: TurnId) -> Result<(), StoreError> {
    let settle = sqlx::query!("UPDATE turns SET end_due = NULL, end_retry_at = NULL WHERE id = $1", turn.0);
    query("settle outbox", settle.execute(db)).await.map(drop)
}
