//! Monitors a service's database. A change is logged once, and the readiness of the service depends on it. The pool itself reports only
//! that it has no connection.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, global, metrics::Gauge};
use sqlx::{ConnectOptions as _, Executor as _, PgPool, Row as _};
use tokio::{sync::watch, time::timeout};

use super::create;
use crate::task;

/// The time between two checks.
const PERIOD: Duration = Duration::from_secs(2);
/// The time limit of a check.
const LIMIT: Duration = Duration::from_secs(2);
/// SQLSTATE: the disk is full.
const DISK_FULL: &str = "53100";

static CONNECTIONS: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    global::meter("chassis")
        .u64_gauge("db.client.connection.count")
        .with_unit("{connection}")
        .with_description("connections of a pool by state; max is the limit")
        .build()
});

/// Whether a statement of this process has failed because the disk is full. Only a write can find out whether it still is.
static FULL: AtomicBool = AtomicBool::new(false);

/// Records the kind of a statement's error.
pub(super) fn note_error(kind: &str) {
    if kind == DISK_FULL {
        FULL.store(true, Ordering::Relaxed);
    }
}

/// Checks the database periodically until its pool is closed. The receiver has the current problem, or `None` without one.
#[must_use]
pub fn watch(pool: &PgPool) -> watch::Receiver<Option<String>> {
    let (sender, receiver) = watch::channel(None);
    task::spawn(monitor(pool.clone(), sender));
    receiver
}

async fn monitor(pool: PgPool, sender: watch::Sender<Option<String>>) {
    let database = create::database(&pool.connect_options()).to_owned();
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = pool.close_event() => return,
            _ = period.tick() => {}
        }
        record_connections(&pool, &database);
        let problem = tokio::select! {
            () = pool.close_event() => return,
            problem = problem(&pool) => problem,
        };
        sender.send_if_modified(|before| {
            match (&before, &problem) {
                (None, Some(problem)) => tracing::error!(database, "the database cannot be used: {problem}"),
                (Some(_), None) => tracing::info!(database, "the database can be used again"),
                _ => {}
            }
            let changed = *before != problem;
            before.clone_from(&problem);
            changed
        });
    }
}

/// The current problem of the database.
async fn problem(pool: &PgPool) -> Option<String> {
    match timeout(LIMIT, is_read_only(pool)).await {
        Ok(Ok(false)) if !FULL.load(Ordering::Relaxed) => return None,
        Ok(Ok(false)) => return is_still_full(pool).await,
        Ok(Ok(true)) => return Some("it is read-only".to_owned()),
        // All connections are in use, or none can be made. A new connection distinguishes these cases.
        Ok(Err(_)) | Err(_) => {}
    }
    match timeout(LIMIT, pool.connect_options().connect()).await {
        Ok(Ok(connection)) => {
            drop(connection);
            None
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

async fn is_read_only(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let statement = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";
    sqlx::query(statement).fetch_one(pool).await?.try_get(0)
}

/// Checks whether the disk is still full: a temporary table with one row needs a new block.
async fn is_still_full(pool: &PgPool) -> Option<String> {
    let write = async {
        let mut transaction = super::begin_in_query(pool).await?;
        transaction.execute("CREATE TEMPORARY TABLE backlot_room ON COMMIT DROP AS SELECT 1").await?;
        transaction.rollback().await
    };
    match timeout(LIMIT, write).await {
        Ok(Ok(())) => {
            FULL.store(false, Ordering::Relaxed);
            None
        }
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

fn record_connections(pool: &PgPool, database: &str) {
    let idle = u64::try_from(pool.num_idle()).unwrap_or_default();
    let used = u64::from(pool.size()).saturating_sub(idle);
    for (state, count) in [("idle", idle), ("used", used), ("max", u64::from(pool.options().get_max_connections()))] {
        let labels =
            [KeyValue::new("db.client.connection.pool.name", database.to_owned()), KeyValue::new("db.client.connection.state", state)];
        CONNECTIONS.record(count, &labels);
    }
}
