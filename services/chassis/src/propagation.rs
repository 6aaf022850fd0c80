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

/// The limit of `tracestate` in the W3C recommendation. A longer one is dropped, because it would be in the headers of all later calls.
const MAX_TRACESTATE_BYTES: usize = 512;

/// The sender of trace headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A service of the cluster, or the log of a turn. Its sampling decision is kept. A call without a trace is not sampled.
    Cluster,
    /// Any other client. The trace id is kept, and the sampling decision is made here.
    Stranger,
}

/// Makes the remote span of the headers the parent of `span`. Returns the trace id of the span, or of the headers, or a new one.
pub fn adopt(span: &Span, headers: &HeaderMap, sender: Sender) -> String {
    let mut remote = TraceContextPropagator::new().extract(&Headers(headers));
    let named = remote.span().span_context().clone();
    if sender == Sender::Cluster && !named.is_valid() {
        // A service that calls outside of a trace does background work.
        let _ = span.set_parent(Context::new().with_remote_span_context(background()));
    }
    if named.is_valid() {
        if sender == Sender::Stranger {
            let flags = named.trace_flags().with_sampled(telemetry::sample());
            let decided = SpanContext::new(named.trace_id(), named.span_id(), flags, true, named.trace_state().clone());
            remote = remote.with_remote_span_context(decided);
        }
        // This fails only if no tracer is installed. The trace id of the headers is used then.
        let _ = span.set_parent(remote);
    }
    let own = span.context().span().span_context().clone();
    match (own.is_valid(), named.is_valid()) {
        (true, _) => own.trace_id().to_string(),
        (false, true) => named.trace_id().to_string(),
        (false, false) => uuid::Uuid::new_v4().simple().to_string(),
    }
}

/// The root of a trace that is not exported.
fn background() -> SpanContext {
    let [trace, span] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.as_u128());
    // Neither id is zero, because both halves of a UUIDv4 have fixed bits.
    #[allow(clippy::cast_possible_truncation, reason = "the upper half fits")]
    let span = (span >> 64) as u64;
    SpanContext::new(TraceId::from(trace), SpanId::from(span), TraceFlags::default(), true, TraceState::default())
}

/// Writes the current span into the metadata of a call.
pub fn inject(metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Metadata(metadata));
}

/// The trace id of the current span: 32 hexadecimal digits, or empty without a trace.
#[must_use]
pub fn trace_id() -> String {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    if span.is_valid() { span.trace_id().to_string() } else { String::new() }
}

/// The `traceparent` of the current span, if it belongs to a trace.
#[must_use]
pub fn traceparent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// Makes the span of a stored `traceparent` the parent of `span`. Returns the trace id.
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
    fn a_trace_id_is_kept_without_a_tracer() {
        let trace = adopt_traceparent(&Span::none(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(adopt_traceparent(&Span::none(), "garbage").len(), 32);
    }

    #[test]
    fn a_long_tracestate_is_dropped() {
        // Each member has eight bytes with its comma.
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
