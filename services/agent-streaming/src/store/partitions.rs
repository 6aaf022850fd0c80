//! The partitions of the event log: one per day, with a name such as `turn_events_20261122`. The DDL contains only names and bounds that
//! this service derives from dates.

use std::time::Duration;

use chassis::postgres::{begin_in_query, query};
use sqlx::{AssertSqlSafe, PgPool, raw_sql};
use uuid::Uuid;

use super::StoreError;

/// The advisory lock: one replica at a time creates or removes partitions.
const LOCK: i64 = 0x6261_636b_6c6f_7401;

/// A partition with the turn ids from `low` (inclusive) to `high` (exclusive).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) name: String,
    pub(crate) low: Uuid,
    pub(crate) high: Uuid,
}

/// Whether a partition belongs to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartitionState {
    Attached,
    /// A removal was interrupted while it detached the partition.
    Detaching,
    /// A removal was interrupted before it dropped the table.
    Detached,
}

/// The partitions by name, including those whose removal was interrupted.
pub(crate) async fn list(db: &PgPool) -> Result<Vec<(String, PartitionState)>, StoreError> {
    let list = sqlx::query!(
        r#"SELECT c.relname AS "name!", i.inhdetachpending AS "detaching?" FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
        WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname ~ '^turn_events_[0-9]{8}$'
        ORDER BY c.relname"#
    );
    let state = |detaching: Option<bool>| match detaching {
        None => PartitionState::Detached,
        Some(true) => PartitionState::Detaching,
        Some(false) => PartitionState::Attached,
    };
    Ok(query("select partitions", list.fetch_all(db)).await?.into_iter().map(|row| (row.name, state(row.detaching))).collect())
}

/// Creates a table and attaches it as a partition, so that writers of other partitions do not wait. The CHECK constraint spares
/// PostgreSQL a scan of the table.
pub(crate) async fn add(db: &PgPool, partition: &Partition) -> Result<(), StoreError> {
    let Partition { name, low, high } = partition;
    let ddl = format!(
        "CREATE TABLE IF NOT EXISTS {name} (
            LIKE turn_events INCLUDING ALL,
            CONSTRAINT {name}_range CHECK (turn_id >= '{low}' AND turn_id < '{high}')
        );
        ALTER TABLE turn_events ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}');
        ALTER TABLE {name} DROP CONSTRAINT {name}_range;"
    );
    let added = async {
        let mut tx = begin_in_query(db).await?;
        sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).fetch_one(&mut *tx).await?;
        let attached = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'turn_events'::regclass AND c.relname = $1) AS "attached!""#,
            name
        );
        if !attached.fetch_one(&mut *tx).await? {
            raw_sql(AssertSqlSafe(ddl)).execute(&mut *tx).await?;
        }
        tx.commit().await
    };
    query("add partition", added).await
}

/// Whether every turn of the partition ended more than `retention` ago and has no entry in the outbox.
pub(crate) async fn is_expired(db: &PgPool, partition: &Partition, retention: Duration) -> Result<bool, StoreError> {
    let expired = sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (
            SELECT 1 FROM turns WHERE id >= $1 AND id < $2
                AND (ended_at IS NULL OR end_due IS NOT NULL OR ended_at > clock_timestamp() - $3::float8 * interval '1 second')
        ) AS "over!""#,
        partition.low,
        partition.high,
        retention.as_secs_f64(),
    );
    query("check partition", expired.fetch_one(db)).await
}

/// Detaches a partition without blocking readers, then drops it. Continues where an earlier removal stopped. `DETACH … CONCURRENTLY`
/// cannot run in a transaction.
pub(crate) async fn remove(db: &PgPool, name: &str, state: PartitionState) -> Result<(), StoreError> {
    let detach = match state {
        PartitionState::Attached => Some(format!("ALTER TABLE turn_events DETACH PARTITION {name} CONCURRENTLY")),
        PartitionState::Detaching => Some(format!("ALTER TABLE turn_events DETACH PARTITION {name} FINALIZE")),
        PartitionState::Detached => None,
    };
    let removed = async {
        let mut connection = db.acquire().await?;
        let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "locked!""#, LOCK).fetch_one(&mut *connection).await?;
        if !locked {
            return Ok(());
        }
        let mut outcome = Ok(());
        for ddl in detach.into_iter().chain([format!("DROP TABLE {name}")]) {
            outcome = raw_sql(AssertSqlSafe(ddl)).execute(&mut *connection).await.map(drop);
            if outcome.is_err() {
                break;
            }
        }
        sqlx::query!("SELECT pg_advisory_unlock($1)", LOCK).fetch_one(&mut *connection).await?;
        outcome
    };
    query("remove partition", removed).await
}
