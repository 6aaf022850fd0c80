//! All SQL of the service. The functions take any executor, so that a caller can run several of them in one transaction.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod email_tokens;
pub(crate) mod keys;
pub(crate) mod mails;
pub(crate) mod proofs;
pub(crate) mod refresh_tokens;
pub(crate) mod revocations;
pub(crate) mod sessions;
pub(crate) mod users;

pub(crate) use chassis::postgres::{Pool, StoreError, Tx, begin, commit};
use sqlx::migrate::Migrator;

/// The migrations of the service's own database.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
