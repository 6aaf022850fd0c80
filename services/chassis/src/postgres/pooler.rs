//! A pooler between us and the server is fine while a connection stays one session. One that lends a connection out for a transaction or
//! a statement breaks what holds for a session: locks, settings, prepared statements. That shows late and at random, so it is found at
//! the start, whatever the pooler's name.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::create;

/// Other clients of the pooler may take the connection that would have told.
const ROUNDS: u32 = 4;
/// A pooler with no connection left lets us wait; whoever waits longer than this has a session to itself.
const LIMIT: Duration = Duration::from_secs(3);
/// A backend that no server has.
const NONE: i32 = 0;

/// Whether two of our connections share one of the server's, or one of ours changes from one to another.
pub(super) async fn shares_sessions(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let (mut one, mut other) = (create::open(options).await?, create::open(options).await?);
    let mut shared = false;
    for _ in 0..ROUNDS {
        shared = shared || timeout(LIMIT, shares(&mut one, &mut other)).await.unwrap_or(Ok(false))?;
    }
    // What they said is known; how they take the farewell does not matter.
    let _ = tokio::join!(timeout(LIMIT, one.close()), timeout(LIMIT, other.close()));
    Ok(shared)
}

async fn shares(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let before = backend(one).await?;
    if let Err(error) = other.execute("BEGIN").await {
        return if is_of_pooler(&error) { Ok(true) } else { Err(error) };
    }
    // While this transaction is open, the other connection cannot have the same backend.
    let meanwhile = backend(other).await?;
    let after = if meanwhile == before { NONE } else { backend(one).await? };
    other.execute("ROLLBACK").await?;
    Ok(meanwhile == before || after != before)
}

/// PgBouncer's word for a transaction where it pools statements.
fn is_of_pooler(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| refusal.message().contains("statement pooling"))
}

/// Asked in the simple protocol, which every pooler understands in every mode.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    connection.fetch_one("SELECT pg_backend_pid()").await?.try_get(0)
}
