//! PostgreSQL: functions over a pool or a transaction, one file per kind of row. No other module has SQL.

pub(crate) mod accounts;
pub(crate) mod conflicts;
pub(crate) mod copies;
pub(crate) mod deleted_projects;
pub(crate) mod deletions;
pub(crate) mod deployments;
pub(crate) mod forks;
pub(crate) mod garbage;
pub(crate) mod hashed_files;
pub(crate) mod labels;
pub(crate) mod lineage;
pub(crate) mod locks;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod objects;
pub(crate) mod pending;
pub(crate) mod previews;
pub(crate) mod projects;
pub(crate) mod publish_requests;
pub(crate) mod reactions;
pub(crate) mod reviews;
pub(crate) mod revisions;
pub(crate) mod saves;
pub(crate) mod sessions;
pub(crate) mod sites;
pub(crate) mod sweeps;
pub(crate) mod templates;
pub(crate) mod turns;
pub(crate) mod unpublished_templates;
pub(crate) mod unused_stores;
pub(crate) mod usage;
pub(crate) mod watchers;

pub use chassis::postgres::connection;
pub(crate) use chassis::postgres::{Connection, Pool, StoreError, Tx, begin, commit};
use sqlx::migrate::Migrator;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    git::{Corruption, Oid},
    model::project::{ListKey, Role},
};

/// The schema.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Seconds from 1970 to the last day of 9999, the last year of a timestamp on the wire.
const MAX_TIMESTAMP: i128 = 253_402_214_400;
/// The name of a project's main branch.
pub(crate) const MAIN: &str = "refs/heads/main";

impl From<Corruption> for StoreError {
    fn from(corruption: Corruption) -> Self {
        Self::Inconsistent(corruption.to_string())
    }
}

/// The id in a column that is empty without an id.
fn oid_or_none(bytes: &[u8]) -> Result<Option<Oid>, Corruption> {
    if bytes.is_empty() { Ok(None) } else { Oid::from_bytes(bytes).map(Some) }
}

/// A counter from a column of type `integer`; it is never negative.
fn unsigned(n: i32) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

/// A counter for a column of type `integer`.
fn signed(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// A value for a column with JSON.
fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Inconsistent(error.to_string()))
}

/// A value from a column with JSON.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Inconsistent(error.to_string()))
}

/// The columns of the key of a page whose first rows are the latest. The first page has no key. It starts after the latest possible time.
fn key_columns(after: Option<ListKey>) -> (OffsetDateTime, Uuid) {
    let (micros, id) = after.unwrap_or((MAX_TIMESTAMP * 1_000_000, Uuid::max()));
    (OffsetDateTime::from_unix_timestamp_nanos(micros.saturating_mul(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH), id)
}

/// A role by its number. An unknown number, which a later release may have written, is the lowest role.
fn role(number: i16) -> Role {
    [Role::Owner, Role::Admin, Role::Editor].into_iter().find(|role| *role as i16 == number).unwrap_or(Role::Viewer)
}
