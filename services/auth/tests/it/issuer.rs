//! An issuer of OpenID Connect and a GitHub that tests start. They check what a real one checks, and can be told to misbehave.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::{identity::sha256, task, testing};
use proto::{
    auth::{FinishProviderSignInRequest, FinishProviderSignInResponse, StartProviderSignInRequest, StartProviderSignInResponse},
    error::Fault,
};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::harness::{Client, answer, with_token};

const CLIENT_ID: &str = "backlot-test";
const CLIENT_SECRET: &str = "a client secret of the test";

/// How an answer to a code differs from an honest one.
#[derive(Clone, Copy)]
pub(crate) enum Misbehavior {
    None,
    /// Changes the claims before they are signed.
    Claims(fn(&mut Value)),
    /// The ID token has no signature.
    Unsigned,
    /// The ID token is signed with the secret of the client.
    SignedWithSecret,
    /// The ID token is signed with a key that the issuer does not publish.
    OtherKey,
    NoIdToken,
    /// Every code is accepted with every verifier.
    IgnoresPkce,
    Redirects,
    Huge,
    NeverAnswers,
    Broken,
}

/// What the browser brings back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Returned {
    pub(crate) state: String,
    pub(crate) code: String,
    pub(crate) issuer: String,
}

struct Grant {
    nonce: String,
    challenge: String,
    redirect: String,
    person: Value,
}

struct Shared {
    url: String,
    names_issuer: bool,
    key: EcdsaKeyPair,
    other_key: EcdsaKeyPair,
    grants: Mutex<BTreeMap<String, Grant>>,
    misbehavior: Mutex<Misbehavior>,
    token_requests: Mutex<usize>,
    discovery: Mutex<Option<Value>>,
    user_info: Mutex<Option<Value>>,
}

pub(crate) struct TestIssuer(Arc<Shared>);

/// A claim set of a person whose address the issuer has verified.
pub(crate) fn person(subject: &str, email: &str) -> Value {
    json!({ "sub": subject, "email": email, "email_verified": true, "name": "Ada" })
}

impl TestIssuer {
    pub(crate) async fn start() -> Self {
        Self::with(true).await
    }

