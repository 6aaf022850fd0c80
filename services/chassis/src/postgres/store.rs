//! For the stores of all services: their error, and transactions.

use sqlx::{PgConnection, PgPool, Postgres, Transaction, pool::PoolConnection};

use super::query;

/// The pool of connections to the service's own database.
pub type Pool = PgPool;

/// A connection, with or without a transaction.
pub type Connection = PgConnection;

/// A transaction. Dropping it without [`commit`] rolls it back.
pub type Tx = Transaction<'static, Postgres>;

/// The error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database has refused the statement or has not answered.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A row violates a rule of its table, or was written by an unknown release.
    #[error("the database holds {0}")]
    Inconsistent(String),
}

impl StoreError {
    /// Whether the same call may succeed later: there is no connection, the server is starting or stopping, or a lock is held. The statement
    /// may have been executed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if is_transient(error))
    }

    /// Whether the row violates the unique constraint with this name.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_unique_violation() && e.constraint() == Some(constraint))
    }

    /// Whether the row refers to one that does not exist, by the foreign key with this name.
    #[must_use]
    pub fn violates_reference(&self, constraint: &str) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_foreign_key_violation() && e.constraint() == Some(constraint))
    }
}

fn is_transient(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match error {
        // Classes of SQLSTATE: connection, transaction state, rollback, resources, object state, operator intervention, system, internal.
        Database(refusal) => {
            matches!(refusal.code().as_deref().and_then(|code| code.get(..2)), Some("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX"))
        }
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed => true,
        _ => false,
    }
}

/// Begins a transaction, as an operation that [`query`] measures. The future may be dropped at any time, see [`begin_in_query`].
///
/// # Errors
/// There is no connection, or it failed.
pub async fn begin(pool: &Pool) -> Result<Tx, StoreError> {
    query("begin", begin_in_query(pool)).await
}

/// Begins a transaction without a measurement, for a transaction that [`query`] measures as a whole.
///
/// sqlx 0.9 sends no `ROLLBACK` if the future of `BEGIN` is dropped. The connection then returns to the pool with an open transaction, and
/// what later callers write on it is lost. So `BEGIN` runs in a task of its own, which always finishes before the transaction is dropped.
///
/// # Errors
/// There is no connection, or it failed.
#[allow(clippy::disallowed_methods, reason = "the only caller of sqlx's begin")]
pub async fn begin_in_query(pool: &Pool) -> Result<Tx, sqlx::Error> {
    let pool = pool.clone();
    crate::task::spawn(async move { pool.begin().await }).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Commits a transaction.
///
/// # Errors
/// The transaction was not committed, or its outcome is unknown.
pub async fn commit(tx: Tx) -> Result<(), StoreError> {
    query("commit", tx.commit()).await
}

/// A connection without a transaction, for functions that take a connection.
///
/// # Errors
/// There is no connection.
pub async fn connection(pool: &Pool) -> Result<PoolConnection<Postgres>, StoreError> {
    Ok(pool.acquire().await?)
}
