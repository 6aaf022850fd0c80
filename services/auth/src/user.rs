//! A person with an account.

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

/// What is known of an account before its password was checked.
pub struct Credentials {
    pub user: User,
    pub password_hash: String,
    /// Somebody signed in to it from this address before.
    pub from_known_address: bool,
}
