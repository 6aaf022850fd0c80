//! All SQL of the service. The functions take any executor, so that a caller can run several of them in one transaction.

pub(crate) mod contents;
pub(crate) mod modules;
pub(crate) mod outlines;
pub(crate) mod packages;
pub(crate) mod pages;
pub(crate) mod sweep;
pub(crate) mod vendored;

pub(crate) use chassis::postgres::{Pool, StoreError, begin, commit};
use sqlx::migrate::Migrator;

/// The migrations of the service's own database.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
