//! W3C trace context in and out of headers and gRPC metadata.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{MetadataKey, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry;

/// What `tracestate` may have, as W3C says. A longer one is not carried on: it would fill the headers of every call that follows.
const MAX_TRACESTATE_BYTES: usize = 512;

/// Who sent a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A service of the cluster, or our own record: whether the trace is sampled has been decided. A call without a trace is not.
    Cluster,
    /// Anybody. The trace goes on under its id, and whether it is sampled is decided here.
    Stranger,
}

/// Makes the span that the headers name the parent of `span`. Returns the trace id: the span's own, else the one that the
/// headers name, else a fresh one.
pub fn adopt(span: &Span, headers: &HeaderMap, sender: Sender) -> String {
    let mut remote = TraceContextPropagator::new().extract(&Headers(headers));
    let named = remote.span().span_context().clone();
    if sender == Sender::Cluster && !named.is_valid() {
        // A service that calls outside of a trace does so by itself, again and again.
        let _ = span.set_parent(Context::new().with_remote_span_context(background()));
    }
    if named.is_valid() {
        if sender == Sender::Stranger {
            let flags = named.trace_flags().with_sampled(telemetry::samples());
            let decided = SpanContext::new(named.trace_id(), named.span_id(), flags, true, named.trace_state().clone());
            remote = remote.with_remote_span_context(decided);
        }
        // Fails only where no tracer is installed; then the header still names the trace.
        let _ = span.set_parent(remote);
    }
    let own = span.context().span().span_context().clone();
    match (own.is_valid(), named.is_valid()) {
        (true, _) => own.trace_id().to_string(),
        (false, true) => named.trace_id().to_string(),
        (false, false) => uuid::Uuid::new_v4().simple().to_string(),
    }
}

/// The beginning of a trace that is not exported.
fn background() -> SpanContext {
    let [trace, span] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.as_u128());
    // Neither is zero: the version of the id is part of each.
    #[allow(clippy::cast_possible_truncation, reason = "the half is meant")]
    let span = (span >> 64) as u64;
    SpanContext::new(TraceId::from(trace), SpanId::from(span), TraceFlags::default(), true, TraceState::default())
}

/// Writes the current span into the metadata of a call.
pub fn inject(metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Metadata(metadata));
}

/// The trace id of the current span, 32 hexadecimal digits; empty where nothing is traced.
#[must_use]
pub fn trace_id() -> String {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    if span.is_valid() { span.trace_id().to_string() } else { String::new() }
}

/// The `traceparent` of the current span, if it is traced.
#[must_use]
pub fn traceparent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// Makes the span named by a stored `traceparent` the parent of `span`.
pub fn adopt_traceparent(span: &Span, traceparent: &str) -> String {
    let mut headers = HeaderMap::new();
    if let Ok(value) = traceparent.parse() {
        headers.insert("traceparent", value);
    }
    adopt(span, &headers, Sender::Cluster)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key).and_then(|v| v.to_str().ok())?;
        (key != "tracestate" || value.len() <= MAX_TRACESTATE_BYTES).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct Metadata<'a>(&'a mut MetadataMap);

impl Injector for Metadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_kept_even_where_nothing_is_traced() {
        let trace = adopt_traceparent(&Span::none(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(adopt_traceparent(&Span::none(), "garbage").len(), 32);
    }

    #[test]
    fn a_long_tracestate_is_not_carried_on() {
        // Members of eight bytes with their comma.
        let state = |members: usize| (0..members).map(|at| format!("k{at:04}=v")).collect::<Vec<_>>().join(",");
        for (members, carried) in [(64, true), (65, false), (7_500, false)] {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
            headers.insert("tracestate", state(members).parse().unwrap());
            let context = TraceContextPropagator::new().extract(&Headers(&headers));
            let mut metadata = MetadataMap::new();
            TraceContextPropagator::new().inject_context(&context, &mut Metadata(&mut metadata));
            let sent = metadata.get("tracestate").map(|value| value.as_bytes().len()).filter(|len| *len > 0);
            assert_eq!((sent.is_some(), metadata.contains_key("traceparent")), (carried, true), "{members} members");
        }
    }
}
