//! An issuer of OpenID Connect, by discovery: code flow with PKCE. The ID token must be signed by a key of the issuer, for this client, with
//! the nonce of the flow, and must say of the sign-in there what the settings require.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::error::chain;
use oauth2::TokenResponse as _;
use openidconnect::{
    AdditionalProviderMetadata, AuthenticationContextClass, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl, RequestTokenError,
    Scope, TokenResponse as _, UserInfoError,
    core::{
        CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
        CoreIdTokenClaims, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
        CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType, CoreTokenResponse, CoreUserInfoClaims,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use url::{ParseError, Url};

use super::{
    flow::{Secrets, is_issuer},
    http::{Http, HttpError},
    person::{Claims, Person, ProviderError},
    settings,
    strength::Strength,
};

/// How old the documents of an issuer may be at the start of a sign-in, and at its end. Issuers publish a key before they use it.
const MAX_AGE_AT_START: Duration = Duration::from_secs(300);
const MAX_AGE_AT_END: Duration = Duration::from_secs(60);
/// How long an issuer that has failed is not asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// Signatures with a key of the issuer. `none`, and keys that are the secret of the client, are not among them.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What the crate does not read of a discovery document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Extra {
    /// Whether each answer names the issuer (RFC 9207).
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Extra {}

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// The documents of an issuer, or why there were none, and when.
type Known = (Instant, Result<Arc<Metadata>, String>);

pub(super) struct Oidc {
    issuer: IssuerUrl,
    id: ClientId,
    secret: ClientSecret,
    redirect: RedirectUrl,
    strength: Strength,
    http: Arc<Http>,
    known: Mutex<Option<Known>>,
}

impl Oidc {
    pub(super) fn new(
        settings: &settings::Provider,
        issuer: &str,
        strength: &Strength,
        redirect: &str,
        http: Arc<Http>,
    ) -> Result<Self, ParseError> {
        Ok(Self {
            issuer: IssuerUrl::new(issuer.to_owned())?,
            id: ClientId::new(settings.client_id.clone()),
            secret: ClientSecret::new(settings.client_secret.expose().to_owned()),
            redirect: RedirectUrl::new(redirect.to_owned())?,
            strength: strength.clone(),
            http,
            known: Mutex::default(),
        })
    }

    pub(super) fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    pub(super) async fn authorization_url(&self, secrets: &Secrets) -> Result<Url, ProviderError> {
        let metadata = self.metadata(MAX_AGE_AT_START).await?;
        let (state, nonce) = (secrets.state.expose().to_owned(), secrets.nonce());
        let client = self.client(&metadata);
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = client.authorize_url(flow, || CsrfToken::new(state), || Nonce::new(nonce));
        let request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(secrets.verifier())));
        let mut request = request.add_scope(Scope::new("email".to_owned())).add_scope(Scope::new("profile".to_owned()));
        if let Some(max_age) = self.strength.max_age {
            request = request.set_max_age(max_age);
        }
        for acr in &self.strength.acr_values {
            request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
        }
        let (url, ..) = request.url();
        Ok(url)
    }

    pub(super) async fn person(&self, code: String, secrets: &Secrets, issuer: &str) -> Result<Person, ProviderError> {
        let metadata = self.metadata(MAX_AGE_AT_END).await?;
        let is_promised = metadata.additional_metadata().authorization_response_iss_parameter_supported;
        if !is_issuer(self.issuer(), issuer, is_promised) {
            return Err(refused("it is of another issuer, or of none"));
        }
        let client = self.client(&metadata);
        let tokens = self.exchange(&client, code, secrets).await?;
        let id_token = tokens.id_token().ok_or_else(|| refused("it has no ID token"))?;
        let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
        let claims = id_token.claims(&verifier, &Nonce::new(secrets.nonce())).map_err(|error| refused(&chain(&error)))?;
        let (auth_time, acr) = (claims.auth_time().map(|at| at.timestamp()), claims.auth_context_ref().map(|acr| acr.as_str()));
        self.strength.check(auth_time, acr, chassis::clock::now().unix_timestamp())?;
        let mut found = of_id_token(claims);
        // Some issuers have the address only here. The crate compares the subject.
        if claims.email().is_none() && metadata.userinfo_endpoint().is_some() {
            let subject = Some(claims.subject().clone());
            let request = client.user_info(tokens.access_token().clone(), subject).map_err(|error| refused(&chain(&error)))?;
            let info: CoreUserInfoClaims = request.request_async(&*self.http).await.map_err(user_info_error)?;
            found.email = info.email().filter(|_| info.email_verified() == Some(true)).map(|email| email.to_string());
        }
        Person::new(self.issuer(), found)
    }

    async fn exchange(&self, client: &Client, code: String, secrets: &Secrets) -> Result<CoreTokenResponse, ProviderError> {
        let request = client.exchange_code(AuthorizationCode::new(code)).map_err(|error| refused(&chain(&error)))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier()));
        request.request_async(&*self.http).await.map_err(token_error)
    }

    fn client(&self, metadata: &Metadata) -> Client {
        let client = CoreClient::from_provider_metadata(metadata.clone(), self.id.clone(), Some(self.secret.clone()));
        client.set_redirect_uri(self.redirect.clone())
    }

    /// The documents of the issuer. Concurrent calls wait for one request.
    async fn metadata(&self, max_age: Duration) -> Result<Arc<Metadata>, ProviderError> {
        let mut known = self.known.lock().await;
        if let Some((at, found)) = &*known
            && at.elapsed() < if found.is_ok() { max_age } else { PAUSE }
        {
            return found.clone().map_err(ProviderError::Unavailable);
        }
        let found = self.discover().await.map(Arc::new);
        *known = Some((Instant::now(), found.clone()));
        found.map_err(ProviderError::Unavailable)
    }

    async fn discover(&self) -> Result<Metadata, String> {
        let found = Metadata::discover_async(self.issuer.clone(), &*self.http).await;
        let metadata = found.map_err(|error| chain(&error))?;
        if is_as_safe_as(self.issuer.url(), &metadata) { Ok(metadata) } else { Err("an endpoint of it is not https".to_owned()) }
    }
}

