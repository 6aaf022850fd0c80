//! Issues access tokens in tests of services other than auth. It has a key of its own, and serves auth's key set and revocations.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::Stream;
use proto::{
    auth::{self, JsonWebKey, auth_service_server::AuthService},
    id::{SessionId, UserId},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Map, Value};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::identity::{AUDIENCE, Claims, ISSUER, TOKEN_TYPE, unix_now};

const KID: &str = "test";

/// Signs access tokens, serves their public key, and streams revocations.
pub struct Issuer {
    ended: watch::Sender<Vec<SessionId>>,
    recorded: Arc<AtomicUsize>,
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
        let (ended, recorded) = (watch::Sender::new(Vec::new()), Arc::new(AtomicUsize::new(0)));
        let service = auth::auth_service_server::AuthServiceServer::new(KeyServer {
            key: public(&pair),
            ended: ended.clone(),
            recorded: Arc::clone(&recorded),
        });
        crate::task::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        Self { ended, recorded, pair, uri }
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

    /// Revokes a session.
    pub fn end(&self, session: SessionId) {
        self.ended.send_modify(|ended| ended.push(session));
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
        let iat = exp - 300;
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: user.to_string(),
            sid: session.to_string(),
            jti: SessionId::generate().to_string(),
            iat,
            nbf: iat,
            exp,
            auth_time: iat,
            private: private.into(),
        };
        let header = serde_json::json!({"alg": "ES256", "typ": TOKEN_TYPE, "kid": KID});
        self.sign(&header.to_string(), &serde_json::to_string(&claims).expect("claims"))
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

struct KeyServer {
    key: JsonWebKey,
    ended: watch::Sender<Vec<SessionId>>,
    recorded: Arc<AtomicUsize>,
}

type Watch = Pin<Box<dyn Stream<Item = Result<auth::WatchRevocationsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AuthService for KeyServer {
    type WatchRevocationsStream = Watch;

    async fn get_key_set(&self, _: Request<auth::GetKeySetRequest>) -> Result<Response<auth::GetKeySetResponse>, Status> {
        Ok(Response::new(auth::GetKeySetResponse { keys: vec![self.key.clone()] }))
    }

    async fn sign_up(&self, _: Request<auth::SignUpRequest>) -> Result<Response<auth::SignUpResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn sign_in(&self, _: Request<auth::SignInRequest>) -> Result<Response<auth::SignInResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn sign_out(&self, _: Request<auth::SignOutRequest>) -> Result<Response<auth::SignOutResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn get_session(&self, _: Request<auth::GetSessionRequest>) -> Result<Response<auth::GetSessionResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn list_sessions(&self, _: Request<auth::ListSessionsRequest>) -> Result<Response<auth::ListSessionsResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn revoke_session(&self, _: Request<auth::RevokeSessionRequest>) -> Result<Response<auth::RevokeSessionResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn revoke_sessions(&self, _: Request<auth::RevokeSessionsRequest>) -> Result<Response<auth::RevokeSessionsResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn change_password(&self, _: Request<auth::ChangePasswordRequest>) -> Result<Response<auth::ChangePasswordResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn create_refresh_token(
        &self,
        _: Request<auth::CreateRefreshTokenRequest>,
    ) -> Result<Response<auth::CreateRefreshTokenResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn record_access_token_use(
        &self,
        _: Request<auth::RecordAccessTokenUseRequest>,
    ) -> Result<Response<auth::RecordAccessTokenUseResponse>, Status> {
        self.recorded.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(auth::RecordAccessTokenUseResponse {}))
    }

    async fn create_access_token(
        &self,
        _: Request<auth::CreateAccessTokenRequest>,
    ) -> Result<Response<auth::CreateAccessTokenResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn verify_email(&self, _: Request<auth::VerifyEmailRequest>) -> Result<Response<auth::VerifyEmailResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn send_verification(
        &self,
        _: Request<auth::SendVerificationRequest>,
    ) -> Result<Response<auth::SendVerificationResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn request_password_reset(
        &self,
        _: Request<auth::RequestPasswordResetRequest>,
    ) -> Result<Response<auth::RequestPasswordResetResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    async fn confirm_password_reset(
        &self,
        _: Request<auth::ConfirmPasswordResetRequest>,
    ) -> Result<Response<auth::ConfirmPasswordResetResponse>, Status> {
        Err(Status::unimplemented("keys only"))
    }

    /// Like auth: the first message has the current cursor, and each revocation after it is sent once.
    async fn watch_revocations(&self, request: Request<auth::WatchRevocationsRequest>) -> Result<Response<Watch>, Status> {
        let ended = self.ended.subscribe();
        let current = ended.borrow().len() as u64;
        let after = request.into_inner().after;
        let from = if after == 0 { current } else { after.min(current) };
        let first = futures::stream::iter([Ok(auth::WatchRevocationsResponse { cursor: from, ..Default::default() })]);
        // The clone of the sender keeps the channel open while the stream is read.
        let rest = futures::stream::unfold((from, self.ended.clone()), move |(cursor, sender)| {
            let mut ended = ended.clone();
            async move {
                ended.wait_for(|all| all.len() as u64 > cursor).await.ok()?;
                let session = *ended.borrow().get(usize::try_from(cursor).ok()?)?;
                let message = auth::WatchRevocationsResponse { cursor: cursor + 1, session_id: session.to_string(), ..Default::default() };
                Some((Ok(message), (cursor + 1, sender)))
            }
        });
        Ok(Response::new(Box::pin(futures::StreamExt::chain(first, rest))))
    }
}
