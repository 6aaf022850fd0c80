//! The outermost middleware. It finds the client's address and gives each request a request id, a span in the client's trace, a log line,
//! and a problem document if it fails. Headers that only this cluster may set are removed first. Requests that the edge limit refuses have
//! neither a span nor a log line; the guard counts them and logs their number once a minute.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use chassis::{
    context::Context,
    edge::Guard,
    identity::{Caller, User},
    listen::{Connection, OnBehalfOf},
    propagation,
    telemetry::log::shortened,
};
use proto::id::UserId;
use tower_http::request_id::{MakeRequestId as _, MakeRequestUuid};
use tracing::{
    Instrument as _, Span,
    field::{Empty, display},
    info_span,
};

use crate::{
    edge::{client_address, metrics},
    error::{
        Failure,
        oauth::Endpoint,
        problem::{ProblemContext, render},
    },
    http::headers::{REQUEST_ID, TRACE_RESPONSE, UI_STREAM_LEVEL},
};

/// Bytes of a path in a problem document.
const MAX_INSTANCE: usize = 1024;
/// Bytes of a path in a log line or a span.
const MAX_LOGGED_PATH: usize = 200;
/// Bytes of a method in a log line or a span.
const MAX_LOGGED_METHOD: usize = 20;
/// Headers of proxies and of Backlot's services. A client may not send them.
const RESERVED: [&str; 3] = ["x-backlot-", "x-forwarded-", "grpc-"];

/// What is known of a request before its identity and its body are read; an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct RequestInfo {
    pub(crate) address: IpAddr,
    pub(crate) trace_id: Arc<str>,
    pub(crate) request_id: Arc<str>,
    /// For how long the edge limit refuses the address, if it has sent too many requests.
    pub(crate) edge_wait: Option<Duration>,
}

impl RequestInfo {
    /// The context of calls on behalf of this request.
    pub(crate) fn context(&self, user: Option<User>) -> Context {
        Context {
            service: Caller::Gateway,
            caller: Caller::Direct,
            user,
            client_address: Some(self.address),
            deadline: None,
            trace_id: self.trace_id.to_string(),
        }
    }
}

/// What differs between listeners.
#[derive(Clone)]
pub(crate) struct ListenerProfile {
    /// Trusted proxies in front of the listener.
    pub(crate) hops: usize,
    /// Logs show the route and not the path: the path of a preview may contain its capability.
    pub(crate) secret_paths: bool,
    /// Counts requests for the edge limit.
    pub(crate) guard: Guard,
}

/// The outermost middleware.
pub(crate) async fn observe(State(profile): State<ListenerProfile>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Connection>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.peer().ip());
    let address = client_address::client_address(peer, request.headers(), profile.hops);
    let edge_wait = profile.guard.check(address).err();
    let request_id = request_id(&request);
    remove_reserved(request.headers_mut());

    let (method, path) = (request.method().clone(), clipped(request.uri().path()).to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "unmatched".to_owned(), |m| m.as_str().to_owned());
    let (verb, shown) =
        (shortened(method.as_str(), MAX_LOGGED_METHOD), shortened(if profile.secret_paths { &route } else { &path }, MAX_LOGGED_PATH));
    let span = match edge_wait {
        Some(_) => Span::none(),
        None => info_span!(
            "request", otel.name = %format!("{verb} {route}"), otel.kind = "server", svc = "gateway", http.request.method = %verb,
            http.route = %route, url.path = %shown, client.address = %address, request_id = request_id.to_str().unwrap_or_default(),
            http.response.status_code = Empty, trace_id = Empty,
        ),
    };
    let trace_id: Arc<str> = propagation::adopt(&span, request.headers(), propagation::Sender::Stranger).into();
    span.record("trace_id", &*trace_id);
    request.extensions_mut().insert(RequestInfo {
        address,
        trace_id: Arc::clone(&trace_id),
        request_id: request_id.to_str().unwrap_or_default().into(),
        edge_wait,
    });

    let started = Instant::now();
    async {
        let response = next.run(request).await;
        let outcome = Outcome::of(&response);
        let (oauth, request_id_text) = (Endpoint::of(&method, &route), request_id.to_str().unwrap_or_default());
        let context = ProblemContext { path: &path, request_id: request_id_text, trace_id: &trace_id, oauth };
        let mut response = render(response, &context);
        let status = response.status();
        Span::current().record("http.response.status_code", status.as_u16());
        metrics::record(&method, &route, status, started.elapsed());
        // "Not ready" is what the probe asks for, and true at each start.
        if status.is_server_error() && route != "/readyz" {
            outcome.warn(status, started, format_args!("{verb} {shown} failed"));
        } else if edge_wait.is_none() {
            outcome.log(status, started, format_args!("{verb} {shown}"));
        }
        let traceparent = propagation::traceparent().and_then(|text| HeaderValue::try_from(text).ok());
        if let Some(traceparent) = traceparent {
            response.headers_mut().insert(TRACE_RESPONSE, traceparent);
        }
        response.headers_mut().insert(REQUEST_ID, request_id.clone());
        response
    }
    .instrument(span.clone())
    .await
}

