//! The state that handlers share, built once.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use axum::extract::FromRef;
use bytes::Bytes;
use chassis::{
    identity::Caller,
    limit::General,
    revocations::Revocations,
    share::Shares,
    verifier::{Keys, Verifier},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    config::Config,
    edge::origin::{main_origins, main_url},
    identity::{cookie::SessionCookie, sessions::Sessions},
    json::limits::BodyLimits,
    stream::limits::StreamLimits,
    upstream::Upstream,
    web::{preview_client::Client, preview_url::PreviewUrl, readiness::Readiness, site_url::SiteUrl},
};

pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) origins: Origins,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) general: Arc<General>,
    pub(crate) streams: Arc<StreamLimits>,
    pub(crate) bodies: BodyLimits,
    pub(crate) readiness: Readiness,
    /// The OpenAPI document, after its first use.
    pub(crate) description: OnceLock<Bytes>,
    /// Cancelled when this process is no longer ready.
    pub(crate) leaving: CancellationToken,
    /// Cancelled when open event streams have to break.
    pub(crate) draining: CancellationToken,
}

impl FromRef<Arc<App>> for BodyLimits {
    fn from_ref(app: &Arc<App>) -> Self {
        app.bodies.clone()
    }
}

/// The origins of the gateway as browsers see them.
pub(crate) struct Origins {
    pub(crate) main: Url,
    /// Every origin that the page may have.
    pub(crate) all: Vec<String>,
    pub(crate) preview: PreviewUrl,
    /// `None` if no sites are served.
    pub(crate) sites: Option<SiteUrl>,
    /// The script of compiled previews, which talks to pages of these origins.
    pub(crate) client: Client,
}

impl Origins {
    /// # Errors
    /// The fault in a setting. [`Config::read`] has reported it before.
    pub(crate) fn new(config: &Config, main: SocketAddr, preview: SocketAddr) -> Result<Self, String> {
        let url = main_url(config.public_url.as_ref(), main)?;
        let preview = PreviewUrl::new(config.preview_url.as_deref(), preview)?;
        let sites = config.sites_url.as_deref().map(|setting| SiteUrl::new(setting, &config.sites_domains)).transpose()?;
        let all = main_origins(&url);
        Ok(Self { sites, client: Client::new(&all), all, main: url, preview })
    }

    /// Whether browsers use https.
    pub(crate) fn secure(&self) -> bool {
        self.main.scheme() == "https"
    }
}

impl App {
    pub(crate) fn new(config: Config, origins: Origins, leaving: CancellationToken, draining: CancellationToken) -> Arc<Self> {
        let upstream = Arc::new(Upstream::new(&config));
        let revocations = Arc::new(Revocations::new(Caller::Gateway));
        let verifier = Verifier::new(Caller::Gateway, &config.cluster_secret, Keys::Remote(upstream.auth_channel()));
        let cookie = SessionCookie::new(origins.secure(), &config.cluster_secret.accepted("session cookie name"));
        Arc::new(Self {
            sessions: Arc::new(Sessions::new(cookie, Arc::clone(&upstream), verifier, Arc::clone(&revocations))),
            general: Arc::new(General::new(upstream.rate_limit())),
            streams: StreamLimits::new(config.max_streams_per_user, config.stream_openings),
            bodies: BodyLimits { receiving: Shares::new(config.receiving, config.limits.percent), timeout: config.body_timeout },
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
