//! GitHub, or a GitHub Enterprise Server: OAuth without an ID token. The person is the numeric id, because names are given to others.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, HttpRequest, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, TokenResponse as _, TokenUrl, basic::BasicClient,
};
use serde::{Deserialize, de::DeserializeOwned};
use url::{ParseError, Url};

use super::{
    flow::Secrets,
    http::Http,
    oidc::token_error,
    person::{Claims, Person, ProviderError},
    settings,
};

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

pub(super) struct GitHub {
    /// The origin of the site.
    issuer: String,
    /// Ends with a slash.
    api: Url,
    client: Client,
    http: Arc<Http>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    pub(super) fn new(settings: &settings::Provider, site: &Url, api: &Url, redirect: &str, http: Arc<Http>) -> Result<Self, ParseError> {
        let client = BasicClient::new(ClientId::new(settings.client_id.clone()))
            .set_client_secret(ClientSecret::new(settings.client_secret.expose().to_owned()))
            .set_auth_uri(AuthUrl::from_url(site.join("login/oauth/authorize")?))
            .set_token_uri(TokenUrl::from_url(site.join("login/oauth/access_token")?))
            .set_redirect_uri(RedirectUrl::new(redirect.to_owned())?);
        let mut api = api.clone();
        if !api.path().ends_with('/') {
            api.set_path(&format!("{}/", api.path()));
        }
        Ok(Self { issuer: site.origin().ascii_serialization(), api, client, http })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn authorization_url(&self, secrets: &Secrets) -> Url {
        let state = secrets.state.expose().to_owned();
        let verifier = PkceCodeVerifier::new(secrets.verifier());
        let request = self.client.authorize_url(|| CsrfToken::new(state));
        let request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        request.add_scope(Scope::new("read:user".to_owned())).add_scope(Scope::new("user:email".to_owned())).url().0
    }

    pub(super) async fn person(&self, code: String, secrets: &Secrets, issuer: &str) -> Result<Person, ProviderError> {
        if !self.is_own(issuer) {
            return Err(ProviderError::Refused("it is of another issuer".to_owned()));
        }
        let request = self.client.exchange_code(AuthorizationCode::new(code));
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier()));
        let tokens = request.request_async(&*self.http).await.map_err(token_error)?;
        let token = tokens.access_token().secret();
        let user: User = self.get("user", token).await?;
        let addresses: Vec<Address> = self.get("user/emails", token).await?;
        let primary = addresses.into_iter().find(|address| address.primary && address.verified);
        Person::new(
            &self.issuer,
            Claims {
                subject: if user.id == 0 { String::new() } else { user.id.to_string() },
                email: primary.map(|address| address.email),
                login: Some(user.login),
                name: user.name,
            },
        )
    }

    /// Whether the issuer of an answer, if it names one, is this site.
    fn is_own(&self, issuer: &str) -> bool {
        issuer.is_empty() || issuer.parse().is_ok_and(|url: Url| url.origin().ascii_serialization() == self.issuer)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, token: &str) -> Result<T, ProviderError> {
        let refused = |why: &str| ProviderError::Refused(format!("{path}: {why}"));
        let url = self.api.join(path).map_err(|error| refused(&error.to_string()))?;
        let request: HttpRequest = http::Request::builder()
            .method(Method::GET)
            .uri(url.as_str())
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .body(Vec::new())
            .map_err(|error| refused(&error.to_string()))?;
        let answer = self.http.send(request).await.map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        match answer.status() {
            StatusCode::OK => serde_json::from_slice(answer.body()).map_err(|_| refused("its answer cannot be read")),
            status if status.is_server_error() => Err(ProviderError::Unavailable(format!("{path}: it answers {}", status.as_u16()))),
            status => Err(refused(&format!("it answers {}", status.as_u16()))),
        }
    }
}
