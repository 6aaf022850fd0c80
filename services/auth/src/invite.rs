//! Invites to sign up. An operator makes them; one person can use each, once. Only a hash of the token is stored.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::session::SessionSecret;

pub(crate) const DEFAULT_LIFETIME: Duration = Duration::days(7);
pub(crate) const MAX_LIFETIME: Duration = Duration::days(90);

/// An invite without its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invite {
    pub(crate) id: Uuid,
    /// Who may use it; `None`: whoever has the token.
    pub(crate) email: Option<String>,
    pub(crate) created_by: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) used_at: Option<OffsetDateTime>,
    pub(crate) used_by: Option<Uuid>,
    pub(crate) revoked_at: Option<OffsetDateTime>,
}

/// The hash of a token that a client sent.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    SessionSecret::from_client(token.to_owned()).hash()
}
