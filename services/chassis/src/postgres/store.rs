//! What all stores share: their one error, and transactions.

use sqlx::{PgConnection, PgPool, Postgres, Transaction, pool::PoolConnection};

use super::query;

/// Connections to the service's own database.
pub type Pool = PgPool;

/// One connection: of a transaction, or by itself.
pub type Connection = PgConnection;

/// A transaction. It is rolled back if it is dropped without [`commit`].
pub type Tx = Transaction<'static, Postgres>;

/// Why a store could not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused the statement or did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A row breaks a rule of its own table, or was written by a version that this one does not know.
    #[error("the database holds {0}")]
    Inconsistent(String),
}

impl StoreError {
    /// Whether the same call may succeed a moment later: there is no connection, the server is stopping or starting, or a lock is held.
    /// Whether the statement was carried out is not known.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if is_transient(error))
    }

    /// Whether a unique constraint of this name refused the row.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_unique_violation() && e.constraint() == Some(constraint))
    }
}

fn is_transient(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match error {
        // Connection, transaction state, rollback, resources, locks, operator, system, internal.
        Database(refusal) => {
            matches!(refusal.code().as_deref().and_then(|code| code.get(..2)), Some("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX"))
        }
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed => true,
        _ => false,
    }
}

/// Begins a transaction. The caller may be dropped at any moment, also while `BEGIN` is being sent.
///
/// # Errors
/// There was no connection, or it broke.
pub async fn begin(pool: &Pool) -> Result<Tx, StoreError> {
    query("begin", begin_in_query(pool)).await
}

/// Begins a transaction inside of an operation that [`query`] measures as one.
///
/// sqlx 0.9 sends no `ROLLBACK` for a `BEGIN` whose future was dropped. The connection goes back to the pool inside of a transaction, and
/// what later callers write on it is lost with the connection. In a task of its own the transaction is always begun before it is dropped.
///
/// # Errors
/// There was no connection, or it broke.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub async fn begin_in_query(pool: &Pool) -> Result<Tx, sqlx::Error> {
    let pool = pool.clone();
    crate::task::spawn(async move { pool.begin().await }).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Commits a transaction.
///
/// # Errors
/// The transaction was not committed, or its outcome is not known.
pub async fn commit(tx: Tx) -> Result<(), StoreError> {
    query("commit", tx.commit()).await
}

/// A connection for one statement that other callers run in a transaction.
///
/// # Errors
/// There was no connection.
pub async fn connection(pool: &Pool) -> Result<PoolConnection<Postgres>, StoreError> {
    Ok(pool.acquire().await?)
}
