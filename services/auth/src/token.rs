//! Access tokens (ES256 JSON Web Tokens with a lifetime of five minutes) and the keys that sign them.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::{
    identity::{Claims, Grant, ISSUER, TOKEN_TYPE},
    secret::{AUTH_KEYS, Bound, ClusterSecret, SealError, Sealer},
};
use proto::auth::JsonWebKey;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::{session::Session, user::User};

/// The lifetime of an access token whose session does not end before.
pub(crate) const LIFETIME: Duration = Duration::minutes(5);

/// Bytes of an uncompressed P-256 point: a tag and two coordinates.
const POINT_BYTES: usize = 65;
const COORDINATE_BYTES: usize = 32;

/// Why a key or a token could not be created or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the cryptography library rejected a key, or the system provided no random bytes")]
    Crypto,
    #[error("the key {0} cannot be decrypted: it was encrypted with another cluster secret")]
    WrongSecret(String),
    #[error("the claims cannot be written as JSON")]
    Claims(#[source] serde_json::Error),
}

/// A key as it is stored in the database.
#[derive(Clone)]
pub(crate) struct StoredKey {
    pub(crate) kid: String,
    /// The uncompressed point.
    pub(crate) public_key: Vec<u8>,
    /// PKCS #8, sealed by [`KeyCipher`].
    pub(crate) sealed_private: Vec<u8>,
    pub(crate) created_at: OffsetDateTime,
}

/// What identifies a stored key, and decides when it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyName {
    pub(crate) kid: String,
    pub(crate) created_at: OffsetDateTime,
}

impl StoredKey {
    /// A new key pair with an encrypted private half.
    ///
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate(cipher: &KeyCipher, now: OffsetDateTime) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| KeyError::Crypto)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).map_err(|_| KeyError::Crypto)?;
        let mut name = [0; 6];
        random.fill(&mut name).map_err(|_| KeyError::Crypto)?;
        let kid = format!("{}-{:02}-{}", now.year(), u8::from(now.month()), BASE64_URL_SAFE_NO_PAD.encode(name));
        Ok(Self {
            public_key: pair.public_key().as_ref().to_vec(),
            sealed_private: cipher.seal(&kid, document.as_ref())?,
            created_at: now,
            kid,
        })
    }

    /// The public half as it is published, or `None` if the row contains no valid point.
    pub(crate) fn public(&self) -> Option<JsonWebKey> {
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

/// Seals private keys. It also opens those of the release before, which encrypted them with a key of the cluster directly.
pub(crate) struct KeyCipher {
    sealer: Sealer,
    /// The keys of the release before, one for each secret that is accepted, the one that signs first.
    before: Vec<LessSafeKey>,
}

impl KeyCipher {
    /// # Errors
    /// Never for auth, because its bundle always has the keys.
    pub(crate) fn new(secret: &ClusterSecret) -> Result<Self, SealError> {
        let key = |bytes: &[u8; 32]| UnboundKey::new(&AES_256_GCM, bytes).ok().map(LessSafeKey::new);
        Ok(Self { sealer: Sealer::new(secret, AUTH_KEYS)?, before: secret.accepted(AUTH_KEYS).iter().filter_map(key).collect() })
    }

    fn seal(&self, kid: &str, private: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sealer.seal(&place(kid), private).map_err(|_| KeyError::Crypto)
    }

    fn open(&self, kid: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match self.sealer.open(&place(kid), sealed) {
            Ok(opened) => Ok(Zeroizing::new(opened.expose().to_vec())),
            Err(_) => self.before.iter().find_map(|key| decrypt(key, kid, sealed)).ok_or_else(|| KeyError::WrongSecret(kid.to_owned())),
        }
    }

    /// The private key of a row, sealed with the secret that signs; `None` if it is already.
    ///
    /// A key that the release before encrypted with that secret stays as it is, because that release may still run.
    ///
    /// # Errors
    /// No secret that is accepted opens it.
    pub(crate) fn renewed(&self, row: &StoredKey) -> Result<Option<Vec<u8>>, KeyError> {
        let is_before = self.before.first().is_some_and(|key| decrypt(key, &row.kid, &row.sealed_private).is_some());
        if is_before {
            return Ok(None);
        }
        match self.sealer.rewrap(&place(&row.kid), &row.sealed_private) {
            Ok(renewed) => Ok(renewed),
            Err(_) => self.seal(&row.kid, &self.open(&row.kid, &row.sealed_private)?).map(Some),
        }
    }
}

fn place(kid: &str) -> Bound<'_> {
    Bound { table: "signing_keys", column: "sealed_private", row: kid, owner: "" }
}

