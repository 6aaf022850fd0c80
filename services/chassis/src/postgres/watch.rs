//! Whether a service's database can be used: asked again and again, said once when it is lost and once when it is back, and told to
//! whoever asks whether the service is ready. The pool itself only says that no connection came in time.

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

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);
/// A server that takes longer to answer is not there.
const LIMIT: Duration = Duration::from_secs(2);
/// SQLSTATE: the disk is full.
const DISK_FULL: &str = "53100";

static CONNECTIONS: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    global::meter("chassis")
        .u64_gauge("db.client.connection.count")
        .with_unit("{connection}")
        .with_description("connections of a pool by state; max is how many there may be")
        .build()
});

/// Some statement of this process found no room; whether there is some again only a write can tell.
static FULL: AtomicBool = AtomicBool::new(false);

/// Takes note of the SQLSTATE of a statement that failed.
pub(super) fn note(kind: &str) {
    if kind == DISK_FULL {
        FULL.store(true, Ordering::Relaxed);
    }
}

/// Looks at the database until its pool is closed. `None` while it can be used, else what is wrong.
#[must_use]
pub fn watch(pool: &PgPool) -> watch::Receiver<Option<String>> {
    let (say, said) = watch::channel(None);
    task::spawn(look(pool.clone(), say));
    said
}

async fn look(pool: PgPool, say: watch::Sender<Option<String>>) {
    let database = create::database(&pool.connect_options()).to_owned();
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = pool.close_event() => return,
            _ = period.tick() => {}
        }
        count(&pool, &database);
        let problem = tokio::select! {
            () = pool.close_event() => return,
            problem = problem(&pool) => problem,
        };
        say.send_if_modified(|before| {
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

/// What is wrong with the database.
async fn problem(pool: &PgPool) -> Option<String> {
    match timeout(LIMIT, is_read_only(pool)).await {
        Ok(Ok(false)) if !FULL.load(Ordering::Relaxed) => return None,
        Ok(Ok(false)) => return is_still_full(pool).await,
        Ok(Ok(true)) => return Some("it is read-only".to_owned()),
        // All connections are in use, or none can be made: a new one tells.
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
    let ask = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";
    sqlx::query(ask).fetch_one(pool).await?.try_get(0)
}

/// A table of one row that nobody sees takes a new block.
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

fn count(pool: &PgPool, database: &str) {
    let idle = u64::try_from(pool.num_idle()).unwrap_or_default();
    let used = u64::from(pool.size()).saturating_sub(idle);
    for (state, count) in [("idle", idle), ("used", used), ("max", u64::from(pool.options().get_max_connections()))] {
        let labels =
            [KeyValue::new("db.client.connection.pool.name", database.to_owned()), KeyValue::new("db.client.connection.state", state)];
        CONNECTIONS.record(count, &labels);
    }
}