/// Whether all endpoints of an https issuer are https, and so as safe as the issuer. A code and the secret of the client are sent there, and
/// keys and claims come from there.
fn is_as_safe_as(issuer: &Url, metadata: &Metadata) -> bool {
    let is_https = |url: &Url| url.scheme() == "https";
    let is_kept = is_https(metadata.authorization_endpoint().url())
        && is_https(metadata.jwks_uri().url())
        && metadata.token_endpoint().is_none_or(|to| is_https(to.url()))
        && metadata.userinfo_endpoint().is_none_or(|to| is_https(to.url()));
    is_kept || !is_https(issuer)
}

fn of_id_token(claims: &CoreIdTokenClaims) -> Claims {
    Claims {
        subject: claims.subject().to_string(),
        email: claims.email().filter(|_| claims.email_verified() == Some(true)).map(|email| email.to_string()),
        login: claims.preferred_username().map(|name| name.to_string()),
        name: claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()),
    }
}

fn refused(why: &str) -> ProviderError {
    ProviderError::Refused(why.to_owned())
}

fn user_info_error(error: UserInfoError<HttpError>) -> ProviderError {
    match error {
        UserInfoError::Request(cause) => ProviderError::Unavailable(chain(&cause)),
        other => refused(&chain(&other)),
    }
}

/// Why a code was not exchanged.
pub(super) fn token_error<R>(error: RequestTokenError<HttpError, R>) -> ProviderError
where
    R: oauth2::ErrorResponse + 'static,
{
    match error {
        RequestTokenError::Request(cause) => ProviderError::Unavailable(chain(&cause)),
        // The text of the provider may have more than its code.
        RequestTokenError::ServerResponse(_) => refused("it does not accept the code"),
        RequestTokenError::Parse(..) => refused("its answer to the code cannot be read"),
        RequestTokenError::Other(cause) => refused(&cause),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://issuer.example";

    fn document() -> Value {
        json!({
            "issuer": ISSUER, "authorization_endpoint": "https://issuer.example/authorize", "token_endpoint": "https://issuer.example/token",
            "userinfo_endpoint": "https://issuer.example/userinfo", "jwks_uri": "https://issuer.example/keys",
            "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    fn is_accepted(issuer: &str, document: &Value) -> bool {
        let metadata: Metadata = serde_json::from_str(&document.to_string()).expect("a document");
        is_as_safe_as(&Url::parse(issuer).expect("url"), &metadata)
    }

    #[test]
    fn every_endpoint_of_an_https_issuer_is_https() {
        assert!(is_accepted(ISSUER, &document()));
        for endpoint in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
            let mut hostile = document();
            hostile[endpoint] = "http://issuer.example/plain".into();
            assert!(!is_accepted(ISSUER, &hostile), "{endpoint}");
            assert!(is_accepted("http://localhost:8080", &hostile), "{endpoint} of an issuer for tests");
        }
        let mut without = document();
        without.as_object_mut().expect("an object").remove("userinfo_endpoint");
        assert!(is_accepted(ISSUER, &without));
    }
}
