//! An issuer of OpenID Connect in this process, at which everybody agrees to sign in. A code contains what its ID token says, so nothing is kept.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use chassis::{clock, identity::sha256, task, testing};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::{Url, form_urlencoded};

/// The name of the provider in the settings.
pub const NAME: &str = "corp";
const CLIENT_ID: &str = "backlot";
/// Seconds.
const LIFETIME: i64 = 300;

/// A running issuer. It stops when it is dropped.
#[derive(Debug)]
pub struct IdentityProvider {
    /// The issuer.
    pub url: String,
    _running: DropGuard,
}

/// What answers need.
struct Issuer {
    url: String,
    key: EcdsaKeyPair,
}

impl IdentityProvider {
    /// # Panics
    /// No port is free, or no key can be generated.
    pub async fn start() -> Self {
        let listener = testing::listener().await;
        let issuer = Arc::new(Issuer::new(format!("http://{}", listener.local_addr().expect("an address"))));
        let (url, stop) = (issuer.url.clone(), CancellationToken::new());
        task::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = Arc::clone(&issuer);
                task::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&issuer), request));
                    // The client may leave.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }));
        Self { url, _running: stop.drop_guard() }
    }

    /// The value of `BACKLOT_OIDC_PROVIDERS`.
    #[must_use]
    pub fn setting(&self) -> String {
        json!([{ "name": NAME, "issuer": self.url, "clientId": CLIENT_ID, "clientSecret": "a client secret of the tests" }]).to_string()
    }

    /// A person with this subject and verified address agrees. Returns the path and the query with which the browser comes back.
    ///
    /// # Errors
    /// The URL does not ask for that.
    pub fn authorize(&self, url: &str, subject: &str, email: &str) -> Result<String> {
        let query: BTreeMap<String, String> = Url::parse(url)?.query_pairs().into_owned().collect();
        let asked = |name: &str| query.get(name).with_context(|| format!("{url} has no {name}"));
        let grant = json!({
            "sub": subject, "email": email, "email_verified": true, "nonce": asked("nonce")?, "challenge": asked("code_challenge")?,
        });
        let mut back = Url::parse(asked("redirect_uri")?)?;
        let code = BASE64_URL_SAFE_NO_PAD.encode(grant.to_string());
        back.query_pairs_mut().append_pair("state", asked("state")?).append_pair("code", &code).append_pair("iss", &self.url);
        Ok(format!("{}?{}", back.path(), back.query().unwrap_or_default()))
    }
}

async fn answer(issuer: Arc<Issuer>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let found = match path.as_str() {
        "/.well-known/openid-configuration" => Some(issuer.discovery()),
        "/keys" => Some(issuer.keys()),
        "/token" => issuer.tokens(&body),
        _ => None,
    };
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let document = found.unwrap_or_else(|| json!({ "error": "invalid_grant" }));
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

impl Issuer {
    fn new(url: String) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &SystemRandom::new()).expect("a key");
        Self { url, key }
    }

    fn discovery(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"], "authorization_response_iss_parameter_supported": true,
        })
    }

    fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let coordinate = |from: usize| BASE64_URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "kid": "1", "x": coordinate(1), "y": coordinate(33) }] })
    }

    /// The tokens of a code, with the verifier of its challenge.
    fn tokens(&self, body: &[u8]) -> Option<Value> {
        let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(form.get("code")?).ok()?).ok()?;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(sha256(form.get("code_verifier")?.as_bytes()));
        if claims["challenge"] != json!(challenge) {
            return None;
        }
        let now = clock::now().unix_timestamp();
        for (name, value) in [("iss", json!(self.url)), ("aud", json!(CLIENT_ID)), ("iat", json!(now)), ("exp", json!(now + LIFETIME))] {
            claims[name] = value;
        }
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&json!({ "alg": "ES256", "typ": "JWT", "kid": "1" })), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        let id_token = format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Some(json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": LIFETIME, "id_token": id_token }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_code_is_exchanged_only_with_its_verifier() {
        let provider = IdentityProvider::start().await;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(sha256(b"verifier"));
        let asked = format!("{}/authorize?redirect_uri=http://localhost/back&state=s&nonce=n&code_challenge={challenge}", provider.url);
        let back = provider.authorize(&asked, "ada", "ada@example.com").unwrap();
        let query: BTreeMap<String, String> =
            Url::parse("http://localhost").unwrap().join(&back).unwrap().query_pairs().into_owned().collect();
        assert!(back.starts_with("/back?state=s&") && query["iss"] == provider.url);
        let issuer = Issuer::new(provider.url.clone());
        let tokens = |verifier: &str| issuer.tokens(format!("code={}&code_verifier={verifier}", query["code"]).as_bytes());
        assert_eq!(tokens("other"), None);
        let tokens = tokens("verifier").unwrap();
        let claims = tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!((&claims["sub"], &claims["nonce"], &claims["iss"]), (&json!("ada"), &json!("n"), &json!(provider.url)));
        assert!(provider.authorize("http://localhost/authorize?state=s", "ada", "ada@example.com").is_err());
    }
}
