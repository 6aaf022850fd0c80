//! Verifies caller tokens and access tokens.

mod remote_keys;

use std::{net::IpAddr, sync::Arc};

use proto::{
    auth::JsonWebKey,
    error::{ErrorCode, Fault},
};
use quick_cache::sync::Cache;
use ring::hmac;
use tokio::sync::watch;

use self::remote_keys::RemoteKeys;
use crate::{
    client::ServiceChannel,
    identity::{
        AUDIENCE, Caller, Claims, Grant, ISSUER, LEEWAY_SECONDS, LIMITED_AUDIENCE, TOKEN_TYPE, Token, User,
        jws::{MAX_BYTES, Problem, Unverified},
        sha256,
        signer::{self, CallerClaims},
        unix_now,
    },
    secret::ClusterSecret,
    tls::{Peer, Tls},
};

const CACHED_TOKENS: usize = 10_000;
/// No access token is valid for longer. Those of auth are valid for five minutes.
const MAX_VALID_SECONDS: u64 = 24 * 60 * 60;

/// The source of the keys of access tokens.
pub enum Keys {
    /// A channel to auth. The keys are fetched when a key id is unknown, and again when they are old.
    Remote(ServiceChannel),
    /// The keys of this process, for auth itself.
    Local(watch::Receiver<Vec<JsonWebKey>>),
}

/// A verified access token.
#[derive(Clone)]
struct Verified {
    user: User,
    exp: u64,
    /// The id of the key that signed it.
    kid: Arc<str>,
}

/// Verifies both kinds of token for one service. Verified access tokens are cached by their hash until they expire or their key leaves.
pub struct Verifier {
    me: Caller,
    /// The keys of each process that may call: one for each secret that is accepted.
    callers: Vec<(Caller, Vec<hmac::Key>)>,
    /// The shared keys, with which callers of the previous release sign. Only a process with the cluster's secret has them.
    shared: Vec<hmac::Key>,
    /// The keys of access tokens that are known.
    keys: watch::Receiver<Vec<JsonWebKey>>,
    /// Where they come from, if not from this process.
    remote: Option<RemoteKeys>,
    pub(crate) tls: Option<Arc<Tls>>,
    verified: Cache<[u8; 32], Verified>,
}

impl Verifier {
    #[must_use]
    pub fn new(me: Caller, secret: &ClusterSecret, keys: Keys) -> Self {
        let hmac = |keys: Vec<[u8; 32]>| keys.into_iter().map(signer::key).collect::<Vec<_>>();
        let (keys, remote) = match keys {
            Keys::Local(keys) => (keys, None),
            Keys::Remote(channel) => {
                let remote = RemoteKeys::new(me, channel);
                (remote.published(), Some(remote))
            }
        };
        Self {
            me,
            callers: Caller::NAMED.into_iter().map(|from| (from, hmac(secret.pair(from, me)))).collect(),
            shared: hmac(secret.shared()),
            keys,
            remote,
            tls: secret.tls(),
            verified: Cache::new(CACHED_TOKENS),
        }
    }

    /// Verifies a caller token. Returns the caller and the client's address in the token.
    ///
    /// # Errors
    /// UNAUTHENTICATED, reason TOKEN_INVALID.
    pub fn caller(&self, token: &str) -> Result<(Caller, Option<IpAddr>), Fault> {
        let refuse = |problem| self.refuse(format!("the caller token was not accepted: {problem}"));
        let token = Unverified::parse(token).map_err(refuse)?;
        let issuer = Caller::named(&token.unverified_claims::<CallerClaims>().map_err(refuse)?.iss);
        let (caller, pairs) = self
            .callers
            .iter()
            .find(|(from, _)| Some(*from) == issuer)
            .ok_or_else(|| self.refuse("the caller token names no known service"))?;
        let of_pair = pairs.iter().find_map(|key| token.hs256(key).or_else(|_| token.second_hs256(key)).ok());
        let of_shared = || self.shared.iter().find_map(|key| token.hs256(key).ok());
        let claims: CallerClaims = of_pair.or_else(of_shared).ok_or_else(|| refuse(Problem::Signature))?;
        if claims.aud != self.me.name() {
            return Err(self.refuse("the caller token is for another service"));
        }
        if is_expired(claims.exp, unix_now()) {
            return Err(self.refuse("the caller token has expired"));
        }
        Ok((*caller, claims.addr))
    }

