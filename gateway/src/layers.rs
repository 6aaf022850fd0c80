//! What happens to every request before its handler sees it, and to every answer after. Outermost first:
//!
//! 1. arrival: address, id, trace and log line, and whether the address has sent too many requests; below it nobody sees a forged
//!    header, above it every failure has become a problem document;
//! 2. headers of every answer: also of those that a layer below gives;
//! 3. CORS: a page of a listed site may read refusals too, so it stands outside of all that refuse;
//! 4. the host: a name that is not ours is served nothing;
//! 5. the lengths of the head: what is too long goes nowhere;
//! 6. panic to 500: as far out as an answer can still be told what failed;
//! 7. edge limit: by address, in memory, as it was counted at the arrival;
//! 8. a place: shares of what may be on the way and in work;
//! 9. CSRF: decides by headers alone;
//! 10. content coding: around the handlers alone, so that refusals and what a layer adds stay as they are;
//! 11. on routes of the API: who asks (the limit counts by person), then the policy `general`, then the handler with its own
//!     body limit.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
};
use chassis::{
    edge::{Edge, Guard},
    task::Tasks,
};
use proto::error::ErrorCode;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
    csrf::{CsrfLayer, ProtectionError},
    set_header::SetResponseHeaderLayer,
};

use crate::{
    app::App,
    coding,
    error::{Failure, PANIC, SERVICE, fault},
    head::{self, Lengths},
    host::{self, Names},
    limit,
    place::{self, Places},
    request::{self, Door},
};

const CORS_AGE: Duration = Duration::from_secs(7200);
const CORS_REQUEST: [HeaderName; 13] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT,
    HeaderName::from_static("idempotency-key"),
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    // Sentry's browser library adds it; without it here every call of such a page fails.
    HeaderName::from_static("sentry-trace"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-backlot-ui-stream-level"),
];
const CORS_EXPOSED: [HeaderName; 12] = [
    header::ETAG,
    header::LOCATION,
    header::LINK,
    header::RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceresponse"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("idempotency-replayed"),
    HeaderName::from_static("x-vercel-ai-ui-message-stream"),
    HeaderName::from_static("x-backlot-turn-id"),
];

/// The stack of the main listener. `router` has its routes and their own layers.
pub(crate) fn main(router: Router, app: &App, tasks: &Tasks) -> Router {
    let router = coding::coded(router).layer(csrf(app));
    let router = guarded(router, app, app.config.edge);
    let names = Names::new(&app.origins.main, &app.config.hosts);
    let router = router.layer(from_fn_with_state(names, host::known));
    let router = match cors(&app.config.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    // What a handler says about caching stands.
    let router = router.layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    outermost(router, app, door(app, app.config.edge, tasks))
}

/// The stack of the listener for previews. They bear no credentials: no CSRF, no CORS but the headers of [`crate::preview`].
/// A page loads many files at once, so the edge lets through ten times as much.
pub(crate) fn preview(router: Router, app: &App, tasks: &Tasks) -> Router {
    let edge = app.config.edge.times(10);
    let router = guarded(coding::coded(router), app, edge);
    outermost(router, app, Door { secret_paths: true, ..door(app, edge, tasks) })
}

/// The stack of the listener for metrics, which answers to any name: Prometheus calls it as its network does.
pub(crate) fn metrics(router: Router, app: &App, tasks: &Tasks) -> Router {
    outermost(guarded(coding::coded(router), app, app.config.edge), app, door(app, app.config.edge, tasks))
}

fn door(app: &App, edge: Edge, tasks: &Tasks) -> Door {
    Door { hops: app.config.trusted_hops, secret_paths: false, guard: Guard::new(edge, SERVICE, tasks) }
}

fn guarded(router: Router, app: &App, edge: Edge) -> Router {
    let config = &app.config;
    let lengths = Lengths { target: config.max_target, header: config.max_header };
    let places = Places::new(config.max_waiting, config.max_requests, config.limits.percent, config.trusted_hops > 0);
    let router = router.layer(from_fn_with_state(places, place::given));
    limit::edge(router, edge.per_second).layer(CatchPanicLayer::custom(panicked)).layer(from_fn_with_state(lengths, head::bounded))
}

fn outermost(router: Router, app: &App, door: Door) -> Router {
    let fixed = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    let router = router.layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff")).layer(fixed(header::REFERRER_POLICY, "no-referrer"));
    let router = if app.origins.secure() { router.layer(fixed(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000")) } else { router };
    router.layer(from_fn_with_state(door, request::arrive))
}

/// The panic hook has reported the place and told Sentry; the client learns only that it happened.
#[allow(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Failure::from(fault(ErrorCode::Internal, PANIC, "a handler panicked")).into_response()
}

type CsrfAnswer = fn(ProtectionError) -> Response;

fn csrf(app: &App) -> CsrfLayer<CsrfAnswer> {
    let refuse: CsrfAnswer = |_| {
        let text = "this page is of another origin, which BACKLOT_CORS_ORIGINS does not list";
        Failure::from(fault(ErrorCode::Forbidden, "CROSS_ORIGIN", text)).into_response()
    };
    // Behind a proxy that rewrites Host our own origin must be known by name.
    let ours = app.origins.main.origin().ascii_serialization();
    let mut layer = CsrfLayer::new();
    for origin in app.config.cors_origins.iter().chain([&ours]) {
        match layer.clone().add_trusted_origin(origin) {
            Ok(trusting) => layer = trusting,
            Err(problem) => tracing::warn!("origin left out: {problem}"),
        }
    }
    layer.with_rejection_response(refuse)
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_credentials(true)
            .allow_methods(methods)
            .allow_headers(CORS_REQUEST)
            .expose_headers(CORS_EXPOSED)
            .max_age(CORS_AGE),
    )
}
