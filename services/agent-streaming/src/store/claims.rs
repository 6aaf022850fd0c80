//! Claims, leases and the slots of projects. All times are those of the database's clock.

use std::{collections::HashMap, time::Duration};

use chassis::postgres::query;
use proto::{id::TurnId, metadata::Metadata};
use sqlx::{PgPool, types::Json};
use uuid::Uuid;

use super::StoreError;
use crate::{store::turns::Row, turn::Turn};

/// The parameters of a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimOptions<'a> {
    /// The largest number of turns to claim.
    pub(crate) limit: usize,
    pub(crate) lease: Duration,
    /// A turn that project-storage has not begun after this time is claimed, so that it can fail.
    pub(crate) begin_timeout: Duration,
    /// The turns that this process drives already, which it does not claim again. After an outage of the database their leases may have
    /// expired; the next heartbeat extends them.
    pub(crate) driven: &'a [TurnId],
}

/// Claims turns that no worker drives: accepted turns, the first queued turn of each project that has a free slot, turns whose lease has
/// expired, and turns that were not begun in time. An accepted turn is claimed even if the slot is taken: its worker puts it into the
/// queue. Each expired lease counts as a recovery until a step is finished.
pub(crate) async fn claim(db: &PgPool, options: ClaimOptions<'_>) -> Result<Vec<Turn>, StoreError> {
    let driven: Vec<Uuid> = options.driven.iter().map(|id| id.0).collect();
    let claim = sqlx::query_as!(
        Row,
        r#"WITH free AS (
            SELECT t.id FROM turns t
            WHERE t.ended_at IS NULL AND (t.lease_expires_at IS NULL OR t.lease_expires_at <= clock_timestamp())
                AND t.id <> ALL ($4)
                AND CASE
                    WHEN t.project_id IS NULL THEN t.created_at <= clock_timestamp() - $3::float8 * interval '1 second'
                    WHEN t.state = 'queued' THEN NOT EXISTS (
                        SELECT 1 FROM turns o
                        WHERE o.project_id = t.project_id AND o.ended_at IS NULL AND o.id <> t.id
                            AND ((NOT o.goes_first, o.id) < (NOT t.goes_first, t.id) OR o.state IN ('running', 'committing'))
                    )
                    ELSE true
                END
            ORDER BY t.id LIMIT $1 FOR UPDATE OF t SKIP LOCKED
        )
        UPDATE turns t SET epoch = t.epoch + 1, lease_expires_at = clock_timestamp() + $2::float8 * interval '1 second',
            recoveries = t.recoveries + CASE WHEN t.lease_expires_at IS NULL THEN 0 ELSE 1 END
        FROM free WHERE t.id = free.id
        RETURNING t.id, t.user_id, t.project_id, t.draft_id, t.fingerprint, t.prompt, t.agent, t.agent_rule, t.model,
            t.asked_revision, t.reject_if_active, t.goes_first, t.client_message_id, t.metadata AS "metadata: Json<Metadata>",
            t.replaces_turn_id, t.follow_until, t.require_clean_files, t.pinned_paths, t.excluded_paths, t.mode, t.plan, t.tools, t.skills,
            t.selection, t.agent_version, t.provider_key_id,
            t.state, t.epoch, t.recoveries, t.base_revision, t.history, t.revision, t.failure_reason,
            t.last_seq, t.usage, t.trace_id, t.traceparent, t.created_at, t.started_at, t.ended_at"#,
        i64::try_from(options.limit).unwrap_or(i64::MAX),
        options.lease.as_secs_f64(),
        options.begin_timeout.as_secs_f64(),
        &driven,
    );
    query("claim turns", claim.fetch_all(db)).await?.into_iter().map(Turn::try_from).collect()
}

/// The outcome of [`take_slot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Taken,
    /// Another turn has the slot, or is before this one in the queue.
    Busy,
    /// The epoch has moved: another worker has the turn.
    Fenced,
}

