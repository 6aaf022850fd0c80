//! A registry over HTTP. Only its own origin is asked: an address from a lock file or a document is never used, and a redirect to another
//! origin is an error.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chassis::error::chain;
use npm::RegistryError;
use reqwest::{Client, Response, StatusCode, header, redirect};
use tokio::time::Instant;

use crate::registry_url::{NONE, RegistryUrl};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(120);
const MAX_REDIRECTS: usize = 3;
/// How long a registry without a connection is not asked for what is kept.
const PAUSE: Duration = Duration::from_secs(30);
/// The error of a machine without a registry.
pub(super) const NO_REGISTRY: &str = "BACKLOT_NPM_REGISTRY is none, and the package is not kept";
/// A document of versions without their texts for people.
const ABBREVIATED: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8";

pub(super) struct Registry {
    /// `None` if there is no registry.
    base: Option<reqwest::Url>,
    client: Result<Client, String>,
    /// When the last attempt to connect failed.
    failed: Mutex<Option<Instant>>,
}

impl Registry {
    pub(super) fn new(base: RegistryUrl) -> Self {
        chassis::install_crypto();
        let origin = base.0.as_ref().map(reqwest::Url::origin);
        let policy = redirect::Policy::custom(move |attempt| {
            let is_own = Some(attempt.url().origin()) == origin;
            if is_own && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
        });
        let client = Client::builder()
            .user_agent(concat!("backlot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(policy)
            .referer(false)
            .build();
        Self { base: base.0, client: client.map_err(|error| chain(&error)), failed: Mutex::default() }
    }

    pub(super) fn base(&self) -> &str {
        self.base.as_ref().map_or(NONE, reqwest::Url::as_str)
    }

    /// Whether there is none, or no connection a moment ago. What is kept is then taken without another attempt.
    pub(super) fn is_away(&self, now: Instant) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        self.base.is_none() || failed.is_some_and(|failed| now < failed + PAUSE)
    }

    /// The answer to the request for a document.
    pub(super) async fn packument(&self, name: &str) -> Result<Response, RegistryError> {
        self.get(&[name], ABBREVIATED).await
    }

    /// The answer to the request for a tarball, at the place that registries have agreed on.
    pub(super) async fn tarball(&self, name: &str, version: &str) -> Result<Response, RegistryError> {
        let (scope, base) = name.rsplit_once('/').map_or((None, name), |(scope, base)| (Some(scope), base));
        let file = format!("{base}-{version}.tgz");
        let parts: Vec<&str> = scope.into_iter().chain([base, "-", &file]).collect();
        self.get(&parts, "*/*").await
    }

    async fn get(&self, parts: &[&str], accept: &str) -> Result<Response, RegistryError> {
        let client = self.client.as_ref().map_err(|error| RegistryError::Failed(format!("no HTTP client: {error}")))?;
        let mut url = self.base.clone().ok_or_else(|| RegistryError::Failed(NO_REGISTRY.to_owned()))?;
        // Each part is one segment of the path: a `/` in it is encoded.
        url.path_segments_mut().map_err(|()| RegistryError::Failed("its address has no path".to_owned()))?.pop_if_empty().extend(parts);
        let sent = client.get(url).header(header::ACCEPT, accept).send().await;
        let is_away = sent.as_ref().is_err_and(|error| error.is_connect() || error.is_timeout());
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = is_away.then(Instant::now);
        let response = sent.map_err(|error| RegistryError::Failed(chain(&error.without_url())))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound),
            status if status.is_redirection() => {
                Err(RegistryError::Failed("it redirects to another host, which is not followed".to_owned()))
            }
            status => Err(RegistryError::Failed(format!("it answers {}", status.as_u16()))),
        }
    }
}

/// Reads a body. `count` is told of each part before it is kept.
pub(super) async fn body(
    mut response: Response,
    limit: usize,
    mut count: impl FnMut(usize) -> Result<(), RegistryError>,
) -> Result<Bytes, RegistryError> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| RegistryError::Failed(chain(&error.without_url())))? {
        if body.len() + part.len() > limit {
            return Err(RegistryError::Failed(format!("its answer has more than {limit} bytes")));
        }
        count(part.len())?;
        body.extend_from_slice(&part);
    }
    Ok(body.into())
}
