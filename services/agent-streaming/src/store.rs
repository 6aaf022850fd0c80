//! SQL: the only files that hold any. Free functions, one statement each unless they say otherwise.

pub(crate) mod claims;
pub(crate) mod ends;
pub(crate) mod events;
pub(crate) mod follows;
pub(crate) mod partitions;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod turns;

pub(crate) use chassis::postgres::{Pool, StoreError};

/// The schema of this service.
pub(crate) static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A row that breaks its own table's rules.
fn inconsistent(what: &str) -> StoreError {
    StoreError::Inconsistent(format!("an inconsistent row: {what}"))
}
