//! SQL: the only files that hold any. Free functions, one statement each unless they say otherwise.

pub(crate) mod claims;
pub(crate) mod ends;
pub(crate) mod events;
pub(crate) mod follows;
pub(crate) mod partitions;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod turns;

pub(crate) use sqlx::{Error, PgPool as Pool};

/// The schema of this service.
pub(crate) static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// What an error means for a statement that may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The statement will fail every time.
    Lasting,
    /// It did not happen, or nobody knows: the same rows may be sent again.
    Passing,
}

pub(crate) fn trouble(error: &Error) -> Trouble {
    if chassis::postgres::is_transient(error) { Trouble::Passing } else { Trouble::Lasting }
}

/// Whether a unique index said no.
fn is_unique_violation(error: &Error, constraint: &str) -> bool {
    matches!(error, Error::Database(refusal) if refusal.is_unique_violation() && refusal.constraint() == Some(constraint))
}

/// A row that breaks its own table's rules.
fn inconsistent(what: &str) -> Error {
    Error::Decode(format!("inconsistent row: {what}").into())
}
