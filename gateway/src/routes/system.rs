//! Probes, metrics and the OpenAPI document.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    web::{
        openapi,
        readiness::{Health, is_ready},
    },
};

/// The process runs.
pub(crate) async fn healthz() -> Response {
    document(StatusCode::OK, &json!({"status": "ok"}))
}

/// The gateway can serve requests: the services that it needs answer, it knows which sessions have ended, and this process is not about to
/// stop.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let services = app.readiness.of(&app.upstream).await;
    let leaving = app.leaving.is_cancelled();
    let known = app.revocations.is_known();
    let ready = !leaving && known && is_ready(&services);
    let mut missing: Map<String, Value> = services
        .iter()
        .filter_map(
            |(name, health)| if let Health::Missing(engine) = health { Some((name.name().to_owned(), Value::from(*engine))) } else { None },
        )
        .collect();
    if !known {
        missing.insert("gateway".to_owned(), Value::from("revocations"));
    }
    let services: Map<String, Value> =
        services.iter().map(|(name, health)| (name.name().to_owned(), Value::from(*health == Health::Serving))).collect();
    let mut response = document(
        if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE },
        &json!({"ready": ready, "draining": leaving, "services": services, "missing": missing}),
    );
    if !ready {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// For Prometheus.
pub(crate) async fn metrics() -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], chassis::telemetry::metrics_text()).into_response()
}

/// The API's description.
pub(crate) async fn openapi(State(app): State<Arc<App>>) -> Response {
    let text = app.description.get_or_init(|| Bytes::from(openapi::document(&app.origins.main).to_string()));
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text.clone()).into_response()
}

fn document(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], value.to_string()).into_response()
}