/// The content of a nonce, a ciphertext and its tag, as the release before wrote them.
fn decrypt(key: &LessSafeKey, kid: &str, encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = encrypted.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = Zeroizing::new(body.to_vec());
    let length = key.open_in_place(nonce, Aad::from(kid.as_bytes()), &mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}

/// A key that signs.
pub(crate) struct SigningKey {
    /// The first part of the token, which is the same for all tokens of the key.
    header: String,
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    /// # Errors
    /// The key was encrypted with another cluster secret.
    pub(crate) fn decrypt(stored: &StoredKey, cipher: &KeyCipher) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let private = cipher.open(&stored.kid, &stored.sealed_private)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &random).map_err(|_| KeyError::Crypto)?;
        let header = serde_json::json!({"alg": "ES256", "typ": TOKEN_TYPE, "kid": stored.kid});
        Ok(Self { header: BASE64_URL_SAFE_NO_PAD.encode(header.to_string()), pair, random })
    }

    /// The token with these claims.
    ///
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let body = serde_json::to_vec(claims).map_err(KeyError::Claims)?;
        let mut token = format!("{}.{}", self.header, BASE64_URL_SAFE_NO_PAD.encode(body));
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| KeyError::Crypto)?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

/// When a token that is created now from this session expires: not after the session itself.
pub(crate) fn expiry(session: &Session, now: OffsetDateTime) -> OffsetDateTime {
    (now + LIFETIME).min(session.expires_at)
}

/// The claims of a token for a user and their session. Those of a person may have to be limited, which `required_factor::claims_of` does.
#[must_use]
pub fn claims(user: &User, session: &Session, now: OffsetDateTime) -> Claims {
    let issued = seconds(now);
    let mut private: Map<String, Value> = user.plan.into();
    private.extend(session.impersonator.as_deref().map(chassis::identity::actor));
    if !session.amr.is_empty() {
        private.insert("amr".to_owned(), session.amr.clone().into());
    }
    let grant = session.key.as_ref().map(|key| &key.grant);
    private.extend(grant.map(Grant::claims).unwrap_or_default());
    Claims {
        iss: ISSUER.into(),
        aud: Grant::audience(grant).into(),
        sub: user.id.to_string(),
        sid: session.id.to_string(),
        jti: uuid::Uuid::now_v7().to_string(),
        iat: issued,
        nbf: issued,
        exp: seconds(expiry(session, now)),
        // A program and an operator cannot prove that they are the person. A proof that was forgotten is one of long ago.
        auth_time: if session.is_of_person() { seconds(session.authenticated_at).max(1) } else { 0 },
        private,
    }
}

