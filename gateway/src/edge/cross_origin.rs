//! What pages of other sites may do: CORS and the protection against forged requests.

use std::time::Duration;

use axum::{
    http::{HeaderValue, Method},
    response::{IntoResponse as _, Response},
};
use proto::error::ErrorCode;
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    csrf::{CsrfLayer, ProtectionError},
};
use url::Url;

use crate::{
    error::{Failure, fault},
    http::headers::{CORS_EXPOSED, CORS_REQUEST},
};

/// How long a browser caches the response to a preflight request.
const PREFLIGHT_AGE: Duration = Duration::from_secs(7200);

/// The response to a request that is refused.
type CsrfAnswer = fn(ProtectionError) -> Response;

/// Refuses requests of pages that are neither of the gateway nor of a listed origin (cross-site request forgery).
pub(crate) fn csrf(main: &Url, listed: &[String]) -> CsrfLayer<CsrfAnswer> {
    let refuse: CsrfAnswer = |_| {
        let text = "the request is from a page of another origin, which BACKLOT_CORS_ORIGINS does not list";
        Failure::from(fault(ErrorCode::Forbidden, "CROSS_ORIGIN", text)).into_response()
    };
    // The layer compares Origin with Host. Behind a proxy that rewrites Host, the gateway's own origin must also be listed.
    let own = main.origin().ascii_serialization();
    let mut layer = CsrfLayer::new();
    for origin in listed.iter().chain([&own]) {
        match layer.clone().add_trusted_origin(origin) {
            Ok(trusting) => layer = trusting,
            Err(problem) => tracing::warn!("an origin of BACKLOT_CORS_ORIGINS is ignored: {problem}"),
        }
    }
    layer.with_rejection_response(refuse)
}

/// Lets pages of these origins call the API with credentials. `None` if there are none.
pub(crate) fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_credentials(true)
            .allow_methods(methods)
            .allow_headers(CORS_REQUEST)
            .expose_headers(CORS_EXPOSED)
            .max_age(PREFLIGHT_AGE),
    )
}
