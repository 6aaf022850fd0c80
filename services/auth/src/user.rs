//! Accounts.

use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

/// A person with an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub display_name: String,
    pub plan: Plan,
    pub created_at: OffsetDateTime,
}

/// An account as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) disabled_at: Option<OffsetDateTime>,
}

/// An account as a sign-in finds it, before its password is checked.
pub(crate) struct Credentials {
    pub(crate) user: User,
    /// `None` if the account has no password.
    pub(crate) password_hash: Option<String>,
    /// Whether there was a sign-in to the account from this address before.
    pub(crate) from_known_address: bool,
    /// Whether the address is verified and there were sign-ins before, so that its owner is told about a new client address.
    pub(crate) has_known_addresses: bool,
}
