//! Seeded bugs of the appends.

use chassis::{postgres::query, seeded_bug};
use proto::id::TurnId;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Append, Columns, TurnEpoch};
use crate::store::{StoreError, claims};

impl Columns {
    /// Replaces the epochs of the batch by the current ones.
    pub(super) async fn of_current_epochs(mut self, db: &PgPool) -> Result<Self, StoreError> {
        if !seeded_bug::is("skip-fence") && !seeded_bug::is("ignore-the-epoch") {
            return Ok(self);
        }
        let ids: Vec<TurnId> = self.turns.iter().copied().map(TurnId).collect();
        let current = claims::epochs(db, &ids).await?;
        let epoch = |turn: &Uuid| current.get(&TurnId(*turn)).copied().unwrap_or_default();
        self.epochs = self.turns.iter().map(epoch).collect();
        self.event_epochs = self.event_turns.iter().map(epoch).collect();
        Ok(self)
    }

    /// Appends with a join on the epoch and without locking the rows. Returns `None` when the bug is off.
    pub(super) async fn append_without_the_lock(&self, db: &PgPool, appends: &[&Append]) -> Result<Option<Vec<TurnEpoch>>, StoreError> {
        if !seeded_bug::is("join-without-the-lock") {
            return Ok(None);
        }
        let append = sqlx::query_as(
            "WITH found AS MATERIALIZED (
                SELECT t.id, t.epoch FROM turns t JOIN unnest($1::uuid[], $2::bigint[]) AS w(id, epoch) ON w.id = t.id AND w.epoch = t.epoch
            ), written AS (
                INSERT INTO turn_events (turn_id, seq, payload)
                SELECT e.turn_id, e.seq, e.payload FROM unnest($3::uuid[], $4::integer[], $5::bytea[]) AS e(turn_id, seq, payload)
                JOIN found f ON f.id = e.turn_id
                ON CONFLICT DO NOTHING
            )
            SELECT id, epoch FROM found",
        );
        let append = append.bind(&self.turns).bind(&self.epochs).bind(&self.event_turns).bind(&self.event_seqs).bind(&self.payloads);
        let rows: Vec<(Uuid, i64)> = query("append events", append.fetch_all(db)).await?;
        Ok(Some(self.written(appends, &rows)))
    }
}