    /// Verifies a caller token from a connection. With TLS the peer must have the certificate of the role that the token names.
    ///
    /// # Errors
    /// UNAUTHENTICATED, reason TOKEN_INVALID.
    pub fn caller_of(&self, peer: Peer, token: &str) -> Result<(Caller, Option<IpAddr>), Fault> {
        let (caller, client) = self.caller(token)?;
        if peer.may_call_as(caller) {
            return Ok((caller, client));
        }
        Err(self.refuse(format!("a caller token of {} needs its certificate", caller.name())))
    }

    /// Verifies an access token. Returns its user.
    ///
    /// # Errors
    /// UNAUTHENTICATED, reason TOKEN_INVALID; UNAVAILABLE if auth's keys cannot be fetched.
    pub async fn user(&self, token: &str) -> Result<User, Fault> {
        if token.len() > MAX_BYTES {
            return Err(self.refuse(format!("the access token was not accepted: {}", Problem::TooLong)));
        }
        // Before the cache: a token that is known counts only while its key does.
        if let Some(remote) = &self.remote {
            remote.renew().await?;
        }
        let hash = sha256(token.as_bytes());
        if let Some(known) = self.verified.get(&hash) {
            if !is_expired(known.exp, unix_now()) && self.keys.borrow().iter().any(|key| *key.kid == *known.kid) {
                return Ok(known.user);
            }
            self.verified.remove(&hash);
        }
        let (claims, kid) = self.verify(token).await?;
        let grant = Grant::of_token(&claims.aud, &claims.private).map_err(|problem| self.refuse(problem.to_string()))?;
        let user = User {
            id: claims.sub.parse().map_err(|_| self.refuse("the access token names no user"))?,
            session_id: claims.sid.parse().map_err(|_| self.refuse("the access token names no session"))?,
            private_claims: claims.private.into(),
            issued_at: claims.iat,
            auth_time: claims.auth_time,
            grant: grant.map(Arc::new),
            token: Token::new(token),
        };
        self.verified.insert(hash, Verified { user: user.clone(), exp: claims.exp, kid });
        Ok(user)
    }

    /// The claims of a valid token, and the id of its key.
    async fn verify(&self, token: &str) -> Result<(Claims, Arc<str>), Fault> {
        let refuse = |problem| self.refuse(format!("the access token was not accepted: {problem}"));
        let token = Unverified::parse(token).map_err(refuse)?;
        if token.header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(self.refuse("the type of an access token must be at+jwt"));
        }
        let kid = token.header.kid.as_deref().ok_or_else(|| self.refuse("the access token names no key"))?;
        let claims: Claims = token.es256(&self.key(kid).await?).map_err(refuse)?;
        if claims.iss != ISSUER || ![AUDIENCE, LIMITED_AUDIENCE].contains(&claims.aud.as_str()) {
            let text = format!("the issuer of an access token must be {ISSUER} and its audience {AUDIENCE} or {LIMITED_AUDIENCE}");
            return Err(self.refuse(text));
        }
        let now = unix_now();
        if is_expired(claims.exp, now) {
            return Err(self.refuse("the access token has expired"));
        }
        if claims.exp > now + MAX_VALID_SECONDS {
            return Err(self.refuse("the access token is valid for too long"));
        }
        if claims.nbf > now + LEEWAY_SECONDS {
            return Err(self.refuse("the access token is not valid yet"));
        }
        Ok((claims, kid.into()))
    }

    async fn key(&self, kid: &str) -> Result<JsonWebKey, Fault> {
        if let Some(key) = self.known_key(kid) {
            return Ok(key);
        }
        if let Some(remote) = &self.remote {
            remote.look_up().await?;
        }
        self.known_key(kid).ok_or_else(|| self.refuse("the access token was signed by an unknown key"))
    }

    fn known_key(&self, kid: &str) -> Option<JsonWebKey> {
        self.keys.borrow().iter().find(|key| key.kid == kid).cloned()
    }

    /// Lets the keys that were read from auth be older than they are.
    #[cfg(feature = "testing")]
    pub fn age_keys(&self, by: std::time::Duration) {
        if let Some(remote) = &self.remote {
            remote.age(by);
        }
    }

    fn refuse(&self, text: impl Into<String>) -> Fault {
        Fault::new(self.me.name(), ErrorCode::Unauthenticated, "TOKEN_INVALID", text)
    }
}

