//! All SQL of this service, as free functions. A function runs one statement unless its comment says otherwise.

pub(crate) mod agents;
pub(crate) mod claims;
pub(crate) mod context;
pub(crate) mod deletions;
pub(crate) mod ends;
pub(crate) mod events;
pub(crate) mod follows;
pub(crate) mod partitions;
pub(crate) mod provider_keys;
pub(crate) mod skills;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod turns;

pub(crate) use chassis::postgres::{Pool, StoreError};

/// The schema of this service.
pub(crate) static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The error for a row that violates the rules of its table.
fn inconsistent(what: &str) -> StoreError {
    StoreError::Inconsistent(format!("an inconsistent row: {what}"))
}
