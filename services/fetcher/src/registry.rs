//! A registry over HTTP. Only its own origin is asked: an address from a lock file or a document is never used, and a redirect to another
//! origin is an error.

use std::{
    error::Error as StdError,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use npm::RegistryError;
use reqwest::{
    Client, Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header, redirect,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(120);
const MAX_REDIRECTS: usize = 3;
/// A document of versions without their texts for people.
const ABBREVIATED: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8";

/// Why there is no body.
pub(crate) struct FetchError {
    pub(crate) error: RegistryError,
    /// There was no connection.
    pub(crate) is_away: bool,
}

pub(crate) struct Registry {
    base: Option<Url>,
    client: Result<Client, String>,
    addresses: Arc<Addresses>,
}

/// The addresses of the one host.
#[derive(Default)]
struct Addresses(Mutex<Vec<SocketAddr>>);

impl Resolve for Addresses {
    fn resolve(&self, _: Name) -> Resolving {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let addresses: Addrs = Box::new(known.into_iter());
        let answer: Result<Addrs, Box<dyn StdError + Send + Sync>> = Ok(addresses);
        Box::pin(std::future::ready(answer))
    }
}

impl Registry {
    /// The trusted certificates are read here, and later no file is.
    pub(crate) fn new(base: &str) -> Self {
        let base: Option<Url> = base.parse().ok();
        let origin = base.as_ref().map(Url::origin);
        let policy = redirect::Policy::custom(move |attempt| {
            let is_own = Some(attempt.url().origin()) == origin;
            if is_own && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
        });
        let addresses = Arc::<Addresses>::default();
        let client = Client::builder()
            .user_agent(concat!("backlot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(policy)
            .referer(false)
            .dns_resolver(Arc::clone(&addresses))
            .build();
        Self { base, client: client.map_err(|error| chain(&error)), addresses }
    }

    /// Sets the addresses of the host. Texts that are no addresses are left out.
    pub(crate) fn set_addresses(&self, addresses: &[String]) {
        let read = addresses.iter().filter_map(|text| text.parse().ok()).collect();
        *self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner) = read;
    }

    /// The answer to the request for the document of a package.
    pub(crate) async fn packument(&self, name: &str) -> Result<Response, FetchError> {
        self.get(&[name], ABBREVIATED).await
    }

    /// The answer to the request for a tarball, at the place that registries have agreed on.
    pub(crate) async fn tarball(&self, name: &str, version: &str) -> Result<Response, FetchError> {
        let (scope, base) = name.rsplit_once('/').map_or((None, name), |(scope, base)| (Some(scope), base));
        let file = format!("{base}-{version}.tgz");
        let parts: Vec<&str> = scope.into_iter().chain([base, "-", &file]).collect();
        self.get(&parts, "*/*").await
    }

    async fn get(&self, parts: &[&str], accept: &str) -> Result<Response, FetchError> {
        let client = self.client.as_ref().map_err(|error| failed(format!("no HTTP client: {error}")))?;
        let mut url = self.base.clone().ok_or_else(|| failed("its address is missing".to_owned()))?;
        // Each part is one segment of the path: a `/` in it is encoded.
        url.path_segments_mut().map_err(|()| failed("its address has no path".to_owned()))?.pop_if_empty().extend(parts);
        let response = client.get(url).header(header::ACCEPT, accept).send().await.map_err(|error| {
            let is_away = error.is_connect() || error.is_timeout();
            FetchError { is_away, ..failed(chain(&error.without_url())) }
        })?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND => Err(FetchError { error: RegistryError::NotFound, is_away: false }),
            status if status.is_redirection() => Err(failed("it redirects to another host, which is not followed".to_owned())),
            status => Err(failed(format!("it answers {}", status.as_u16()))),
        }
    }
}

pub(crate) fn failed(problem: String) -> FetchError {
    FetchError { error: RegistryError::Failed(problem), is_away: false }
}

/// The error with its causes.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
