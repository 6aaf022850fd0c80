//! Who calls, and for whom: services show each other a caller token on every call, and an access token speaks for a person. A client
//! without a caller token is [`Caller::Direct`]. [`crate::verifier`] checks both tokens.

pub(crate) mod jws;
pub(crate) mod signer;

use std::sync::Arc;

use proto::{
    auth::Plan,
    id::{SessionId, UserId},
};
use serde::{Deserialize, Serialize};

pub use self::signer::{SignError, Signer};
pub use crate::caller::Caller;
use crate::clock;

/// `iss` of access tokens.
pub const ISSUER: &str = "backlot";
/// `aud` of access tokens.
pub const AUDIENCE: &str = "backlot-internal";
/// `typ` of access tokens (RFC 9068).
pub const TOKEN_TYPE: &str = "at+jwt";
/// How far two clocks may be apart.
pub const LEEWAY_SECONDS: u64 = 30;

/// A person whose access token was good.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub session_id: SessionId,
    pub plan: Plan,
    /// The token itself, to be shown to the next service within the same request.
    pub token: Token,
}

/// A secret text that never shows in a log.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What an access token says; auth signs it, [`crate::verifier::Verifier`] reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// User id.
    pub sub: String,
    /// Session id.
    pub sid: String,
    /// `free`, `pro`, `team` or `enterprise`.
    pub plan: String,
    pub jti: String,
    /// Seconds since 1970, as all times here.
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    /// When the person signed in.
    pub auth_time: u64,
}

/// A plan as tokens spell it.
#[must_use]
pub fn plan_name(plan: Plan) -> &'static str {
    match plan {
        Plan::Unspecified | Plan::Free => "free",
        Plan::Pro => "pro",
        Plan::Team => "team",
        Plan::Enterprise => "enterprise",
    }
}

pub(crate) fn plan_named(name: &str) -> Option<Plan> {
    [Plan::Free, Plan::Pro, Plan::Team, Plan::Enterprise].into_iter().find(|p| plan_name(*p) == name)
}

/// SHA-256, for looking secrets up without keeping them.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

pub(crate) fn unix_now() -> u64 {
    clock::now().unix_timestamp().unsigned_abs()
}
