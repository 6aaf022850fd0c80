//! All SQL of the service. Free functions over any executor, so that a rule that needs atomicity begins a transaction, calls
//! several of them and commits.

pub mod keys;
pub mod revocations;
pub mod sessions;
pub mod users;

use chassis::postgres::query;
use sqlx::{Postgres, Transaction, migrate::Migrator};

pub use sqlx::PgPool as Pool;

/// Of the service's own database.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// A transaction; dropped without [`commit`] it is rolled back.
pub type Tx = Transaction<'static, Postgres>;

/// The database refused, did not answer, or holds what it should not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    #[error("the database holds a {column} that this version does not know: {value}")]
    Inconsistent { column: &'static str, value: String },
}

impl Error {
    /// Whether a unique constraint of this name refused the row.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.constraint() == Some(constraint))
    }

    /// Whether a later attempt may succeed: no connection, rather than a statement that is wrong.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if chassis::postgres::is_transient(error))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// # Errors
/// No connection could be had.
pub async fn begin(pool: &Pool) -> Result<Tx, Error> {
    Ok(query("begin", chassis::postgres::begin(pool)).await?)
}

/// # Errors
/// The transaction could not be committed, or its outcome is unknown.
pub async fn commit(tx: Tx) -> Result<(), Error> {
    Ok(query("commit", tx.commit()).await?)
}