    /// `names_issuer`: whether its discovery document promises the parameter `iss`.
    pub(crate) async fn with(names_issuer: bool) -> Self {
        let listener = testing::listener().await;
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let key = || {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("key");
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &SystemRandom::new()).expect("key")
        };
        let shared = Arc::new(Shared {
            url,
            names_issuer,
            key: key(),
            other_key: key(),
            grants: Mutex::default(),
            misbehavior: Mutex::new(Misbehavior::None),
            token_requests: Mutex::default(),
            discovery: Mutex::default(),
            user_info: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/user-info", get(user_info))
            .route("/login/oauth/access_token", post(github_token))
            .route("/api/v3/user", get(github_user))
            .route("/api/v3/user/emails", get(github_emails))
            .with_state(Arc::clone(&shared));
        task::spawn(async move { axum::serve(listener, router).await });
        Self(shared)
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// As an entry of BACKLOT_OIDC_PROVIDERS.
    pub(crate) fn entry(&self, name: &str) -> Value {
        json!({ "name": name, "issuer": self.0.url, "clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET })
    }

    pub(crate) fn misbehave(&self, how: Misbehavior) {
        *self.0.misbehavior.lock().unwrap_or_else(PoisonError::into_inner) = how;
    }

    /// Answers requests for the discovery document with this one.
    pub(crate) fn discover(&self, document: Value) {
        *self.0.discovery.lock().unwrap_or_else(PoisonError::into_inner) = Some(document);
    }

    /// Answers requests for the claims of a person with these; without them it redirects.
    pub(crate) fn tell(&self, claims: Option<Value>) {
        *self.0.user_info.lock().unwrap_or_else(PoisonError::into_inner) = claims;
    }

    /// How many codes were sent here.
    pub(crate) fn token_requests(&self) -> usize {
        *self.0.token_requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The person signs in and agrees.
    pub(crate) fn authorize(&self, url: &str, person: Value) -> Returned {
        let url: Url = url.parse().expect("a URL");
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", CLIENT_ID));
        assert_eq!((query["code_challenge_method"].as_str(), query["code_challenge"].len()), ("S256", 43));
        let code = format!("code-{}", testing_id());
        let grant = Grant {
            nonce: query.get("nonce").cloned().unwrap_or_default(),
            challenge: query["code_challenge"].clone(),
            redirect: query["redirect_uri"].clone(),
            person,
        };
        self.0.grants.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), grant);
        let issuer = if self.0.names_issuer { self.0.url.clone() } else { String::new() };
        Returned { state: query["state"].clone(), code, issuer }
    }
}

fn testing_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn as_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    if let Some(document) = shared.discovery.lock().unwrap_or_else(PoisonError::into_inner).clone() {
        return as_json(&document);
    }
    as_json(&honest_discovery(&shared.url, shared.names_issuer))
}

pub(crate) fn honest_discovery(url: &str, names_issuer: bool) -> Value {
    json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"], "authorization_response_iss_parameter_supported": names_issuer,
    })
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    let point = shared.key.public_key().as_ref();
    let coordinate = |from: usize| BASE64_URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
    as_json(&json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "kid": "1", "x": coordinate(1), "y": coordinate(33) }] }))
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    *shared.token_requests.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    let how = *shared.misbehavior.lock().unwrap_or_else(PoisonError::into_inner);
    match how {
        Misbehavior::Redirects => {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{}/elsewhere", shared.url))]).into_response();
        }
        Misbehavior::Huge => return as_json(&json!({ "access_token": "x".repeat(20 * 1024 * 1024) })),
        Misbehavior::NeverAnswers => std::future::pending().await,
        Misbehavior::Broken => return (StatusCode::BAD_GATEWAY, "<html>").into_response(),
        _ => {}
    }
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{CLIENT_ID}:{}", encoded(CLIENT_SECRET))));
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(grant) = redeem(&shared, &body, matches!(how, Misbehavior::IgnoresPkce)).filter(|_| sent == basic) else {
        return (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], r#"{"error":"invalid_grant"}"#).into_response();
    };
    let now = chassis::clock::now().unix_timestamp();
    let mut claims = json!({ "iss": shared.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": grant.nonce });
    for (name, value) in grant.person.as_object().expect("claims") {
        claims[name] = value.clone();
    }
    if let Misbehavior::Claims(change) = how {
        change(&mut claims);
    }
    let mut tokens = json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 300 });
    if !matches!(how, Misbehavior::NoIdToken) {
        tokens["id_token"] = signed(&shared, how, &claims).into();
    }
    as_json(&tokens)
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The grant of a code, which can be used once, with the verifier of its challenge.
fn redeem(shared: &Shared, body: &[u8], ignores_pkce: bool) -> Option<Grant> {
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let grant = shared.grants.lock().unwrap_or_else(PoisonError::into_inner).remove(form.get("code")?)?;
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(sha256(form.get("code_verifier")?.as_bytes()));
    let is_own = (challenge == grant.challenge || ignores_pkce) && form.get("redirect_uri") == Some(&grant.redirect);
    is_own.then_some(grant)
}

fn signed(shared: &Shared, how: Misbehavior, claims: &Value) -> String {
    let algorithm = match how {
        Misbehavior::Unsigned => "none",
        Misbehavior::SignedWithSecret => "HS256",
        _ => "ES256",
    };
    let header = json!({ "alg": algorithm, "typ": "JWT", "kid": "1" });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(claims));
    let ecdsa = |key: &EcdsaKeyPair| key.sign(&SystemRandom::new(), text.as_bytes()).expect("signature").as_ref().to_vec();
    let signature = match how {
        Misbehavior::Unsigned => Vec::new(),
        Misbehavior::SignedWithSecret => {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes()), text.as_bytes()).as_ref().to_vec()
        }
        Misbehavior::OtherKey => ecdsa(&shared.other_key),
        _ => ecdsa(&shared.key),
    };
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

