//! Names of HTTP headers that the standard list of the `http` crate does not have.

use axum::http::{HeaderName, header};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The last event that a client of an event stream has.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// In a response: the trace of its request.
pub(crate) const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// The turn of an event stream, known before the first event.
pub(crate) const TURN_ID: HeaderName = HeaderName::from_static("x-backlot-turn-id");
/// The version of the AI SDK's UI message stream.
pub(crate) const UI_STREAM: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");
/// The chunks of the UI message stream that a client knows.
pub(crate) const UI_STREAM_LEVEL: HeaderName = HeaderName::from_static("x-backlot-ui-stream-level");

/// Headers that a page of another site may send.
pub(crate) const CORS_REQUEST: [HeaderName; 15] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT,
    IDEMPOTENCY_KEY,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::RANGE,
    header::IF_RANGE,
    LAST_EVENT_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    // Sentry's browser library adds it to every call of its page. Browsers refuse such calls if it is not listed.
    HeaderName::from_static("sentry-trace"),
    REQUEST_ID,
    UI_STREAM_LEVEL,
];
/// Headers that a page of another site may read.
pub(crate) const CORS_EXPOSED: [HeaderName; 15] = [
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LOCATION,
    header::LINK,
    header::RETRY_AFTER,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
    REQUEST_ID,
    TRACE_RESPONSE,
    HeaderName::from_static("server-timing"),
    IDEMPOTENCY_REPLAYED,
    UI_STREAM,
    TURN_ID,
];
