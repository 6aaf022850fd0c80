//! Access tokens: ES256 JSON Web Tokens of five minutes, and the keys that sign them.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::identity::{AUDIENCE, Claims, ISSUER, TOKEN_TYPE};
use proto::auth::JsonWebKey;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use time::{Duration, OffsetDateTime};

use crate::{session::Session, user::User};

/// How long an access token is good, unless its session ends before.
pub const LIFE: Duration = Duration::minutes(5);

/// Bytes of an uncompressed P-256 point: a tag and two coordinates.
const POINT_BYTES: usize = 65;
const COORDINATE_BYTES: usize = 32;

/// Why a key or a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the signature library refused a key or had no randomness")]
    Ring,
    #[error("the key {0} does not open: it was sealed under another cluster secret")]
    Sealed(String),
    #[error("the claims cannot be written as JSON")]
    Claims(#[source] serde_json::Error),
}

/// A key as the database keeps it.
#[derive(Clone)]
pub struct StoredKey {
    pub kid: String,
    /// Uncompressed point.
    pub public_key: Vec<u8>,
    /// PKCS #8, sealed.
    pub sealed_private: Vec<u8>,
    pub created_at: OffsetDateTime,
}

impl StoredKey {
    /// A new key pair, its private half sealed.
    ///
    /// # Errors
    /// Only if the system has no randomness.
    pub fn generate(seal: &Seal, now: OffsetDateTime) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| KeyError::Ring)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).map_err(|_| KeyError::Ring)?;
        let mut name = [0; 6];
        random.fill(&mut name).map_err(|_| KeyError::Ring)?;
        let kid = format!("{}-{:02}-{}", now.year(), u8::from(now.month()), BASE64_URL_SAFE_NO_PAD.encode(name));
        Ok(Self {
            public_key: pair.public_key().as_ref().to_vec(),
            sealed_private: seal.close(&kid, document.as_ref())?,
            created_at: now,
            kid,
        })
    }

    /// The public half as it is published; nothing for a row that holds no point.
    #[must_use]
    pub fn public(&self) -> Option<JsonWebKey> {
        if self.public_key.len() != POINT_BYTES {
            return None;
        }
        let (x, y) = self.public_key[1..].split_at(COORDINATE_BYTES);
        Some(JsonWebKey {
            kty: "EC".into(),
            crv: "P-256".into(),
            alg: "ES256".into(),
            r#use: "sig".into(),
            kid: self.kid.clone(),
            x: BASE64_URL_SAFE_NO_PAD.encode(x),
            y: BASE64_URL_SAFE_NO_PAD.encode(y),
        })
    }
}

/// Closes private keys under a key derived from the cluster's secret. A key's name is bound to it, so that rows cannot be swapped.
pub struct Seal(LessSafeKey);

impl Seal {
    /// # Errors
    /// Never: 32 bytes are a key.
    pub fn new(key: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| KeyError::Ring)?)))
    }

    fn close(&self, kid: &str, private: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Ring)?;
        let mut sealed = private.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(kid.as_bytes()), &mut sealed)
            .map_err(|_| KeyError::Ring)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, kid: &str, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let damaged = || KeyError::Sealed(kid.to_owned());
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut body = body.to_vec();
        let private = self.0.open_in_place(nonce, Aad::from(kid.as_bytes()), &mut body).map_err(|_| damaged())?;
        Ok(private.to_vec())
    }
}

/// A key that signs.
pub struct SigningKey {
    /// The token's first part, the same for every token of the key.
    header: String,
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    /// # Errors
    /// The cluster's secret is not the one that the key was sealed under.
    pub fn open(stored: &StoredKey, seal: &Seal) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let private = seal.open(&stored.kid, &stored.sealed_private)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &random).map_err(|_| KeyError::Ring)?;
        let header = serde_json::json!({"alg": "ES256", "typ": TOKEN_TYPE, "kid": stored.kid});
        Ok(Self { header: BASE64_URL_SAFE_NO_PAD.encode(header.to_string()), pair, random })
    }

    /// The token of these claims.
    ///
    /// # Errors
    /// Only if the system has no randomness.
    pub fn mint(&self, claims: &Claims) -> Result<String, KeyError> {
        let body = serde_json::to_vec(claims).map_err(KeyError::Claims)?;
        let mut token = format!("{}.{}", self.header, BASE64_URL_SAFE_NO_PAD.encode(body));
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| KeyError::Ring)?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

