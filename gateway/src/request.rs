//! What every request gets: the client's address, an id, its place in the caller's trace, a log line, and a problem document
//! if it fails. Headers that only we may set are dropped before anybody reads them. An address that sends too many requests gets
//! neither spans nor lines for what the edge refuses; the guard counts it and tells of it once a minute.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use chassis::{
    context::Context,
    edge::Guard,
    identity::{Caller, User},
    listen::Connection,
    propagation,
    telemetry::log::shortened,
};
use tower_http::request_id::{MakeRequestId as _, MakeRequestUuid};
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{
    address,
    chat::stream::LEVEL,
    error::{About, render},
    metrics,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// What a problem document shows of a path.
const LONGEST_TOLD: usize = 1024;
/// What a log line and a span show of a path and of a method, in bytes.
const LONGEST_PATH: usize = 200;
const LONGEST_METHOD: usize = 20;
/// Headers that speak for a proxy or for a service of ours.
const OURS: [&str; 3] = ["x-backlot-", "x-forwarded-", "grpc-"];

/// What is known of a request before anybody looks into it.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) address: IpAddr,
    pub(crate) trace_id: Arc<str>,
    /// How long the edge lets the address wait, if it has sent too many requests.
    pub(crate) refused: Option<Duration>,
}

impl Arrival {
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

/// How requests of one listener are taken in.
#[derive(Clone)]
pub(crate) struct Door {
    /// Trusted proxies in front of it.
    pub(crate) hops: usize,
    /// A preview's path may hold its capability, which no log may show.
    pub(crate) secret_paths: bool,
    /// The edge.
    pub(crate) guard: Guard,
}

/// The outermost middleware.
pub(crate) async fn arrive(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Connection>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.peer().ip());
    let address = address::client(peer, request.headers(), door.hops);
    let refused = door.guard.check(address).err();
    let request_id = request_id(&request);
    strip(request.headers_mut());

    let (method, path) = (request.method().clone(), clipped(request.uri().path()).to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "unmatched".to_owned(), |m| m.as_str().to_owned());
    let (verb, shown) =
        (shortened(method.as_str(), LONGEST_METHOD), shortened(if door.secret_paths { &route } else { &path }, LONGEST_PATH));
    let span = match refused {
        Some(_) => Span::none(),
        None => info_span!(
            "request", otel.name = %format!("{verb} {route}"), otel.kind = "server", svc = "gateway", http.request.method = %verb,
            http.route = %route, url.path = %shown, client.address = %address, request_id = request_id.to_str().unwrap_or_default(),
            http.response.status_code = Empty, trace_id = Empty,
        ),
    };
    let trace_id: Arc<str> = propagation::adopt(&span, request.headers(), propagation::Sender::Stranger).into();
    span.record("trace_id", &*trace_id);
    request.extensions_mut().insert(Arrival { address, trace_id: Arc::clone(&trace_id), refused });

    let started = Instant::now();
    async {
        let response = next.run(request).await;
        let about = About { path: &path, request_id: request_id.to_str().unwrap_or_default(), trace_id: &trace_id };
        let mut response = render(response, &about);
        let status = response.status();
        Span::current().record("http.response.status_code", status.as_u16());
        metrics::record(&method, &route, status, started.elapsed());
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), ms, "{verb} {shown} failed");
        } else if refused.is_none() {
            tracing::info!(status = status.as_u16(), ms, "{verb} {shown}");
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

/// What problem documents show of a path.
fn clipped(path: &str) -> &str {
    &path[..path.floor_char_boundary(LONGEST_TOLD)]
}

/// The client's own id if it is one, else a new one.
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

/// What a client wants to be sent speaks for nobody.
fn is_ours(name: &HeaderName) -> bool {
    name != LEVEL && OURS.iter().any(|ours| name.as_str().starts_with(ours))
}

fn strip(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    headers.remove(header::FORWARDED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_outside_speaks_for_us() {
        let mut headers = HeaderMap::new();
        for name in ["x-backlot-caller", "x-forwarded-for", "forwarded", "grpc-timeout", "authorization", "x-request-id", LEVEL] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", LEVEL, "x-request-id"]);
    }

    #[test]
    fn a_request_id_is_kept_if_it_is_one() {
        let id = |given: &str| {
            let request = Request::get("/").header(REQUEST_ID, given).body(axum::body::Body::empty()).unwrap();
            request_id(&request).to_str().unwrap().to_owned()
        };
        assert_eq!(id("abc-1.2_3"), "abc-1.2_3");
        assert_eq!(id("a b").len(), 36);
        assert_eq!(id(&"a".repeat(129)).len(), 36);
    }
}
