//! Issues access tokens in tests of services other than auth. It has a key of its own, and serves auth's key set and revocations.

mod key_server;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::{
    auth::{self, JsonWebKey, Plan},
    id::{SessionId, UserId},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Map, Value};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;

use self::key_server::{KeyServer, Report};
use crate::{
    clock::Timestamp,
    identity::{AUDIENCE, Claims, Grant, ISSUER, LIMITED_AUDIENCE, TOKEN_TYPE, unix_now},
};

const KID: &str = "test";

/// Signs access tokens, serves their public key, and streams revocations.
pub struct Issuer {
    /// `None` while the server does not answer with its keys.
    published: watch::Sender<Option<Vec<JsonWebKey>>>,
    reports: watch::Sender<Vec<Report>>,
    recorded: Arc<AtomicUsize>,
    exchange: watch::Sender<Option<auth::CreateAccessTokenResponse>>,
    exchanges: Arc<AtomicUsize>,
    denies_followers: Arc<AtomicBool>,
    pair: EcdsaKeyPair,
    /// The address of its server: the `auth_url` of the service under test.
    pub uri: http::Uri,
}

impl Issuer {
    /// Starts the server on a free port. It lives as long as the runtime.
    ///
    /// # Panics
    /// No port is free, or no key can be generated.
    pub async fn start() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &SystemRandom::new()).expect("key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let uri = format!("http://{}", listener.local_addr().expect("address")).parse().expect("uri");
        let (reports, recorded) = (watch::Sender::new(Vec::new()), Arc::new(AtomicUsize::new(0)));
        let published = watch::Sender::new(Some(vec![public(&pair)]));
        let (exchange, exchanges) = (watch::Sender::new(None), Arc::new(AtomicUsize::new(0)));
        let denies_followers = Arc::new(AtomicBool::new(false));
        let service = auth::auth_service_server::AuthServiceServer::new(KeyServer {
            published: published.clone(),
            reports: reports.clone(),
            recorded: Arc::clone(&recorded),
            exchange: exchange.clone(),
            exchanges: Arc::clone(&exchanges),
            denies_followers: Arc::clone(&denies_followers),
        });
        crate::task::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        Self { published, reports, recorded, exchange, exchanges, denies_followers, pair, uri }
    }

    /// A token that is valid for five minutes.
    ///
    /// # Panics
    /// If the key does not sign.
    #[must_use]
    pub fn token(&self, user: UserId, private: impl Into<Map<String, Value>>) -> String {
        self.token_until(user, private, unix_now() + 300)
    }

    /// A token that expires at `exp`, in seconds since 1970.
    ///
    /// # Panics
    /// If the key does not sign.
    #[must_use]
    pub fn token_until(&self, user: UserId, private: impl Into<Map<String, Value>>, exp: u64) -> String {
        self.token_of(SessionId::generate(), user, private, exp)
    }

    /// A token of a key that is valid for five minutes.
    ///
    /// # Panics
    /// If the key does not sign.
    #[must_use]
    pub fn token_of_key(&self, user: UserId, private: impl Into<Map<String, Value>>, grant: &Grant) -> String {
        let mut private = private.into();
        private.extend(grant.claims());
        self.token(user, private)
    }

    /// Publishes these keys instead of its own one. With `None` it refuses to answer.
    pub fn publish(&self, keys: Option<Vec<JsonWebKey>>) {
        self.published.send_replace(keys);
    }

    /// Revokes a session.
    pub fn end(&self, session: SessionId) {
        self.reports.send_modify(|reports| reports.push(Report { session, has_ended: true }));
    }

    /// Reports that a session has changed.
    pub fn change(&self, session: SessionId) {
        self.reports.send_modify(|reports| reports.push(Report { session, has_ended: false }));
    }

    /// Answers each exchange of a credential with an access token of this session, which expires after five minutes, until the session ends.
    ///
    /// # Panics
    /// If the key does not sign.
    pub fn answer_exchanges(&self, session: SessionId, user: UserId, plan: Plan) {
        let expires = unix_now() + 300;
        let answer = auth::CreateAccessTokenResponse {
            access_token: self.token_of(session, user, plan, expires),
            expire_time: Some(Timestamp { seconds: i64::try_from(expires).expect("a time"), nanos: 0 }),
            user: Some(auth::User { id: user.to_string(), plan: plan.into(), ..Default::default() }),
            session_id: session.to_string(),
            ..Default::default()
        };
        self.exchange.send_replace(Some(answer));
    }

    /// How often a credential was exchanged, also in vain.
    #[must_use]
    pub fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }

    /// Whether nobody may follow the revocations from now on. Streams that are open go on.
    pub fn deny_followers(&self, denies: bool) {
        self.denies_followers.store(denies, Ordering::SeqCst);
    }

    /// How many uses of access tokens were recorded.
    #[must_use]
    pub fn recorded_uses(&self) -> usize {
        self.recorded.load(Ordering::SeqCst)
    }

    /// A token of this session that expires at `exp`, in seconds since 1970.
    ///
    /// # Panics
    /// If the key does not sign.
    #[must_use]
    pub fn token_of(&self, session: SessionId, user: UserId, private: impl Into<Map<String, Value>>, exp: u64) -> String {
        self.token_with(&Self::claims(session, user, private, exp))
    }

    /// A token of a person who proved at `auth_time` who they are, in seconds since 1970.
    ///
    /// # Panics
    /// If the key does not sign.
    #[must_use]
    pub fn token_proved_at(&self, user: UserId, private: impl Into<Map<String, Value>>, auth_time: u64) -> String {
        let claims = Self::claims(SessionId::generate(), user, private, unix_now() + 300);
        self.token_with(&Claims { auth_time, ..claims })
    }

    fn claims(session: SessionId, user: UserId, private: impl Into<Map<String, Value>>, exp: u64) -> Claims {
        let (iat, private) = (exp - 300, private.into());
        Claims {
            iss: ISSUER.into(),
            aud: if private.contains_key("scope") { LIMITED_AUDIENCE } else { AUDIENCE }.into(),
            sub: user.to_string(),
            sid: session.to_string(),
            jti: SessionId::generate().to_string(),
            iat,
            nbf: iat,
            exp,
            auth_time: iat,
            private,
        }
    }

    fn token_with(&self, claims: &Claims) -> String {
        let header = serde_json::json!({"alg": "ES256", "typ": TOKEN_TYPE, "kid": KID});
        self.sign(&header.to_string(), &serde_json::to_string(claims).expect("claims"))
    }

    /// Signs this header and these claims without a check.
    ///
    /// # Panics
    /// If the key does not sign.
    #[must_use]
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public key of the tokens.
    #[must_use]
    pub fn public(&self) -> JsonWebKey {
        public(&self.pair)
    }
}

fn public(pair: &EcdsaKeyPair) -> JsonWebKey {
    let point = &pair.public_key().as_ref()[1..];
    JsonWebKey {
        kty: "EC".into(),
        crv: "P-256".into(),
        alg: "ES256".into(),
        r#use: "sig".into(),
        kid: KID.into(),
        x: URL_SAFE_NO_PAD.encode(&point[..32]),
        y: URL_SAFE_NO_PAD.encode(&point[32..]),
    }
}
