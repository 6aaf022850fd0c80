//! All SQL of the service. Free functions over any executor, so that a rule that needs atomicity begins a transaction, calls
//! several of them and commits.

pub mod keys;
pub mod revocations;
pub mod sessions;
pub mod users;

pub use chassis::postgres::{Pool, StoreError, Tx, begin, commit};
use sqlx::migrate::Migrator;

/// Of the service's own database.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