async fn user_info(State(shared): State<Arc<Shared>>) -> Response {
    match shared.user_info.lock().unwrap_or_else(PoisonError::into_inner).clone() {
        Some(claims) => as_json(&claims),
        None => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{}/elsewhere", shared.url))]).into_response(),
    }
}

async fn github_token(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match redeem(&shared, &body, false) {
        // The person is in the token, so that the other answers know them.
        Some(grant) => {
            let token = BASE64_URL_SAFE_NO_PAD.encode(grant.person.to_string());
            as_json(&json!({ "access_token": token, "token_type": "bearer", "scope": "read:user,user:email" }))
        }
        None => as_json(&json!({ "error": "bad_verification_code" })),
    }
}

fn github_person(headers: &HeaderMap) -> Value {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| text.strip_prefix("Bearer "));
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.expect("a token")).expect("base64");
    serde_json::from_slice(&bytes).expect("a person")
}

async fn github_user(headers: HeaderMap) -> Response {
    as_json(&github_person(&headers)["user"])
}

async fn github_emails(headers: HeaderMap) -> Response {
    as_json(&github_person(&headers)["emails"])
}

impl Client {
    pub(crate) async fn start_at(&self, provider: &str) -> Result<StartProviderSignInResponse, Box<Fault>> {
        self.start_with(StartProviderSignInRequest { provider: provider.into(), ..Default::default() }, None).await
    }

    pub(crate) async fn start_with(
        &self,
        message: StartProviderSignInRequest,
        access_token: Option<&str>,
    ) -> Result<StartProviderSignInResponse, Box<Fault>> {
        let request = self.request(message);
        let request = match access_token {
            Some(token) => with_token(request, token),
            None => request,
        };
        answer(self.client.clone().start_provider_sign_in(request).await)
    }

    /// Completes a sign-in in the browser with this secret.
    pub(crate) async fn finish_at(
        &self,
        provider: &str,
        browser: &str,
        returned: &Returned,
        access_token: Option<&str>,
    ) -> Result<FinishProviderSignInResponse, Box<Fault>> {
        let message = FinishProviderSignInRequest {
            provider: provider.into(),
            browser_secret: browser.into(),
            state: returned.state.clone(),
            code: returned.code.clone(),
            issuer: returned.issuer.clone(),
            ..Default::default()
        };
        let request = self.request(message);
        let request = match access_token {
            Some(token) => with_token(request, token),
            None => request,
        };
        let finished = tokio::time::timeout(Duration::from_secs(60), self.client.clone().finish_provider_sign_in(request)).await;
        answer(finished.expect("in time"))
    }

    /// Signs in at an issuer from the start to the end.
    pub(crate) async fn sign_in_at(
        &self,
        (provider, issuer): (&str, &TestIssuer),
        person: Value,
    ) -> Result<FinishProviderSignInResponse, Box<Fault>> {
        let begun = self.start_at(provider).await?;
        let returned = issuer.authorize(&begun.authorization_url, person);
        self.finish_at(provider, &begun.browser_secret, &returned, None).await
    }

    /// Links an identity from the start to the end.
    pub(crate) async fn link_at(
        &self,
        (provider, issuer): (&str, &TestIssuer),
        person: Value,
        access_token: &str,
    ) -> Result<(), Box<Fault>> {
        let message = StartProviderSignInRequest { provider: provider.into(), link: true, ..Default::default() };
        let begun = self.start_with(message, Some(access_token)).await?;
        let returned = issuer.authorize(&begun.authorization_url, person);
        self.finish_at(provider, &begun.browser_secret, &returned, Some(access_token)).await.map(drop)
    }
}
