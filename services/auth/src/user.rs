//! Accounts.

use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

/// Characters of a display name.
pub(crate) const MAX_NAME: usize = 80;

/// A person with an account, or a service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// Empty for a service account.
    pub email: String,
    pub display_name: String,
    pub plan: Plan,
    pub created_at: OffsetDateTime,
}

/// An account as operators and mails see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) disabled_at: Option<OffsetDateTime>,
    /// When somebody proved that they receive mail at the address.
    pub(crate) verified_at: Option<OffsetDateTime>,
    /// The person who owns this service account; `None` for the account of a person.
    pub(crate) owner: Option<UserId>,
}

impl Account {
    /// Whether the account yields its address to whoever proves it: nobody has done so, and no operator has disabled the account.
    pub(crate) fn yields(&self) -> bool {
        self.verified_at.is_none() && self.disabled_at.is_none() && self.owner.is_none()
    }
}

/// An account for a program, as its owner sees it. Nobody signs in to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    pub(crate) id: UserId,
    pub(crate) display_name: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) disabled_at: Option<OffsetDateTime>,
}

/// An account as a sign-in finds it, before its password is checked.
pub(crate) struct Credentials {
    pub(crate) user: User,
    /// `None` if the account has no password.
    pub(crate) password_hash: Option<String>,
    pub(crate) is_disabled: bool,
    /// Whether there was a sign-in to the account from this address before.
    pub(crate) from_known_address: bool,
    /// Whether the address is verified and there were sign-ins before, so that its owner is told about a new client address.
    pub(crate) has_known_addresses: bool,
}
