//! The identity of callers and users. A service sends a caller token with every call to another service; an access token identifies a
//! user. A client without a caller token is [`Caller::Direct`]. [`crate::verifier`] checks both tokens.

mod grant;
pub(crate) mod jws;
pub(crate) mod signer;

use std::{fmt, sync::Arc};

use proto::id::{ProjectId, SessionId, UserId};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

pub use self::{
    grant::{Grant, InvalidGrant, MAX_PROJECTS, missing_factor_claim},
    signer::{SignError, Signer},
};
pub use crate::caller::Caller;
use crate::clock;

/// `iss` of access tokens.
pub const ISSUER: &str = "backlot";
/// `aud` of access tokens.
pub const AUDIENCE: &str = "backlot-internal";
/// `aud` of access tokens with a [`Grant`], and of sessions whose person has to add a second factor first.
pub const LIMITED_AUDIENCE: &str = "backlot-limited";
/// `typ` of access tokens (RFC 9068).
pub const TOKEN_TYPE: &str = "at+jwt";
/// The private claim of an access token that came from a refresh token: the id of the next refresh token.
pub const REFRESH_TOKEN_CLAIM: &str = "rti";
/// The tolerated difference between two clocks.
pub const LEEWAY_SECONDS: u64 = 30;

/// A user with a valid access token.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub session_id: SessionId,
    pub private_claims: PrivateClaims,
    /// When the token was issued, in seconds since 1970.
    pub issued_at: u64,
    /// When the person last proved who they are in this session, in seconds since 1970. 0 in the session of a program or an operator, and 1 if
    /// the proof was forgotten.
    pub auth_time: u64,
    /// What the token of a key may do. `None` for the token of a session. The gateway leaves it to the services.
    pub grant: Option<Arc<Grant>>,
    /// The access token, which is sent to other services within the same request.
    pub token: Token,
}

/// The private claim of an access token with which an operator acts for the user (RFC 8693, section 4.1).
const ACTOR_CLAIM: &str = "act";

/// The private claim that names the operator who acts for the user.
#[must_use]
pub fn actor(operator: &str) -> (String, Value) {
    (ACTOR_CLAIM.to_owned(), serde_json::json!({ "sub": format!("operator:{operator}") }))
}

impl User {
    /// Whether an operator acts for the user.
    #[must_use]
    pub fn is_impersonated(&self) -> bool {
        self.private_claims.contains_key(ACTOR_CLAIM)
    }

    /// Whether the token is of a session to which a person has signed in themselves: of no program, key or operator.
    #[must_use]
    pub fn is_of_person(&self) -> bool {
        self.auth_time > 0
    }

    /// Whether the person has to add a second factor, and may do little else before ([`Scope::AccountWithoutFactor`](crate::server::Scope)).
    #[must_use]
    pub fn lacks_factor(&self) -> bool {
        grant::lacks_factor(&self.private_claims)
    }

    /// Forgets when the person proved who they are, as auth does. The session stays that of a person.
    pub(crate) fn forget_proof(&mut self) {
        self.auth_time = self.auth_time.min(1);
    }

    /// The only projects that the token reaches. `None` for all of the user.
    #[must_use]
    pub fn projects(&self) -> Option<&[ProjectId]> {
        self.grant.as_ref()?.projects.as_deref()
    }

    /// Whether the token reaches a project, if its user does.
    #[must_use]
    pub fn reaches(&self, project: ProjectId) -> bool {
        self.grant.as_ref().is_none_or(|grant| grant.reaches(project))
    }
}

/// The private claims of an access token (RFC 7519, section 4.3), such as the plan. Only the services interpret them.
pub type PrivateClaims = Arc<Map<String, Value>>;

/// A token. `Debug` does not print it.
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The claims of an access token. auth signs them, and [`crate::verifier::Verifier`] reads them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// User id.
    pub sub: String,
    /// Session id.
    pub sid: String,
    pub jti: String,
    /// Seconds since 1970, like all times here.
    pub iat: u64,
    pub nbf: u64,
    pub exp: u64,
    /// When the user signed in.
    pub auth_time: u64,
    /// All other claims.
    #[serde(flatten, deserialize_with = "unique_claims")]
    pub private: Map<String, Value>,
}

impl Claims {
    /// The claims of the same session while its person has to add a second factor first.
    #[must_use]
    pub fn without_factor(mut self) -> Self {
        self.aud = LIMITED_AUDIENCE.into();
        self.private.extend([missing_factor_claim()]);
        self
    }
}

/// Reads claims and refuses one that occurs twice, as serde does for the other fields.
fn unique_claims<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    struct Claims;

    impl<'de> Visitor<'de> for Claims {
        type Value = Map<String, Value>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("claims")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut claims = Map::new();
            while let Some((name, value)) = members.next_entry::<String, Value>()? {
                if claims.insert(name, value).is_some() {
                    return Err(A::Error::custom("a claim occurs twice"));
                }
            }
            Ok(claims)
        }
    }

    deserializer.deserialize_map(Claims)
}

/// The SHA-256 hash. It serves to look up secrets without storing them.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

pub(crate) fn unix_now() -> u64 {
    clock::now().unix_timestamp().unsigned_abs()
}
