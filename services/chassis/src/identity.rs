//! Who calls, and for whom: the caller token that services show each other on every hop, and the access token that speaks for a
//! person. A client that shows no caller token is [`Caller::Direct`].

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use proto::{
    auth::{GetKeySetRequest, JsonWebKey, Plan, auth_service_client::AuthServiceClient},
    error::{ErrorCode, Fault},
    id::{SessionId, UserId},
};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{client::ServiceChannel, clock, context::Context, secret::ClusterSecret};

/// `iss` of access tokens.
pub const ISSUER: &str = "backlot";
/// `aud` of access tokens.
pub const AUDIENCE: &str = "backlot-internal";
/// `typ` of access tokens (RFC 9068).
pub const TOKEN_TYPE: &str = "at+jwt";
/// How far two clocks may be apart.
const LEEWAY_SECONDS: u64 = 30;
/// How long a caller token lives.
const CALLER_SECONDS: u64 = 60;
/// An unknown key name asks auth again, but not more often than this.
const REFETCH_AFTER: Duration = Duration::from_secs(1);
const CACHED_TOKENS: usize = 10_000;

/// A process that may call another, as the folders are named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Caller {
    /// Not one of ours: a program with an access token, or without.
    Direct,
    Gateway,
    Auth,
    AgentStreaming,
    ProjectStorage,
    RateLimit,
    /// A person with the cluster secret (`backlot token`).
    Operator,
}

impl Caller {
    const NAMED: [Caller; 6] = [Self::Gateway, Self::Auth, Self::AgentStreaming, Self::ProjectStorage, Self::RateLimit, Self::Operator];

    /// The folder's name: `agent-streaming`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Gateway => "gateway",
            Self::Auth => "auth",
            Self::AgentStreaming => "agent-streaming",
            Self::ProjectStorage => "project-storage",
            Self::RateLimit => "rate-limit",
            Self::Operator => "operator",
        }
    }

    /// The caller of a name; nobody is called `direct`.
    #[must_use]
    pub fn named(name: &str) -> Option<Caller> {
        Self::NAMED.into_iter().find(|c| c.name() == name)
    }
}

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

/// What an access token says; auth mints it, [`Verifier`] reads it.
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

fn plan_named(name: &str) -> Option<Plan> {
    [Plan::Free, Plan::Pro, Plan::Team, Plan::Enterprise].into_iter().find(|p| plan_name(*p) == name)
}

/// What a caller token says.
#[derive(Debug, Serialize, Deserialize)]
struct CallerClaims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    /// The address of the client at the edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<IpAddr>,
}

/// Makes the caller tokens of one process.
#[derive(Clone)]
pub struct Signer {
    me: Caller,
    key: EncodingKey,
}

impl Signer {
    #[must_use]
    pub fn new(me: Caller, secret: &ClusterSecret) -> Self {
        Self { me, key: EncodingKey::from_secret(&secret.derive(CALLER_PURPOSE)) }
    }

    /// A token that `to` accepts for a minute; `client` is the address at the edge.
    ///
    /// # Errors
    /// Only if the signature could not be made.
    pub fn sign(&self, to: Caller, client: Option<IpAddr>) -> Result<String, jsonwebtoken::errors::Error> {
        let now = unix_now();
        let claims = CallerClaims { iss: self.me.name().into(), aud: to.name().into(), iat: now, exp: now + CALLER_SECONDS, addr: client };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key)
    }
}

const CALLER_PURPOSE: &str = "caller tokens";

/// Where the keys of access tokens come from.
pub enum Keys {
    /// auth, asked when a key name is unknown.
    Remote(ServiceChannel),
    /// auth itself.
    Local(watch::Receiver<Vec<JsonWebKey>>),
}

/// Checks both kinds of token for one service. Verified access tokens are remembered by their hash until they end.
pub struct Verifier {
    me: Caller,
    caller_key: DecodingKey,
    keys: Keys,
    fetched: tokio::sync::Mutex<Fetched>,
    seen: Cache<[u8; 32], (User, u64)>,
    known: Mutex<Arc<Vec<JsonWebKey>>>,
}

struct Fetched(Option<Instant>);

impl Verifier {
    #[must_use]
    pub fn new(me: Caller, secret: &ClusterSecret, keys: Keys) -> Self {
        Self {
            me,
            caller_key: DecodingKey::from_secret(&secret.derive(CALLER_PURPOSE)),
            keys,
            fetched: tokio::sync::Mutex::new(Fetched(None)),
            seen: Cache::new(CACHED_TOKENS),
            known: Mutex::default(),
        }
    }

