//! Providers with whose accounts people sign in: GitHub, and issuers of OpenID Connect.
//!
//! - [`settings`]: which there are. [`flow`]: the secrets of one sign-in, and the rules for its answer.
//! - [`oidc`], [`github`]: how an answer becomes a [`Person`]. [`strength`]: what an issuer must say about a sign-in there.
//! - [`person`]: persons and their identities. [`http`]: the requests to a provider.

pub(crate) mod flow;
mod github;
mod http;
mod oidc;
pub(crate) mod person;
pub(crate) mod settings;
mod strength;

use std::sync::Arc;

use url::Url;

use self::{
    flow::Secrets,
    github::GitHub,
    http::Http,
    oidc::Oidc,
    person::{Person, ProviderError},
    settings::{Kind, Settings},
};
use crate::error::Error;

/// A configured provider.
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(crate) title: String,
    client: Client,
}

enum Client {
    GitHub(Box<GitHub>),
    Oidc(Box<Oidc>),
}

impl Provider {
    /// The issuer in the key of a person.
    pub(crate) fn issuer(&self) -> &str {
        match &self.client {
            Client::GitHub(github) => github.issuer(),
            Client::Oidc(oidc) => oidc.issuer(),
        }
    }

    /// Where the browser goes.
    ///
    /// # Errors
    /// PROVIDER_UNAVAILABLE.
    pub(crate) async fn authorization_url(&self, secrets: &Secrets) -> Result<Url, Error> {
        let url = match &self.client {
            Client::GitHub(github) => Ok(github.authorization_url(secrets)),
            Client::Oidc(oidc) => oidc.authorization_url(secrets).await,
        };
        url.map_err(|error| self.failed(&error))
    }

    /// The person of an answer with a code. `issuer` is the parameter of the answer (RFC 9207); empty if there is none.
    ///
    /// # Errors
    /// PROVIDER_REFUSED, PROVIDER_SIGN_IN_TOO_OLD, PROVIDER_SIGN_IN_TOO_WEAK, PROVIDER_UNAVAILABLE.
    pub(crate) async fn person(&self, code: String, secrets: &Secrets, issuer: &str) -> Result<Person, Error> {
        let person = match &self.client {
            Client::GitHub(github) => github.person(code, secrets, issuer).await,
            Client::Oidc(oidc) => oidc.person(code, secrets, issuer).await,
        };
        person.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &ProviderError) -> Error {
        tracing::warn!(provider = self.name, cause = chassis::error::chain(error), "a sign-in at a provider failed");
        match error {
            ProviderError::Unavailable(_) => Error::ProviderUnavailable,
            ProviderError::Refused(_) => Error::ProviderRefused,
            ProviderError::TooOld => Error::ProviderSignInTooOld,
            ProviderError::TooWeak => Error::ProviderSignInTooWeak,
        }
    }
}

/// All providers, in the order of the settings.
pub(crate) struct Providers(Vec<Provider>);

impl Providers {
    /// # Errors
    /// The HTTP client cannot be made, or an address is none. The settings were checked.
    pub(crate) fn new(settings: &Settings, site: &Url) -> Result<Self, Error> {
        let http = Arc::new(Http::new(&settings.guard, settings.timeout).map_err(Error::Provider)?);
        let providers = settings.providers.iter().map(|one| {
            let redirect = format!("{}account/oauth/{}/callback", site.as_str(), one.name);
            let client = match &one.kind {
                Kind::GitHub { site, api } => Client::GitHub(Box::new(GitHub::new(one, site, api, &redirect, Arc::clone(&http))?)),
                Kind::Oidc { issuer, strength } => Client::Oidc(Box::new(Oidc::new(one, issuer, strength, &redirect, Arc::clone(&http))?)),
            };
            Ok(Provider { name: one.name.clone(), title: one.title.clone(), client })
        });
        providers.collect::<Result<_, url::ParseError>>().map(Self).map_err(|error| Error::Provider(error.to_string()))
    }

    pub(crate) fn all(&self) -> &[Provider] {
        &self.0
    }

    /// Whether a provider is this issuer of identities.
    pub(crate) fn has_issuer(&self, issuer: &str) -> bool {
        self.0.iter().any(|provider| provider.issuer() == issuer)
    }

    /// # Errors
    /// PROVIDER_NOT_FOUND.
    pub(crate) fn find(&self, name: &str) -> Result<&Provider, Error> {
        self.0.iter().find(|provider| provider.name == name).ok_or(Error::ProviderNotFound)
    }
}
