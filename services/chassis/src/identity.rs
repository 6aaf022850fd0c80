//! Who calls, and for whom: services show each other a caller token on every call, and an access token speaks for a person. A client
//! without a caller token is [`Caller::Direct`]. [`crate::verifier`] checks both tokens.

pub(crate) mod jws;
pub(crate) mod signer;

use std::sync::Arc;

use proto::id::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    pub private_claims: PrivateClaims,
    /// The token itself, to be shown to the next service within the same request.
    pub token: Token,
}

/// The private claims of an access token (RFC 7519, section 4.3): what auth says of a person beyond the claims that every token has.
/// The services give them their meaning.
pub type PrivateClaims = Arc<Map<String, Value>>;

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
    pub jti: String,
    /// Seconds since 1970, as all times here.
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    /// When the person signed in.
    pub auth_time: u64,
    /// All other claims.
    #[serde(flatten)]
    pub private: Map<String, Value>,
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