    /// Whose caller token this is, and the client's address that it carries.
    ///
    /// # Errors
    /// UNAUTHENTICATED, reason TOKEN_INVALID.
    pub fn caller(&self, token: &str) -> Result<(Caller, Option<IpAddr>), Fault> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[self.me.name()]);
        rules.set_required_spec_claims(&["exp", "aud", "iss"]);
        rules.leeway = LEEWAY_SECONDS;
        let claims = jsonwebtoken::decode::<CallerClaims>(token, &self.caller_key, &rules)
            .map_err(|e| self.refuse(format!("the caller token was not accepted: {e}")))?
            .claims;
        let caller = Caller::named(&claims.iss).ok_or_else(|| self.refuse("the caller token names no known service"))?;
        Ok((caller, claims.addr))
    }

    /// The person behind an access token.
    ///
    /// # Errors
    /// UNAUTHENTICATED, reason TOKEN_INVALID; UNAVAILABLE when auth's keys cannot be had.
    pub async fn user(&self, token: &str) -> Result<User, Fault> {
        let hash = sha256(token.as_bytes());
        if let Some((user, exp)) = self.seen.get(&hash) {
            if unix_now() < exp + LEEWAY_SECONDS {
                return Ok(user);
            }
            self.seen.remove(&hash);
        }
        let claims = self.verify(token).await?;
        let user = User {
            id: claims.sub.parse().map_err(|_| self.refuse("the access token names no user"))?,
            session_id: claims.sid.parse().map_err(|_| self.refuse("the access token names no session"))?,
            plan: plan_named(&claims.plan).ok_or_else(|| self.refuse("the access token names no plan"))?,
            token: Token::new(token),
        };
        self.seen.insert(hash, (user.clone(), claims.exp));
        Ok(user)
    }

    async fn verify(&self, token: &str) -> Result<Claims, Fault> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| self.refuse("this is not an access token"))?;
        if header.alg != Algorithm::ES256 || header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(self.refuse("an access token is ES256 with type at+jwt"));
        }
        let kid = header.kid.ok_or_else(|| self.refuse("the access token names no key"))?;
        let key = self.key(&kid).await?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY_SECONDS;
        let key = DecodingKey::from_ec_components(&key.x, &key.y).map_err(|_| self.refuse("the key is not on its curve"))?;
        jsonwebtoken::decode::<Claims>(token, &key, &rules)
            .map(|data| data.claims)
            .map_err(|e| self.refuse(format!("the access token was not accepted: {e}")))
    }

    async fn key(&self, kid: &str) -> Result<JsonWebKey, Fault> {
        let unknown = || self.refuse("the access token was signed by an unknown key");
        match &self.keys {
            Keys::Local(keys) => keys.borrow().iter().find(|k| k.kid == kid).cloned().ok_or_else(unknown),
            Keys::Remote(channel) => {
                if let Some(key) = self.remembered(kid) {
                    return Ok(key);
                }
                let mut fetched = self.fetched.lock().await;
                if let Some(key) = self.remembered(kid) {
                    return Ok(key);
                }
                if fetched.0.is_some_and(|at| at.elapsed() < REFETCH_AFTER) {
                    return Err(unknown());
                }
                let request = Context::background().request(GetKeySetRequest {});
                let set = AuthServiceClient::new(channel.clone()).get_key_set(request).await.map_err(|status| {
                    let text = format!("auth's keys cannot be read: {}", status.message());
                    Fault::new(self.me.name(), ErrorCode::Unavailable, "UNAVAILABLE", text).retry_after(REFETCH_AFTER)
                })?;
                fetched.0 = Some(Instant::now());
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(set.into_inner().keys);
                self.remembered(kid).ok_or_else(unknown)
            }
        }
    }

    fn remembered(&self, kid: &str) -> Option<JsonWebKey> {
        let known = Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner));
        known.iter().find(|k| k.kid == kid).cloned()
    }

    fn refuse(&self, text: impl Into<String>) -> Fault {
        Fault::new(self.me.name(), ErrorCode::Unauthenticated, "TOKEN_INVALID", text)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier(me: Caller) -> Verifier {
        let (_, keys) = watch::channel(Vec::new());
        Verifier::new(me, &ClusterSecret::of_bytes(&[7; 32]), Keys::Local(keys))
    }

    #[test]
    fn a_caller_token_opens_only_the_service_it_names() {
        let signer = Signer::new(Caller::Gateway, &ClusterSecret::of_bytes(&[7; 32]));
        let address: IpAddr = "192.0.2.7".parse().expect("address");
        let token = signer.sign(Caller::Auth, Some(address)).expect("token");
        assert_eq!(verifier(Caller::Auth).caller(&token).expect("accepted"), (Caller::Gateway, Some(address)));
        assert_eq!(verifier(Caller::RateLimit).caller(&token).expect_err("other audience").reason, "TOKEN_INVALID");
        let other = Signer::new(Caller::Gateway, &ClusterSecret::of_bytes(&[8; 32])).sign(Caller::Auth, None).expect("token");
        assert!(verifier(Caller::Auth).caller(&other).is_err(), "another cluster's token");
    }

    #[tokio::test]
    async fn garbage_is_no_access_token() {
        for token in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(verifier(Caller::Auth).user(token).await.expect_err(token).reason, "TOKEN_INVALID");
        }
    }
}
