//! The parts that handlers share, built once.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use chassis::{
    identity::{Caller, Keys, Verifier},
    limit::General,
    share::Shares,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    auth::Sessions,
    config::Config,
    cookie::SessionCookie,
    origin::{PreviewForm, main_origins, main_url},
    revocations::Revocations,
    streams::Streams,
    upstream::{Readiness, Upstream},
};

pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) origins: Origins,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) sessions: Sessions,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) general: General,
    pub(crate) streams: Arc<Streams>,
    /// Bytes of bodies that are arriving.
    pub(crate) receiving: Arc<Shares>,
    pub(crate) readiness: Readiness,
    /// The OpenAPI document, once somebody has asked for it.
    pub(crate) description: OnceLock<Bytes>,
    /// Cancelled when this process is no longer ready.
    pub(crate) leaving: CancellationToken,
    /// Cancelled when open event streams have to break.
    pub(crate) draining: CancellationToken,
}

/// What this gateway is called from outside.
pub(crate) struct Origins {
    pub(crate) main: Url,
    /// Every origin that the page may have.
    pub(crate) all: Vec<String>,
    pub(crate) preview: PreviewForm,
    pub(crate) cookie: SessionCookie,
}

impl Origins {
    /// # Errors
    /// What is wrong with a setting; [`Config::read`] has reported it before.
    pub(crate) fn new(config: &Config, main: SocketAddr, preview: SocketAddr) -> Result<Self, String> {
        let url = main_url(config.public_url.as_ref(), main)?;
        let preview = PreviewForm::new(config.preview_url.as_deref(), preview)?;
        let cookie = SessionCookie::new(url.scheme() == "https", config.secret.derive("session cookie name"));
        Ok(Self { all: main_origins(&url), main: url, preview, cookie })
    }

    pub(crate) fn secure(&self) -> bool {
        self.main.scheme() == "https"
    }
}

impl App {
    pub(crate) fn new(config: Config, origins: Origins, leaving: CancellationToken, draining: CancellationToken) -> Arc<Self> {
        let upstream = Arc::new(Upstream::new(&config));
        let revocations = Arc::new(Revocations::new());
        let verifier = Verifier::new(Caller::Gateway, &config.secret, Keys::Remote(upstream.auth_channel()));
        Arc::new(Self {
            sessions: Sessions::new(Arc::clone(&upstream), verifier, Arc::clone(&revocations)),
            general: General::new(upstream.rate_limit()),
            streams: Streams::new(config.max_streams_per_user, config.stream_openings),
            receiving: Shares::new(config.receiving, config.limits.percent),
            readiness: Readiness::default(),
            description: OnceLock::new(),
            origins,
            upstream,
            revocations,
            leaving,
            draining,
            config,
        })
    }
}
