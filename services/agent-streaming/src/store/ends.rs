//! Turns that end without their owner's doing, and the outbox that tells project-storage.

use std::time::Duration;

use chassis::postgres::query;
use proto::id::{TurnId, UserId};
use sqlx::PgPool;

use super::{Error, events, inconsistent};
use crate::turn::{Cancel, End, State};

/// Cancels a person's turn in one transaction, whoever drives it. `None`: no such turn. The second statement has a fresh
/// snapshot, so that it sees what the owner wrote while this waited for the row. Returns the seq of `turn.cancelled` if it was
/// written now.
pub(crate) async fn cancel(db: &PgPool, turn: TurnId, user: UserId, payload: &[u8]) -> Result<Option<(Cancel, u32)>, Error> {
    let cancelled = async {
        let mut tx = db.begin().await?;
        let state = sqlx::query_scalar!("SELECT state FROM turns WHERE id = $1 AND user_id = $2 FOR UPDATE", turn.0, user.0);
        let Some(state) = state.fetch_optional(&mut *tx).await? else { return Ok(None) };
        let cancel = Cancel::of(State::parse(&state).ok_or_else(|| inconsistent("turns.state"))?);
        if cancel != Cancel::Now {
            return Ok(Some((cancel, 0)));
        }
        let seq = events::last_seq(&mut *tx, turn).await? + 1;
        sqlx::query!(
            "WITH written AS (INSERT INTO turn_events (turn_id, seq, payload) VALUES ($1, $2, $3))
            UPDATE turns SET state = 'cancelled', epoch = epoch + 1, lease_expires_at = NULL, ended_at = clock_timestamp(), last_seq = $2,
                end_due = 'cancelled', end_retry_at = clock_timestamp()
            WHERE id = $1",
            turn.0,
            i32::try_from(seq).unwrap_or(i32::MAX),
            payload,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Some((cancel, seq)))
    };
    query("cancel turn", cancelled).await
}

/// Takes entries of the outbox that are due; another replica may try them again after `retry`.
pub(crate) async fn take_due(db: &PgPool, limit: i64, retry: Duration) -> Result<Vec<(TurnId, End)>, Error> {
    let due = sqlx::query!(
        r#"WITH due AS (
            SELECT id FROM turns WHERE end_due IS NOT NULL AND (end_retry_at IS NULL OR end_retry_at <= clock_timestamp())
            ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE turns t SET end_retry_at = clock_timestamp() + $2::float8 * interval '1 second' FROM due WHERE t.id = due.id
        RETURNING t.id, t.end_due AS "end_due!""#,
        limit,
        retry.as_secs_f64(),
    );
    let rows = query("take outbox", due.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok((TurnId(row.id), End::parse(&row.end_due).ok_or_else(|| inconsistent("turns.end_due"))?))).collect()
}

/// Project-storage knows.
pub(crate) async fn settle(db: &PgPool, turn: TurnId) -> Result<(), Error> {
    let settle = sqlx::query!("UPDATE turns SET end_due = NULL, end_retry_at = NULL WHERE id = $1", turn.0);
    query("settle outbox", settle.execute(db)).await.map(drop)
}