fn seconds(moment: OffsetDateTime) -> u64 {
    u64::try_from(moment.unix_timestamp()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chassis::{
        identity::Caller,
        verifier::{Keys, Verifier},
    };
    use proto::{auth::Plan, id::UserId};
    use tokio::sync::watch;

    use super::*;
    use crate::session::Key;

    fn cipher(byte: u8) -> KeyCipher {
        KeyCipher::new(&ClusterSecret::of_bytes(&[byte; 32])).expect("cipher")
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
    async fn services_verify_a_signed_token() {
        let now = chassis::clock::now();
        let stored = StoredKey::generate(&cipher(1), now).expect("key");
        let (user, session) = person(now);
        let token = SigningKey::decrypt(&stored, &cipher(1)).expect("decrypted").sign(&claims(&user, &session, now)).expect("token");
        let seen = verifier(&[&stored]).user(&token).await.expect("verified");
        assert_eq!((seen.id, seen.session_id, Plan::from_claims(&seen.private_claims)), (user.id, session.id, Plan::Pro));
        assert!(verifier(&[]).user(&token).await.is_err(), "unknown key");
        let (mut tampered, flip) = (token.clone(), token.len() / 2);
        tampered.replace_range(flip..=flip, if &token[flip..=flip] == "A" { "B" } else { "A" });
        assert!(verifier(&[&stored]).user(&tampered).await.is_err(), "changed in the middle");
    }

    #[tokio::test]
    async fn a_token_outside_its_lifetime_is_refused() {
        let now = chassis::clock::now();
        let stored = StoredKey::generate(&cipher(1), now).expect("key");
        let key = SigningKey::decrypt(&stored, &cipher(1)).expect("decrypted");
        let (user, session) = person(now - Duration::minutes(6));
        let token = key.sign(&claims(&user, &session, session.created_at)).expect("token");
        assert_eq!(verifier(&[&stored]).user(&token).await.expect_err("expired").reason, "TOKEN_INVALID");
        let (user, session) = person(now + Duration::minutes(2));
        let token = key.sign(&claims(&user, &session, session.created_at)).expect("token");
        assert!(verifier(&[&stored]).user(&token).await.is_err(), "not valid yet");
    }

    #[test]
    fn only_the_session_of_a_person_says_when_they_proved_who_they_are() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
        let (user, of_person) = person(now);
        let key = Key { grant: Grant { can_write: true, projects: None }, last_four: "abcd".into() };
        let forgotten = Session { authenticated_at: OffsetDateTime::UNIX_EPOCH, ..of_person.clone() };
        for (session, auth_time) in [
            (of_person, 86_400),
            (forgotten, 1),
            (Session::of_program(user.id, String::new(), now), 0),
            (Session::of_key(user.id, String::new(), key, Duration::days(1), now), 0),
            (Session::impersonate(user.id, "ada", Duration::minutes(5), now), 0),
        ] {
            assert_eq!(claims(&user, &session, now).auth_time, auth_time, "{:?}", session.kind);
        }
    }

    #[test]
    fn a_token_expires_after_five_minutes_or_with_its_session() {
        let (_, session) = person(OffsetDateTime::UNIX_EPOCH);
        let start = session.created_at;
        assert_eq!(expiry(&session, start), start + LIFETIME);
        let late = session.expires_at - Duration::minutes(1);
        assert_eq!(expiry(&session, late), session.expires_at);
    }

    #[test]
    fn a_private_key_is_decrypted_only_with_its_secret_and_its_name() {
        let stored = StoredKey::generate(&cipher(1), OffsetDateTime::UNIX_EPOCH).expect("key");
        assert!(stored.kid.starts_with("1970-01-"), "{}", stored.kid);
        assert!(SigningKey::decrypt(&stored, &cipher(1)).is_ok());
        assert!(matches!(SigningKey::decrypt(&stored, &cipher(2)), Err(KeyError::WrongSecret(_))));
        let renamed = StoredKey { kid: "other".into(), ..stored.clone() };
        assert!(matches!(SigningKey::decrypt(&renamed, &cipher(1)), Err(KeyError::WrongSecret(_))));
        for damaged in [vec![], vec![0; 11], stored.sealed_private[1..].to_vec()] {
            assert!(SigningKey::decrypt(&StoredKey { sealed_private: damaged, ..stored.clone() }, &cipher(1)).is_err());
        }
    }

    /// As the release before wrote a private key.
    fn encrypted_before(secret: &ClusterSecret, stored: &StoredKey, private: &[u8]) -> StoredKey {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret.derive(AUTH_KEYS)).expect("key"));
        let (nonce, mut body) = ([7; NONCE_LEN], private.to_vec());
        let sealed = key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(stored.kid.as_bytes()), &mut body);
        sealed.expect("encrypted");
        StoredKey { sealed_private: [&nonce[..], &body].concat(), ..stored.clone() }
    }

    #[test]
    fn a_key_of_the_release_before_signs_and_is_sealed_when_the_secret_is_replaced() {
        let [old, new] = [1, 2].map(|byte| ClusterSecret::of_bytes(&[byte; 32]));
        let [of_old, of_both, of_new] = [&old, &new.clone().and_previous(&old), &new].map(|secret| KeyCipher::new(secret).expect("cipher"));
        let stored = StoredKey::generate(&of_old, OffsetDateTime::UNIX_EPOCH).expect("key");
        let private = of_old.open(&stored.kid, &stored.sealed_private).expect("opened");
        for row in [encrypted_before(&old, &stored, &private), stored.clone()] {
            assert!(SigningKey::decrypt(&row, &of_old).is_ok() && SigningKey::decrypt(&row, &of_both).is_ok());
            assert!(of_old.renewed(&row).expect("opened").is_none(), "the release before may still run");
            assert!(matches!(of_new.renewed(&row), Err(KeyError::WrongSecret(_))));
            let renewed = of_both.renewed(&row).expect("opened").expect("sealed with the new secret");
            let row = StoredKey { sealed_private: renewed, ..row };
            assert!(SigningKey::decrypt(&row, &of_new).is_ok() && of_both.renewed(&row).expect("opened").is_none());
            assert!(SigningKey::decrypt(&row, &of_old).is_err());
        }
    }
}
