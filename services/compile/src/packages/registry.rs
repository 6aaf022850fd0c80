//! The registry that the operator names. Another process talks to it, see [`super::conversation`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chassis::error::chain;
use npm::RegistryError;
use tokio::{
    net::lookup_host,
    time::{Instant, timeout},
};

use crate::registry_url::{NONE, RegistryUrl};

/// How long a registry without a connection is not asked for what is kept.
const PAUSE: Duration = Duration::from_secs(30);
/// How long name servers may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the addresses of its host are used again. Each document and tarball needs them.
const ADDRESSES_KEPT: Duration = Duration::from_secs(10);
/// The error of a machine without a registry.
pub(super) const NO_REGISTRY: &str = "BACKLOT_NPM_REGISTRY is none, and the package is not kept";

pub(super) struct Registry {
    /// `None` if there is no registry.
    base: Option<reqwest::Url>,
    /// When the last attempt to connect failed.
    failed: Mutex<Option<Instant>>,
    /// The last addresses of its host, and when they were found.
    addresses: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Registry {
    pub(super) fn new(base: RegistryUrl) -> Self {
        Self { base: base.0, failed: Mutex::default(), addresses: Mutex::default() }
    }

    pub(super) fn base(&self) -> &str {
        self.base.as_ref().map_or(NONE, reqwest::Url::as_str)
    }

    /// The address. Empty if there is none.
    pub(super) fn address(&self) -> &str {
        self.base.as_ref().map_or("", reqwest::Url::as_str)
    }

    /// Whether there is none, or no connection a moment ago. What is kept is then taken without another attempt.
    pub(super) fn is_away(&self, now: Instant) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        self.base.is_none() || failed.is_some_and(|failed| now < failed + PAUSE)
    }

    /// Notes whether an attempt had no connection. Its host may then have other addresses.
    pub(super) fn note(&self, is_away: bool) {
        if is_away {
            *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = is_away.then(Instant::now);
    }

    /// The addresses of its host, with ports. The process that fetches reads no file, and so cannot find them.
    pub(super) async fn addresses(&self) -> Result<Vec<String>, RegistryError> {
        let url = self.base.as_ref().ok_or_else(|| RegistryError::Failed(NO_REGISTRY.to_owned()))?;
        if let Some((found, addresses)) = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && Instant::now() < *found + ADDRESSES_KEPT
        {
            return Ok(addresses.clone());
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let lookup = lookup_host((host, url.port_or_known_default().unwrap_or_default()));
        let problem = match timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(found)) => {
                let found: Vec<_> = found.map(|address| address.to_string()).collect();
                *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found.clone()));
                return Ok(found);
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => "its name server does not answer".to_owned(),
        };
        self.note(true);
        Err(RegistryError::Failed(problem))
    }
}