/// When a token ends that is made now from this session: never after the session itself.
#[must_use]
pub fn expiry(session: &Session, now: OffsetDateTime) -> OffsetDateTime {
    (now + LIFE).min(session.expires_at)
}

/// What a token says about a person and their session.
#[must_use]
pub fn claims(user: &User, session: &Session, now: OffsetDateTime) -> Claims {
    let issued = seconds(now);
    Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: user.id.to_string(),
        sid: session.id.to_string(),
        jti: uuid::Uuid::now_v7().to_string(),
        iat: issued,
        nbf: issued,
        exp: seconds(expiry(session, now)),
        auth_time: seconds(session.created_at),
        private: user.plan.into(),
    }
}

fn seconds(moment: OffsetDateTime) -> u64 {
    u64::try_from(moment.unix_timestamp()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chassis::{
        identity::Caller,
        secret::ClusterSecret,
        verifier::{Keys, Verifier},
    };
    use proto::{auth::Plan, id::UserId};
    use tokio::sync::watch;

    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::new(&[byte; 32]).expect("seal")
    }

    fn person(now: OffsetDateTime) -> (User, Session) {
        let user = User { id: UserId::generate(), email: "a@b".into(), display_name: "a".into(), plan: Plan::Pro, created_at: now };
        let session = Session::start(user.id, now);
        (user, session)
    }

    fn verifier(keys: &[&StoredKey]) -> Verifier {
        let (_, keys) = watch::channel(keys.iter().filter_map(|k| k.public()).collect());
        Verifier::new(Caller::AgentStreaming, &ClusterSecret::of_bytes(&[7; 32]), Keys::Local(keys))
    }

    #[tokio::test]
    async fn a_minted_token_is_what_services_verify() {
        let now = chassis::clock::now();
        let stored = StoredKey::generate(&seal(1), now).expect("key");
        let (user, session) = person(now);
        let token = SigningKey::open(&stored, &seal(1)).expect("opens").mint(&claims(&user, &session, now)).expect("token");
        let seen = verifier(&[&stored]).user(&token).await.expect("verified");
        assert_eq!((seen.id, seen.session_id, Plan::from_claims(&seen.private_claims)), (user.id, session.id, Plan::Pro));
        assert!(verifier(&[]).user(&token).await.is_err(), "unknown key");
        let (mut tampered, flip) = (token.clone(), token.len() / 2);
        tampered.replace_range(flip..=flip, if &token[flip..=flip] == "A" { "B" } else { "A" });
        assert!(verifier(&[&stored]).user(&tampered).await.is_err(), "changed in the middle");
    }

    #[tokio::test]
    async fn an_old_token_is_refused() {
        let now = chassis::clock::now();
        let stored = StoredKey::generate(&seal(1), now).expect("key");
        let key = SigningKey::open(&stored, &seal(1)).expect("opens");
        let (user, session) = person(now - Duration::minutes(6));
        let token = key.mint(&claims(&user, &session, session.created_at)).expect("token");
        assert_eq!(verifier(&[&stored]).user(&token).await.expect_err("expired").reason, "TOKEN_INVALID");
        let (user, session) = person(now + Duration::minutes(2));
        let token = key.mint(&claims(&user, &session, session.created_at)).expect("token");
        assert!(verifier(&[&stored]).user(&token).await.is_err(), "not yet");
    }

    #[test]
    fn a_token_lives_five_minutes_and_not_longer_than_its_session() {
        let (_, session) = person(OffsetDateTime::UNIX_EPOCH);
        let start = session.created_at;
        assert_eq!(expiry(&session, start), start + LIFE);
        let late = session.expires_at - Duration::minutes(1);
        assert_eq!(expiry(&session, late), session.expires_at);
    }

    #[test]
    fn a_private_key_opens_only_under_its_secret_and_its_name() {
        let stored = StoredKey::generate(&seal(1), OffsetDateTime::UNIX_EPOCH).expect("key");
        assert!(stored.kid.starts_with("1970-01-"), "{}", stored.kid);
        assert!(SigningKey::open(&stored, &seal(1)).is_ok());
        assert!(matches!(SigningKey::open(&stored, &seal(2)), Err(KeyError::Sealed(_))));
        let renamed = StoredKey { kid: "other".into(), ..stored.clone() };
        assert!(matches!(SigningKey::open(&renamed, &seal(1)), Err(KeyError::Sealed(_))));
        for damaged in [vec![], vec![0; 11], stored.sealed_private[1..].to_vec()] {
            assert!(SigningKey::open(&StoredKey { sealed_private: damaged, ..stored.clone() }, &seal(1)).is_err());
        }
    }
}
