//! HTTP for browsers and programs: JSON, event streams and previews in front of the services' gRPC. Only this crate answers HTTP,
//! with axum. It has no state that other gateways need: what it caches (sessions, revocations, open streams) only saves calls.
//!
//! In reading order:
//! - [`config`], [`app`]: the settings, and the state that handlers share.
//! - [`router`], [`layers`]: every route, and the layers around them with the reason for their order.
//! - [`edge`]: what happens to a request before its handler: address, host, limits, slots, logs.
//! - [`identity`]: who sends a request: session cookies, access tokens.
//! - [`routes`]: the handlers, one file for each resource.
//! - [`json`]: ProtoJSON of requests and responses.
//! - [`stream`]: the events of a turn as a stream that a client can resume.
//! - [`chat`]: the same events as the parts of an answer of the model, in the protocols of the AI SDK and of AG-UI.
//! - [`build`]: conversations with compile. [`publish`]: from a revision to the deployment of a site.
//! - [`export`]: a person's data from all services in one file.
//! - [`web`]: the first page, previews, published sites, the OpenAPI document, readiness.
//! - `http`: HTTP itself: header names, ETags, idempotency keys, media types, content codings, quotas.
//! - [`error`]: from faults to problem documents. [`contract`]: the contract's descriptors. [`upstream`]: the clients of the services.

mod app;
mod build;
mod chat;
mod config;
mod contract;
mod edge;
mod error;
mod export;
mod http;
mod identity;
mod json;
mod layers;
mod publish;
mod router;
mod routes;
mod stream;
mod upstream;
mod web;

use std::sync::Arc;

use axum::{Router, body::Body, http::Request, response::IntoResponse as _};
use chassis::{
    listen::{Listener, Protocol},
    share::Shares,
    task::Tasks,
};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
use crate::{
    app::{App, Origins},
    edge::origin,
    error::{
        problem::{ProblemContext, render},
        share_exhausted,
    },
};

/// What the tests of the gateway use besides its listeners.
#[doc(hidden)]
pub mod testing {
    pub use crate::router::{RouteInfo, contract_routes, own_routes};
}

/// Where the gateway listens.
pub struct Listeners {
    /// The API and the first page.
    pub main: TcpListener,
    /// Previews only.
    pub preview: TcpListener,
    /// `/metrics` only.
    pub metrics: Option<TcpListener>,
}

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("a listener has no address")]
    Listener(#[source] std::io::Error),
    #[error("the origin of the gateway is invalid: {0}")]
    Origin(String),
}

/// Serves until `shutdown`. Then the gateway reports not ready, stops accepting, breaks event streams, which their clients resume at
/// another gateway, and lets other requests finish for the drain time.
///
/// # Errors
/// A listener has no address, or the public URL is invalid.
pub async fn serve(config: Config, listeners: Listeners, shutdown: CancellationToken) -> Result<(), ServeError> {
    let main_address = listeners.main.local_addr().map_err(ServeError::Listener)?;
    let preview_address = listeners.preview.local_addr().map_err(ServeError::Listener)?;
    let origins = Origins::new(&config, main_address, preview_address).map_err(ServeError::Origin)?;
    if config.trusted_hops == 0 && config.public_url.as_ref().is_some_and(|url| url.scheme() == "https") {
        tracing::warn!(
            "BACKLOT_PUBLIC_URL is https, so there is a proxy in front, but BACKLOT_TRUSTED_HOPS is 0: all clients of the proxy share the \
             limits of one address"
        );
    }
    for warning in origin::cookie_warnings(&config.cors_origins, &origins.main) {
        tracing::warn!("{warning}");
    }
    if let Some(tls) = config.cluster_secret.tls() {
        tls.observe();
    }
    let draining = CancellationToken::new();
    let app = App::new(config, origins, shutdown.clone(), draining.clone());

    let (background, connections) = (Tasks::new(), Tasks::new());
    background.spawn(Arc::clone(&app.revocations).follow(app.upstream.auth_channel(), background.token()));
    let main = layers::main(router::main(&app), &app, &background);
    let previews = layers::preview(router::previews(&app), &app, &background);
    let metrics = layers::metrics(router::metrics(&app), &app, &background);
    let unsent = Shares::new(app.config.limits.unsent, app.config.limits.percent);
    let accepting = async {
        tokio::join!(
            accept(listeners.main, main, &app, &unsent, &connections),
            accept(listeners.preview, previews, &app, &unsent, &connections),
            async {
                if let Some(listener) = listeners.metrics {
                    accept(listener, metrics, &app, &unsent, &connections).await;
                }
            },
        );
    };
    let drain = async {
        shutdown.cancelled().await;
        tokio::time::sleep(app.config.drain_delay).await;
        draining.cancel();
    };
    tokio::join!(accepting, drain);
    connections.shutdown(app.config.drain).await;
    background.shutdown(app.config.drain).await;
    Ok(())
}

/// Accepts on one listener until the gateway drains.
async fn accept(listener: TcpListener, router: Router, app: &App, unsent: &Arc<Shares>, connections: &Tasks) {
    let refuse = |exhausted| {
        let context = ProblemContext { path: "", request_id: "", trace_id: "", oauth: None };
        render(share_exhausted(exhausted, "unread bytes of answers").into_response(), &context)
    };
    let listening = Listener {
        limits: app.config.limits.clone(),
        protocol: Protocol::Web,
        proxied: app.config.trusted_hops > 0,
        unsent: Arc::clone(unsent),
        refuse: Arc::new(refuse),
        // Browsers have no certificate of the cluster.
        tls: None,
    };
    let service = tower::util::MapRequest::new(router, |request: Request<Incoming>| request.map(Body::new));
    listening.serve(listener, service, connections, app.draining.clone()).await;
}
