//! All SQL of the service. The functions take any executor, so that a caller can run several of them in one transaction.

pub(crate) mod account_deletions;
pub(crate) mod accounts;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod device_sign_ins;
pub(crate) mod email_tokens;
pub(crate) mod identities;
pub(crate) mod invites;
pub(crate) mod keys;
pub(crate) mod mails;
pub(crate) mod passkey_ceremonies;
pub(crate) mod passkeys;
pub(crate) mod pending_sign_ins;
pub(crate) mod proofs;
pub(crate) mod provider_flows;
pub(crate) mod refresh_tokens;
pub(crate) mod revocations;
pub(crate) mod sealed;
pub(crate) mod second_factors;
pub(crate) mod service_accounts;
pub(crate) mod sessions;
pub(crate) mod users;
pub(crate) mod ways_in;

pub(crate) use chassis::postgres::{Pool, StoreError, Tx, begin, commit};
/// What each function takes as its database, for those that hand it on.
pub(crate) use sqlx::PgExecutor;
use sqlx::migrate::Migrator;

/// The migrations of the service's own database.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