/// Whether a token has expired, with the leeway for different clocks.
fn is_expired(exp: u64, now: u64) -> bool {
    now >= exp.saturating_add(LEEWAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Signer, jws};

    fn verifier(me: Caller) -> Verifier {
        let (_, keys) = watch::channel(Vec::new());
        Verifier::new(me, &ClusterSecret::of_bytes(&[7; 32]), Keys::Local(keys))
    }

    #[test]
    fn a_caller_token_is_valid_only_for_the_service_it_names() {
        let signer = Signer::new(Caller::Gateway, &ClusterSecret::of_bytes(&[7; 32]));
        let address: IpAddr = "192.0.2.7".parse().expect("address");
        let token = signer.sign(Caller::Auth, Some(address)).expect("token");
        assert_eq!(verifier(Caller::Auth).caller(&token).expect("accepted"), (Caller::Gateway, Some(address)));
        assert_eq!(verifier(Caller::RateLimit).caller(&token).expect_err("other audience").reason, "TOKEN_INVALID");
        let other = Signer::new(Caller::Gateway, &ClusterSecret::of_bytes(&[8; 32])).sign(Caller::Auth, None).expect("token");
        assert!(verifier(Caller::Auth).caller(&other).is_err(), "another cluster's token");
    }

    /// The secret of a role that runs by itself.
    fn bundled(me: Caller, root: &ClusterSecret) -> ClusterSecret {
        let mut env = crate::config::Env::of([("BACKLOT_ROLE_KEYS", root.bundle(me).expect("a bundle"))]);
        let secret = ClusterSecret::read(&mut env, me);
        env.check().expect("good");
        secret
    }

    fn with(me: Caller, secret: &ClusterSecret) -> Verifier {
        Verifier::new(me, secret, Keys::Local(watch::channel(Vec::new()).1))
    }

    const ROLES: [Caller; 6] =
        [Caller::Gateway, Caller::Auth, Caller::AgentStreaming, Caller::ProjectStorage, Caller::RateLimit, Caller::Compile];

    #[test]
    fn roles_with_and_without_a_bundle_understand_each_other() {
        let root = ClusterSecret::of_bytes(&[7; 32]);
        for (from, to) in ROLES.into_iter().flat_map(|from| ROLES.map(|to| (from, to))) {
            for signer in [root.clone(), bundled(from, &root)] {
                let token = Signer::new(from, &signer).sign(to, None).expect("token");
                for secret in [root.clone(), bundled(to, &root)] {
                    assert_eq!(with(to, &secret).caller(&token).expect("accepted").0, from);
                }
                let other = if to == Caller::Auth { Caller::Gateway } else { Caller::Auth };
                assert!(with(other, &root).caller(&token).is_err(), "{from:?} to {to:?}, shown to {other:?}");
            }
        }
        let operator = Signer::new(Caller::Operator, &root).sign(Caller::RateLimit, None).expect("token");
        assert_eq!(with(Caller::RateLimit, &bundled(Caller::RateLimit, &root)).caller(&operator).expect("accepted").0, Caller::Operator);
    }

    #[test]
    fn while_the_secret_is_replaced_every_token_of_both_is_accepted() {
        let [old, new, other] = [7, 8, 9].map(|byte| ClusterSecret::of_bytes(&[byte; 32]));
        // The steps of the replacement: the second secret is known, it signs, and the old one is removed.
        let steps = [old.clone(), old.clone().and_previous(&new), new.clone().and_previous(&old), new.clone()];
        let ways = |root: &ClusterSecret, me| [root.clone(), bundled(me, root)];
        for (a, b) in steps.iter().zip(&steps[1..]) {
            for (from, to) in [(a, a), (a, b), (b, a), (b, b)] {
                for (signer, verifier) in ways(from, Caller::Gateway).iter().flat_map(|s| ways(to, Caller::Auth).map(|v| (s, v))) {
                    let token = Signer::new(Caller::Gateway, signer).sign(Caller::Auth, None).expect("token");
                    assert_eq!(with(Caller::Auth, &verifier).caller(&token).expect("accepted").0, Caller::Gateway);
                    let foreign = Signer::new(Caller::Gateway, &other).sign(Caller::Auth, None).expect("token");
                    assert!(with(Caller::Auth, &verifier).caller(&foreign).is_err());
                }
            }
        }
        let token = Signer::new(Caller::Gateway, &old).sign(Caller::Auth, None).expect("token");
        assert!(with(Caller::Auth, &new).caller(&token).is_err(), "the old secret is removed");
    }

    #[test]
    fn no_key_of_a_bundle_can_sign_as_another_role() {
        let root = ClusterSecret::of_bytes(&[7; 32]);
        for thief in ROLES {
            let stolen = bundled(thief, &root);
            for (from, to) in [Caller::Operator].into_iter().chain(ROLES).flat_map(|from| ROLES.map(|to| (from, to))) {
                if from == thief || to == thief {
                    continue;
                }
                assert!(Signer::new(from, &stolen).sign(to, None).is_err(), "{thief:?} has a key of {from:?} to {to:?}");
                let now = unix_now();
                let claims = signer::CallerClaims { iss: from.name().into(), aud: to.name().into(), iat: now, exp: now + 60, addr: None };
                for key in stolen.keys().map(signer::key) {
                    for token in [jws::sign_hs256(&key, None, &claims), jws::sign_hs256(&key, Some(&key), &claims)] {
                        let token = token.expect("token");
                        for secret in [root.clone(), bundled(to, &root)] {
                            assert!(with(to, &secret).caller(&token).is_err(), "{thief:?} signs as {from:?} to {to:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn tokens_are_compatible_with_the_previous_release() {
        let root = ClusterSecret::of_bytes(&[7; 32]);
        let shared = signer::key(root.derive("caller tokens"));
        let now = unix_now();
        let claims = signer::CallerClaims { iss: "gateway".into(), aud: "auth".into(), iat: now, exp: now + 60, addr: None };
        let old = jws::sign_hs256(&shared, None, &claims).expect("token");
        assert_eq!(with(Caller::Auth, &root).caller(&old).expect("accepted").0, Caller::Gateway);
        assert!(with(Caller::Auth, &bundled(Caller::Auth, &root)).caller(&old).is_err(), "a role with a bundle has no shared key");
        let new = Signer::new(Caller::Gateway, &root).sign(Caller::Auth, None).expect("token");
        let read: signer::CallerClaims =
            Unverified::parse(&new).and_then(|token| token.hs256(&shared)).expect("as the previous release reads it");
        assert_eq!((read.iss.as_str(), read.aud.as_str()), ("gateway", "auth"));
    }

    #[tokio::test]
    async fn an_invalid_access_token_is_refused() {
        for token in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert_eq!(verifier(Caller::Auth).user(token).await.expect_err(token).reason, "TOKEN_INVALID");
        }
    }
}
