//! PostgreSQL: free functions over a pool or a transaction, one file per kind of row. SQL stands nowhere else.

pub mod conflicts;
pub mod messages;
pub mod objects;
pub mod previews;
pub mod projects;
pub mod revisions;
pub mod saves;
pub mod sweeps;
pub mod turns;

use sqlx::{PgConnection, PgPool, Postgres, Transaction, migrate::Migrator, pool::PoolConnection};

use crate::git::{Corrupt, Oid};

/// The schema.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Connections to the service's own database.
pub type Pool = PgPool;

/// One connection: of a transaction or of its own.
pub type Connection = PgConnection;

/// What commits or not as one; dropped without [`commit`] it is rolled back.
pub type Tx = Transaction<'static, Postgres>;

/// The branch that a project is.
pub const MAIN: &str = "refs/heads/main";

/// The database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Failure(#[from] sqlx::Error);

impl Failure {
    /// Whether the same call may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        chassis::postgres::is_transient(&self.0)
    }

    /// A row with this key came in between.
    pub fn is_taken(&self, constraint: &str) -> bool {
        self.0.as_database_error().is_some_and(|e| e.is_unique_violation() && e.constraint() == Some(constraint))
    }
}

impl From<Corrupt> for Failure {
    fn from(corrupt: Corrupt) -> Self {
        Self(sqlx::Error::Decode(Box::new(corrupt)))
    }
}

/// Begins a transaction.
pub async fn begin(pool: &Pool) -> Result<Tx, Failure> {
    Ok(chassis::postgres::query("begin", chassis::postgres::begin(pool)).await?)
}

/// Commits it.
pub async fn commit(tx: Tx) -> Result<(), Failure> {
    Ok(chassis::postgres::query("commit", tx.commit()).await?)
}

/// A connection for one statement that some callers have in a transaction.
pub async fn connection(pool: &Pool) -> Result<PoolConnection<Postgres>, Failure> {
    Ok(pool.acquire().await?)
}

/// The id in a column that is empty where there is none.
fn oid_or_none(bytes: &[u8]) -> Result<Option<Oid>, Corrupt> {
    if bytes.is_empty() { Ok(None) } else { Oid::of_bytes(bytes).map(Some) }
}

/// Counters are kept as `integer` and never negative.
fn unsigned(n: i32) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

fn signed(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