/// Takes the project's slot for a turn, unless another turn has it or is before this one in the queue. Does nothing if the turn has the
/// slot already.
pub(crate) async fn take_slot(db: &PgPool, turn: TurnId, epoch: i64) -> Result<Slot, StoreError> {
    let take = sqlx::query!(
        r#"WITH taken AS (
            UPDATE turns t SET state = 'running'
            WHERE t.id = $1 AND t.epoch = $2 AND t.ended_at IS NULL AND (t.state = 'running' OR NOT EXISTS (
                SELECT 1 FROM turns o
                WHERE o.project_id = t.project_id AND o.ended_at IS NULL AND (NOT o.goes_first, o.id) < (NOT t.goes_first, t.id)
            ))
            RETURNING t.id
        )
        SELECT EXISTS (SELECT 1 FROM taken) AS "taken!", EXISTS (SELECT 1 FROM turns WHERE id = $1 AND epoch = $2) AS "ours!""#,
        turn.0,
        epoch,
    );
    match query("take slot", take.fetch_one(db)).await {
        Ok(row) if row.taken => Ok(Slot::Taken),
        Ok(row) if row.ours => Ok(Slot::Busy),
        Ok(_) => Ok(Slot::Fenced),
        Err(error) if error.violates("turns_slot_key") => Ok(Slot::Busy),
        Err(error) => Err(error),
    }
}

/// Extends the leases of the turns that a process drives, given with their epochs. Skips rows that are locked. Returns the turns whose
/// leases were extended.
pub(crate) async fn heartbeat(db: &PgPool, turns: &[(TurnId, i64)], lease: Duration) -> Result<Vec<TurnId>, StoreError> {
    let (ids, epochs) = columns(turns);
    let extend = sqlx::query_scalar!(
        "WITH mine AS MATERIALIZED (
            SELECT t.id FROM turns t JOIN unnest($1::uuid[], $2::bigint[]) AS m(id, epoch) ON m.id = t.id AND m.epoch = t.epoch
            WHERE t.ended_at IS NULL ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
        )
        UPDATE turns t SET lease_expires_at = clock_timestamp() + $3::float8 * interval '1 second' FROM mine WHERE t.id = mine.id
        RETURNING t.id",
        &ids,
        &epochs,
        lease.as_secs_f64(),
    );
    Ok(query("extend leases", extend.fetch_all(db)).await?.into_iter().map(TurnId).collect())
}

/// The current epochs of those turns that exist.
pub(crate) async fn epochs(db: &PgPool, turns: &[TurnId]) -> Result<HashMap<TurnId, i64>, StoreError> {
    let ids: Vec<Uuid> = turns.iter().map(|id| id.0).collect();
    let epochs = sqlx::query!("SELECT id, epoch FROM turns WHERE id = ANY($1)", &ids);
    Ok(query("select epochs", epochs.fetch_all(db)).await?.into_iter().map(|row| (TurnId(row.id), row.epoch)).collect())
}

/// Ends leases, so that another worker can claim the turns at once. It increments the epochs, so that a late heartbeat does not extend
/// the leases again.
pub(crate) async fn release(db: &PgPool, turns: &[(TurnId, i64)]) -> Result<(), StoreError> {
    let (ids, epochs) = columns(turns);
    let release = sqlx::query!(
        "UPDATE turns t SET epoch = t.epoch + 1, lease_expires_at = NULL FROM unnest($1::uuid[], $2::bigint[]) AS m(id, epoch)
        WHERE t.id = m.id AND t.epoch = m.epoch AND t.ended_at IS NULL",
        &ids,
        &epochs,
    );
    query("release leases", release.execute(db)).await.map(drop)
}

fn columns(turns: &[(TurnId, i64)]) -> (Vec<Uuid>, Vec<i64>) {
    turns.iter().map(|(id, epoch)| (id.0, *epoch)).unzip()
}
