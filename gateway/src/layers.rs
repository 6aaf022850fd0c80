//! The layers around the handlers, from the outermost to the innermost:
//!
//! 1. `edge::request`: address, id, trace, log line, and whether the edge limit is exceeded. No layer below sees a forged header. Every
//!    failure becomes a problem document here.
//! 2. Headers of every response, those of the layers below included.
//! 3. CORS. It is outside of all layers that refuse, so that a page of a listed site can read refusals.
//! 4. Host: requests for other names are refused.
//! 5. Head limits: a head that is too long is refused.
//! 6. A panic becomes a 500. Layers 1 to 5 are outside of it; layer 1 writes the problem document.
//! 7. Edge limit: refuses a request if layer 1 has counted too many.
//! 8. Slots: the number of requests that wait or are in work.
//! 9. CSRF protection, which depends on headers only.
//! 10. Content coding, directly around the routes, so that refusals and headers of other layers are not affected.
//! 11. On routes of the API: identity (the next layer counts by person), the policy `general`, and the handler with the limit of its body.

use std::any::Any;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use chassis::{
    edge::{Edge, Guard},
    task::Tasks,
};
use proto::error::ErrorCode;
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

use crate::{
    app::App,
    config::Config,
    edge::{
        cross_origin::{cors, csrf},
        head_limits::{self, HeadLimits},
        host::{self, HostNames},
        rate_limit,
        request::{self, ListenerProfile},
        slots::{self, RequestSlots},
    },
    error::{Failure, PANIC, SERVICE, fault},
    http::coding,
};

/// How many times the edge limit the listener for previews allows: a page of a preview loads all its modules at once, and may have more than
/// two thousand.
const PREVIEW_FACTOR: u32 = 40;

/// The policy of answers that are no pages: if a browser shows one, nothing in it runs, and no page may frame it.
const NOT_A_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");

/// The policy of previews and sites: they use no passkeys. Otherwise a preview below the host of the public URL could ask for those of accounts.
const NO_PASSKEYS: HeaderValue = HeaderValue::from_static("publickey-credentials-create=(), publickey-credentials-get=()");

/// The layers of the main listener. `router` has the routes with their own layers.
pub(crate) fn main(router: Router, app: &App, tasks: &Tasks) -> Router {
    let router = coding::compress(router).layer(csrf(&app.origins.main, &app.config.cors_origins));
    let router = limited(router, &app.config, app.config.edge);
    let names = HostNames::new(&app.origins.main, &app.config.hosts, &app.origins.preview, app.origins.sites.as_ref());
    let router = router.layer(from_fn_with_state(names, host::check));
    let router = match cors(&app.config.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    // A handler may set another Cache-Control, and a page its own policy.
    let router = router
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(SetResponseHeaderLayer::if_not_present(header::CONTENT_SECURITY_POLICY, NOT_A_PAGE));
    outermost(router, app, profile(&app.config, app.config.edge, tasks))
}

/// The layers of the listener for previews and sites. They use no credentials, so there is no CSRF layer, and no CORS layer but the headers of
/// [`crate::web::preview`].
pub(crate) fn preview(router: Router, app: &App, tasks: &Tasks) -> Router {
    let edge = app.config.edge.times(PREVIEW_FACTOR);
    let permissions = SetResponseHeaderLayer::overriding(HeaderName::from_static("permissions-policy"), NO_PASSKEYS);
    let router = limited(coding::compress(router), &app.config, edge).layer(from_fn(host::check_one)).layer(permissions);
    outermost(router, app, ListenerProfile { secret_paths: true, ..profile(&app.config, edge, tasks) })
}

/// The layers of the listener for metrics. It serves every host name, because Prometheus uses the names of its network.
pub(crate) fn metrics(router: Router, app: &App, tasks: &Tasks) -> Router {
    outermost(limited(coding::compress(router), &app.config, app.config.edge), app, profile(&app.config, app.config.edge, tasks))
}

fn profile(config: &Config, edge: Edge, tasks: &Tasks) -> ListenerProfile {
    ListenerProfile { hops: config.trusted_hops, secret_paths: false, guard: Guard::new(edge, SERVICE, tasks) }
}

fn limited(router: Router, config: &Config, edge: Edge) -> Router {
    let head = HeadLimits { target: config.max_target, header: config.max_header };
    let slots = RequestSlots::new(config.max_waiting, config.max_requests, config.limits.percent, config.trusted_hops > 0);
    router
        .layer(from_fn_with_state(slots, slots::assign))
        .layer(from_fn_with_state(edge.per_second, rate_limit::edge))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(head, head_limits::check))
}

fn outermost(router: Router, app: &App, profile: ListenerProfile) -> Router {
    let fixed = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    // A published site has another policy.
    let referrer = SetResponseHeaderLayer::if_not_present(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let router = router.layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff")).layer(referrer);
    let hsts = if app.config.hsts_subdomains { "max-age=31536000; includeSubDomains" } else { "max-age=31536000" };
    let router = if app.origins.secure() { router.layer(fixed(header::STRICT_TRANSPORT_SECURITY, hsts)) } else { router };
    router.layer(from_fn_with_state(profile, request::observe))
}

/// The panic hook has logged the panic and reported it to Sentry. The client sees only that the request failed.
#[allow(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Failure::from(fault(ErrorCode::Internal, PANIC, "a handler panicked")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Request, StatusCode},
        routing::get,
    };
    use chassis::config::Env;
    use tower::ServiceExt as _;

    use super::*;

    async fn panics() -> &'static str {
        panic!("the key of Ada is 0123")
    }

    #[tokio::test]
    async fn a_panic_of_a_handler_is_a_problem_without_details_and_the_gateway_goes_on() {
        let mut env = Env::of([("BACKLOT_CLUSTER_SECRET", "0d1c7e1f92ab4c5e8f60b3a2d4c5e6f7")]);
        let (config, tasks) = (Config::read(&mut env), Tasks::new());
        let router = Router::new().route("/panics", get(panics)).route("/works", get(|| async { "on" }));
        let observed = from_fn_with_state(profile(&config, config.edge, &tasks), request::observe);
        let router = limited(router, &config, config.edge).layer(observed);
        let answer = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let response = router.clone().oneshot(request).await.expect("an answer");
            let status = response.status();
            let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
            (status, String::from_utf8_lossy(&body).into_owned())
        };
        let (status, problem) = answer("/panics").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(problem.contains("INTERNAL") && !problem.contains("Ada") && !problem.contains("panicked"), "{problem}");
        assert_eq!(answer("/works").await, (StatusCode::OK, "on".to_owned()));
    }
}
