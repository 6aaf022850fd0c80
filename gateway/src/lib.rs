//! HTTP for browsers and programs: JSON, event streams and previews in front of the services' gRPC. The only crate that knows
//! axum and HTTP status codes. It keeps no state that another gateway would miss: what it remembers (exchanged sessions,
//! refusals, open streams) only saves calls.
//!
//! In reading order:
//! - [`config`], `origin`, `app`: settings; what the gateway is called from outside; the parts that handlers share.
//! - `layers`: everything around a handler, and why in this order. `place`: how many requests there may be.
//! - [`router`]: every route. `routes`: their handlers. `json`: messages in and out; `media`: which type is wanted. `error`: faults to
//!   problem documents.
//! - `head`: how long the parts of a head may be. `host`: which names are ours. `request`, `address`, `metrics`: what every request gets. `auth`, `cookie`,
//!   `revocations`: who asks. `limit`, `streams`: how often.
//! - `sse`, `follow`: a turn's events as a stream that resumes. `parts`: the same log as the parts of an answer, which `chat`
//!   (the AI SDK) and `agui` (AG-UI) spell in their own words.
//! - `coding`: gzip, br and zstd of answers.
//! - `preview`: project files as web pages, on a listener of their own. `page`: the first page. [`openapi`]: the description.
//! - `upstream`: the clients.

pub mod config;
pub mod openapi;
pub mod router;

mod address;
mod agui;
mod app;
mod auth;
mod chat;
mod coding;
mod cookie;
mod error;
mod follow;
mod head;
mod host;
mod json;
mod layers;
mod limit;
mod media;
mod metrics;
mod origin;
mod page;
mod parts;
mod place;
mod preview;
mod request;
mod revocations;
mod routes;
mod sse;
mod streams;
mod upstream;

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
    error::{About, render},
};

/// Where the gateway listens.
pub struct Listeners {
    /// The API and the first page.
    pub main: TcpListener,
    /// Previews, and nothing else.
    pub preview: TcpListener,
    /// `/metrics`, and nothing else.
    pub metrics: Option<TcpListener>,
}

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("a listener has no address")]
    Listener(#[source] std::io::Error),
    #[error("the gateway does not know what it is called: {0}")]
    Origin(String),
}

/// Serves until `shutdown`. Then it is not ready, stops accepting, breaks event streams so that they resume elsewhere, and
/// lets other requests finish for the drain time.
///
/// # Errors
/// If a listener has no address or a URL cannot be made of it.
pub async fn serve(config: Config, listeners: Listeners, shutdown: CancellationToken) -> Result<(), ServeError> {
    let main_address = listeners.main.local_addr().map_err(ServeError::Listener)?;
    let preview_address = listeners.preview.local_addr().map_err(ServeError::Listener)?;
    let origins = Origins::new(&config, main_address, preview_address).map_err(ServeError::Origin)?;
    if config.trusted_hops == 0 && config.public_url.as_ref().is_some_and(|url| url.scheme() == "https") {
        tracing::warn!(
            "BACKLOT_PUBLIC_URL is https, so there is a proxy in front, and BACKLOT_TRUSTED_HOPS is 0: all people behind it share the \
             limits of one address"
        );
    }
    for problem in origin::without_cookies(&config.cors_origins, &origins.main) {
        tracing::warn!("{problem}");
    }
    let draining = CancellationToken::new();
    let app = App::new(config, origins, shutdown.clone(), draining.clone());

    let (background, connections) = (Tasks::new(), Tasks::new());
    background.spawn(Arc::clone(&app.revocations).follow(Arc::clone(&app.upstream), background.token()));
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
    let leaving = async {
        shutdown.cancelled().await;
        tokio::time::sleep(app.config.drain_delay).await;
        draining.cancel();
    };
    tokio::join!(accepting, leaving);
    connections.shutdown(app.config.drain).await;
    background.shutdown(app.config.drain).await;
    Ok(())
}

/// Accepts on one listener until the gateway drains.
async fn accept(listener: TcpListener, router: Router, app: &App, unsent: &Arc<Shares>, connections: &Tasks) {
    let refuse = |exhausted| {
        let about = About { path: "", request_id: "", trace_id: "" };
        render(place::refusal(exhausted, "unread bytes of answers").into_response(), &about)
    };
    let listening = Listener {
        limits: app.config.limits.clone(),
        protocol: Protocol::Web,
        proxied: app.config.trusted_hops > 0,
        unsent: Arc::clone(unsent),
        refuse: Arc::new(refuse),
    };
    let service = tower::util::MapRequest::new(router, |request: Request<Incoming>| request.map(Body::new));
    listening.serve(listener, service, connections, app.draining.clone()).await;
}
