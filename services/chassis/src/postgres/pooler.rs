//! Detects a pooler that pools transactions or statements. Such a pooler breaks the locks, the settings and the prepared statements of a
//! session, but only sometimes, so the check is made at the start. Session pooling works. The check does not depend on the product.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::create;

/// The check is repeated, because the connections of other clients can hide the pooling.
const ROUNDS: u32 = 4;
/// The time limit of a round. A pooler of sessions makes a client wait if it has no connection left.
const LIMIT: Duration = Duration::from_secs(3);
/// A process id that no backend has.
const NO_BACKEND: i32 = 0;

/// Whether two client connections share a backend, or one client connection changes its backend.
pub(super) async fn shares_sessions(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let (mut one, mut other) = (create::open(options).await?, create::open(options).await?);
    let mut shared = false;
    for _ in 0..ROUNDS {
        shared = shared || timeout(LIMIT, shares(&mut one, &mut other)).await.unwrap_or(Ok(false))?;
    }
    // Errors while closing do not matter.
    let _ = tokio::join!(timeout(LIMIT, one.close()), timeout(LIMIT, other.close()));
    Ok(shared)
}

async fn shares(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let before = backend(one).await?;
    if let Err(error) = other.execute("BEGIN").await {
        return if is_statement_pooling(&error) { Ok(true) } else { Err(error) };
    }
    // While the transaction is open, a pooler cannot give its backend to the other connection.
    let meanwhile = backend(other).await?;
    let after = if meanwhile == before { NO_BACKEND } else { backend(one).await? };
    other.execute("ROLLBACK").await?;
    Ok(meanwhile == before || after != before)
}

/// Whether PgBouncer has refused a transaction because it pools statements.
fn is_statement_pooling(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| refusal.message().contains("statement pooling"))
}

/// The process id of the backend. Uses the simple query protocol, which every pooler supports in every mode.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    connection.fetch_one("SELECT pg_backend_pid()").await?.try_get(0)
}
