//! Sentry: errors that are logged at ERROR, and panics. Each report carries the trace id of the logs and spans, and nothing that
//! looks like a secret.

use opentelemetry::trace::TraceContextExt as _;
use sentry::{
    ClientInitGuard, ClientOptions,
    integrations::tracing::{BreadcrumbLayer, ErrorLayer},
    protocol::{Event, TraceContext},
};
use serde_json::Value;
use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt as _, filter_fn},
    registry::LookupSpan,
};

use super::{log::PANIC, scrub::scrub, throttle::is_exporter};
use crate::config::Secret;

pub(super) fn is_dsn(dsn: &Secret) -> bool {
    dsn.expose().parse::<sentry::types::Dsn>().is_ok()
}

pub(super) fn init(dsn: &Secret, environment: &str, role: &'static str) -> ClientInitGuard {
    let options = ClientOptions::new()
        .dsn(dsn.expose())
        .release(concat!("backlot@", env!("CARGO_PKG_VERSION")))
        .environment(environment.to_owned())
        .server_name(role)
        .send_default_pii(false)
        .before_send(|event| Some(clean(stamp(event))));
    sentry::init(options)
}

/// The layers that report errors, with the lines that led to them.
pub(super) fn layers<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // A panic has been reported by its hook, with its stack; its log line would be the same event again.
    // What a collector that is away costs is for the log alone.
    let reported =
        filter_fn(|metadata: &Metadata<'_>| metadata.target() != PANIC && !is_exporter(metadata)).with_max_level_hint(LevelFilter::ERROR);
    let errors = ErrorLayer::new().with_filter(LevelFilter::ERROR.and(reported));
    errors.and_then(BreadcrumbLayer::new().with_filter(LevelFilter::INFO))
}

/// Joins the report with the trace that it happened in.
fn stamp(mut event: Event<'static>) -> Event<'static> {
    let context = opentelemetry::Context::current();
    let span = context.span();
    let ids = span.span_context();
    if let (true, Ok(trace_id), Ok(span_id)) = (ids.is_valid(), ids.trace_id().to_string().parse(), ids.span_id().to_string().parse()) {
        let trace = TraceContext { trace_id, span_id, ..TraceContext::default() };
        event.contexts.insert("trace".to_owned(), trace.into());
        event.tags.insert("trace_id".to_owned(), ids.trace_id().to_string());
    }
    event
}

/// The same report with every text scrubbed, wherever it stands.
fn clean(event: Event<'static>) -> Event<'static> {
    let bare = |problem: String| Event {
        message: Some(format!("a report could not be scrubbed: {problem}")),
        level: event.level,
        event_id: event.event_id,
        contexts: event.contexts.get("trace").map(|trace| [("trace".to_owned(), trace.clone())].into()).unwrap_or_default(),
        ..Event::default()
    };
    let mut value = match serde_json::to_value(&event) {
        Ok(value) => value,
        Err(error) => return bare(error.to_string()),
    };
    clean_value(&mut value);
    serde_json::from_value(value).unwrap_or_else(|error| bare(error.to_string()))
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = scrub(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(clean_value),
        Value::Object(fields) => fields.values_mut().for_each(clean_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use sentry::protocol::{Breadcrumb, Exception};

    use super::*;

    #[test]
    fn a_report_keeps_its_shape_and_loses_its_secrets() {
        let mut event = Event { message: Some("at postgres://me:hunter2@db/x".into()), ..Event::default() };
        event.exception = vec![Exception { ty: "panic".into(), value: Some("Bearer abcdefghijkl".into()), ..Exception::default() }].into();
        event.breadcrumbs = vec![Breadcrumb { message: Some("password=hunter2".into()), ..Breadcrumb::default() }].into();
        event.extra.insert("nested".into(), serde_json::json!({"keys": ["blt_pat_abcdefghijkl"]}));
        let (id, cleaned) = (event.event_id, clean(event));
        assert_eq!(cleaned.event_id, id);
        assert_eq!(cleaned.message.as_deref(), Some("at postgres://[redacted]@db/x"));
        assert_eq!(cleaned.exception[0].value.as_deref(), Some("Bearer [redacted]"));
        assert_eq!(cleaned.breadcrumbs[0].message.as_deref(), Some("password=[redacted]"));
        assert_eq!(cleaned.extra["nested"]["keys"][0], "[redacted]");
    }
}
