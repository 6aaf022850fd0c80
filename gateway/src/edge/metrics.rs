//! `http.server.request.duration`, as the semantic conventions name it.

use std::{sync::LazyLock, time::Duration};

use axum::http::{Method, StatusCode};
use opentelemetry::{KeyValue, global, metrics::Histogram};

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    global::meter("backlot")
        .f64_histogram("http.server.request.duration")
        .with_unit("s")
        .with_description("time until the answer began")
        .with_boundaries(chassis::telemetry::SECONDS.to_vec())
        .build()
});

/// Records one request. Unknown methods share one label.
pub(crate) fn record(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS].contains(method);
    let labels = [
        KeyValue::new("svc", "gateway"),
        KeyValue::new("http.request.method", if known { method.as_str().to_owned() } else { "_OTHER".to_owned() }),
        KeyValue::new("http.route", route.to_owned()),
        KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
    ];
    DURATION.record(took.as_secs_f64(), &labels);
}
