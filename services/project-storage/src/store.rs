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

pub use chassis::postgres::{Connection, Pool, StoreError, Tx, begin, commit, connection};
use sqlx::migrate::Migrator;

use crate::git::{Corrupt, Oid};

/// The schema.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// The branch that a project is.
pub const MAIN: &str = "refs/heads/main";

impl From<Corrupt> for StoreError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Inconsistent(corrupt.to_string())
    }
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