/// What the log line of a request has besides its status.
struct Outcome {
    /// The person of the request, also if it was refused.
    user: Option<UserId>,
    /// The reason of a refusal, as the problem document has it; never a text of the client.
    reason: Option<String>,
}

impl Outcome {
    /// Of a response whose failure is not rendered yet.
    fn of(response: &Response) -> Self {
        let extensions = response.extensions();
        Self {
            user: extensions.get::<OnBehalfOf>().map(|person| person.0),
            reason: extensions.get::<Failure>().map(|failure| failure.0.reason.clone()),
        }
    }

    fn log(&self, status: StatusCode, started: Instant, message: fmt::Arguments<'_>) {
        let (user, reason) = (self.user.map(display), self.reason.as_deref());
        tracing::info!(status = status.as_u16(), ms = milliseconds(started), user, reason, "{message}");
    }

    fn warn(&self, status: StatusCode, started: Instant, message: fmt::Arguments<'_>) {
        let (user, reason) = (self.user.map(display), self.reason.as_deref());
        tracing::warn!(status = status.as_u16(), ms = milliseconds(started), user, reason, "{message}");
    }
}

fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A path as problem documents show it.
fn clipped(path: &str) -> &str {
    &path[..path.floor_char_boundary(MAX_INSTANCE)]
}

/// The request id that the client sent, if it is valid, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    });
    given
        .cloned()
        .or_else(|| MakeRequestUuid.make_request_id(request).map(|id| id.into_header_value()))
        .unwrap_or(HeaderValue::from_static("none"))
}

/// Whether a client may not send the header. It may send the level of a UI stream, although that has the prefix.
fn is_reserved(name: &HeaderName) -> bool {
    name != UI_STREAM_LEVEL && RESERVED.iter().any(|prefix| name.as_str().starts_with(prefix))
}

fn remove_reserved(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_reserved(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    headers.remove(header::FORWARDED);
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use proto::error::ErrorCode;

    use super::*;
    use crate::error::fault;

    #[test]
    fn a_client_cannot_send_reserved_headers() {
        let mut headers = HeaderMap::new();
        for name in
            ["x-backlot-caller", "x-forwarded-for", "forwarded", "grpc-timeout", "authorization", "x-request-id", UI_STREAM_LEVEL.as_str()]
        {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("x"));
        }
        remove_reserved(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", UI_STREAM_LEVEL.as_str(), "x-request-id"]);
    }

    #[test]
    fn the_line_of_a_request_has_the_person_and_the_reason() {
        let user = UserId::generate();
        let mut refused = Failure::from(fault(ErrorCode::Forbidden, "ACCESS_DENIED", "a text")).into_response();
        refused.extensions_mut().insert(OnBehalfOf(user));
        let outcome = Outcome::of(&refused);
        assert_eq!((outcome.user, outcome.reason.as_deref()), (Some(user), Some("ACCESS_DENIED")));
        let outcome = Outcome::of(&StatusCode::OK.into_response());
        assert_eq!((outcome.user, outcome.reason), (None, None));
    }

    #[test]
    fn a_valid_request_id_is_kept() {
        let id = |given: &str| {
            let request = Request::get("/").header(REQUEST_ID, given).body(axum::body::Body::empty()).unwrap();
            request_id(&request).to_str().unwrap().to_owned()
        };
        assert_eq!(id("abc-1.2_3"), "abc-1.2_3");
        assert_eq!(id("a b").len(), 36);
        assert_eq!(id(&"a".repeat(129)).len(), 36);
    }
}
