//! Reports events at level ERROR and panics to Sentry. Each report has the trace id of the logs and spans. Texts that look like secrets
//! are removed.

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
        .before_send(|event| Some(scrub_event(add_trace(event))));
    sentry::init(options)
}

/// The layers that report errors, with earlier events as breadcrumbs.
pub(super) fn layers<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // The hook has already reported a panic, with its stack, so its log line is excluded. Errors of the exporter are only logged.
    let reported =
        filter_fn(|metadata: &Metadata<'_>| metadata.target() != PANIC && !is_exporter(metadata)).with_max_level_hint(LevelFilter::ERROR);
    let errors = ErrorLayer::new().with_filter(LevelFilter::ERROR.and(reported));
    errors.and_then(BreadcrumbLayer::new().with_filter(LevelFilter::INFO))
}

/// Adds the ids of the current span.
fn add_trace(mut event: Event<'static>) -> Event<'static> {
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

/// Scrubs all texts of a report. If this fails, only the ids are kept.
fn scrub_event(event: Event<'static>) -> Event<'static> {
    let without_texts = |problem: String| Event {
        message: Some(format!("a report could not be scrubbed: {problem}")),
        level: event.level,
        event_id: event.event_id,
        contexts: event.contexts.get("trace").map(|trace| [("trace".to_owned(), trace.clone())].into()).unwrap_or_default(),
        ..Event::default()
    };
    let mut value = match serde_json::to_value(&event) {
        Ok(value) => value,
        Err(error) => return without_texts(error.to_string()),
    };
    scrub_value(&mut value);
    serde_json::from_value(value).unwrap_or_else(|error| without_texts(error.to_string()))
}

fn scrub_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = scrub(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(scrub_value),
        Value::Object(fields) => fields.values_mut().for_each(scrub_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use sentry::protocol::{Breadcrumb, Exception};

    use super::*;

    #[test]
    fn a_report_is_scrubbed_and_keeps_its_structure() {
        let mut event = Event { message: Some("at postgres://me:hunter2@db/x".into()), ..Event::default() };
        event.exception = vec![Exception { ty: "panic".into(), value: Some("Bearer abcdefghijkl".into()), ..Exception::default() }].into();
        event.breadcrumbs = vec![Breadcrumb { message: Some("password=hunter2".into()), ..Breadcrumb::default() }].into();
        event.extra.insert("nested".into(), serde_json::json!({"keys": ["blt_pat_abcdefghijkl"]}));
        let (id, scrubbed) = (event.event_id, scrub_event(event));
        assert_eq!(scrubbed.event_id, id);
        assert_eq!(scrubbed.message.as_deref(), Some("at postgres://[redacted]@db/x"));
        assert_eq!(scrubbed.exception[0].value.as_deref(), Some("Bearer [redacted]"));
        assert_eq!(scrubbed.breadcrumbs[0].message.as_deref(), Some("password=[redacted]"));
        assert_eq!(scrubbed.extra["nested"]["keys"][0], "[redacted]");
    }
}
