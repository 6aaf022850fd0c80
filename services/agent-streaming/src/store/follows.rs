//! Followers of turns with `ON_DISCONNECT_CANCEL`.

use std::time::Duration;

use chassis::postgres::query;
use proto::id::{TurnId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

use super::StoreError;

/// Records that the turns have followers, for the given time from now. Skips rows that are locked.
pub(crate) async fn extend(db: &PgPool, turns: &[TurnId], duration: Duration) -> Result<(), StoreError> {
    if turns.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = turns.iter().map(|id| id.0).collect();
    let extend = sqlx::query!(
        "WITH mine AS MATERIALIZED (
            SELECT id FROM turns WHERE id = ANY ($1) AND follow_until IS NOT NULL AND ended_at IS NULL
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE turns t SET follow_until = clock_timestamp() + $2::float8 * interval '1 second' FROM mine WHERE t.id = mine.id",
        &ids,
        duration.as_secs_f64(),
    );
    query("extend follows", extend.execute(db)).await.map(drop)
}

/// A turn without followers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnfollowedTurn {
    pub(crate) turn: TurnId,
    pub(crate) user: UserId,
}

/// Begun turns that have no follower any more and can still be cancelled, the oldest first.
pub(crate) async fn overdue(db: &PgPool, limit: i64) -> Result<Vec<UnfollowedTurn>, StoreError> {
    let overdue = sqlx::query!(
        "SELECT id, user_id FROM turns WHERE follow_until < clock_timestamp() AND ended_at IS NULL AND state <> 'committing'
            AND project_id IS NOT NULL
        ORDER BY id LIMIT $1",
        limit,
    );
    let rows = query("select unfollowed turns", overdue.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| UnfollowedTurn { turn: TurnId(row.id), user: UserId(row.user_id) }).collect())
}
