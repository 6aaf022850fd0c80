//! Selects the traces to export: a share of those that begin with a request. Background work and health probes are not exported, because
//! they repeat every few seconds and would hide other traces.

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// The routes that orchestrators and Prometheus request.
const PROBE_ROUTES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
const HEALTH_SERVICE: &str = "grpc.health.";

/// Keeps the decision of the parent, and samples traces that begin here with the ratio.
#[derive(Clone, Debug)]
pub(super) struct RequestSampler(Sampler);

impl RequestSampler {
    pub(super) fn new(ratio: f64) -> Self {
        Self(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
    }
}

impl ShouldSample for RequestSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = !parent.is_some_and(Context::has_active_span);
        if is_probe(attributes) || is_root && is_background(kind) {
            let trace_state = parent.map_or_else(TraceState::default, |parent| parent.span().span_context().trace_state().clone());
            return SamplingResult { decision: SamplingDecision::Drop, attributes: Vec::new(), trace_state };
        }
        self.0.should_sample(parent, trace, name, kind, attributes, links)
    }
}

fn is_probe(attributes: &[KeyValue]) -> bool {
    attributes.iter().any(|attribute| match attribute.key.as_str() {
        "http.route" => PROBE_ROUTES.contains(&attribute.value.as_str().as_ref()),
        "rpc.method" => attribute.value.as_str().starts_with(HEALTH_SERVICE),
        _ => false,
    })
}

/// Whether a root span is background work. A statement or a call of a request or of a turn has a parent.
fn is_background(kind: &SpanKind) -> bool {
    *kind == SpanKind::Client
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    #[test]
    fn only_traces_of_requests_and_turns_are_exported() {
        let parent = |flags| {
            let context = SpanContext::new(TraceId::from(1), SpanId::from(1), flags, true, TraceState::default());
            Context::new().with_remote_span_context(context)
        };
        let (sampled, unsampled) = (parent(TraceFlags::SAMPLED), parent(TraceFlags::default()));
        let route = |route: &'static str| vec![KeyValue::new("http.route", route)];
        let rpc = |method: &'static str| vec![KeyValue::new("rpc.method", method)];
        let statement = || vec![KeyValue::new("db.system.name", "postgresql")];
        for (what, kind, attributes, parent, exported) in [
            ("a request", SpanKind::Server, route("/api/projects"), None, true),
            ("a call", SpanKind::Server, rpc("backlot.auth.v1.AuthService/SignIn"), None, true),
            ("a turn", SpanKind::Consumer, vec![], Some(&sampled), true),
            ("a turn of an unsampled request", SpanKind::Consumer, vec![], Some(&unsampled), false),
            ("a statement of a request", SpanKind::Client, statement(), Some(&sampled), true),
            ("a statement of a loop", SpanKind::Client, statement(), None, false),
            ("a statement of a loop without a span", SpanKind::Client, statement(), Some(&Context::new()), false),
            ("readiness", SpanKind::Server, route("/readyz"), None, false),
            ("readiness with a trace", SpanKind::Server, route("/readyz"), Some(&sampled), false),
            ("liveness", SpanKind::Server, route("/healthz"), None, false),
            ("a scrape", SpanKind::Server, route("/metrics"), None, false),
            ("a gRPC probe", SpanKind::Server, rpc("grpc.health.v1.Health/Check"), None, false),
        ] {
            let decision = RequestSampler::new(1.0).should_sample(parent, TraceId::from(1), "x", &kind, &attributes, &[]).decision;
            assert_eq!(decision == SamplingDecision::RecordAndSample, exported, "{what}");
            let none = RequestSampler::new(0.0).should_sample(None, TraceId::from(1), "x", &kind, &attributes, &[]).decision;
            assert_eq!(none, SamplingDecision::Drop, "{what}");
        }
    }
}
