//! The errors of the routes of OAuth. Clients expect the members of RFC 6749, section 5.2, and no problem document. The statuses and headers are
//! those of a problem.

use axum::http::{Method, StatusCode};
use proto::error::{ErrorCode, Fault};
use serde_json::{Value, json};

/// The media type.
pub(crate) const KIND: &str = "application/json";

/// A route of OAuth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The device authorization endpoint (RFC 8628, section 3.1).
    DeviceAuthorization,
    Token,
}

impl Endpoint {
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::DeviceAuthorization => "/api/auth/device",
            Self::Token => "/api/auth/device/token",
        }
    }

    /// The endpoint of a request to a route of the main listener.
    pub(crate) fn of(method: &Method, route: &str) -> Option<Self> {
        [Self::DeviceAuthorization, Self::Token].into_iter().find(|endpoint| *method == Method::POST && endpoint.path() == route)
    }
}

/// The document of an error.
pub(crate) fn error(name: &str, description: &str) -> Value {
    json!({ "error": name, "error_description": ascii(description) })
}

/// The document of a fault that is answered with this status.
pub(crate) fn error_of(fault: &Fault, status: StatusCode, endpoint: Endpoint) -> Value {
    error(name(status, endpoint), &description(fault))
}

/// A token request that is sent too often is repeated more slowly (RFC 8628, section 3.5). Other errors of the server have the names of RFC 6749,
/// section 4.1.2.1.
fn name(status: StatusCode, endpoint: Endpoint) -> &'static str {
    match (status, endpoint) {
        (StatusCode::TOO_MANY_REQUESTS, Endpoint::Token) => "slow_down",
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => "temporarily_unavailable",
        (status, _) if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

fn description(fault: &Fault) -> String {
    // The message of an internal error is only for the log.
    if fault.code == ErrorCode::Internal {
        return "the request could not be served; quote its X-Request-Id".to_owned();
    }
    if fault.violations.is_empty() {
        return fault.message.clone();
    }
    let fields = fault.violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description));
    fields.collect::<Vec<_>>().join("; ")
}

/// A description has printable ASCII without quotes and backslashes.
fn ascii(text: &str) -> String {
    let replaced = |c| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(replaced).collect()
}

#[cfg(test)]
mod tests {
    use proto::error::FieldViolation;

    use super::*;

    #[test]
    fn each_status_has_an_error_of_the_rfcs() {
        use Endpoint::{DeviceAuthorization, Token};
        for (status, endpoint, expected) in [
            (400, DeviceAuthorization, "invalid_request"),
            (415, Token, "invalid_request"),
            (429, DeviceAuthorization, "temporarily_unavailable"),
            (429, Token, "slow_down"),
            (503, DeviceAuthorization, "temporarily_unavailable"),
            (503, Token, "temporarily_unavailable"),
            (500, Token, "server_error"),
            (504, DeviceAuthorization, "server_error"),
        ] {
            assert_eq!(name(StatusCode::from_u16(status).unwrap(), endpoint), expected, "{status} {endpoint:?}");
        }
    }

    #[test]
    fn a_description_names_the_fields_and_has_only_the_characters_that_it_may_have() {
        let violation = FieldViolation { field: "client_id".into(), description: "must be \"1\" to `80`\\ é\n".into() };
        let document = error_of(&Fault::invalid("auth", vec![violation]), StatusCode::BAD_REQUEST, Endpoint::Token);
        let expected = json!({ "error": "invalid_request", "error_description": "client_id: must be '1' to `80`' ?'n" });
        assert_eq!(document, expected);
        let secret = Fault::new("auth", ErrorCode::Internal, "DATABASE", "the password is hunter2");
        let document = error_of(&secret, StatusCode::INTERNAL_SERVER_ERROR, Endpoint::Token);
        assert!(document["error"] == "server_error" && !document.to_string().contains("hunter2"), "{document}");
    }

    #[test]
    fn the_endpoints_are_routes() {
        let routes = crate::router::own_routes();
        for endpoint in [Endpoint::DeviceAuthorization, Endpoint::Token] {
            assert!(routes.iter().any(|route| (route.method, route.template) == ("POST", endpoint.path())), "{endpoint:?}");
            assert_eq!(Endpoint::of(&Method::POST, endpoint.path()), Some(endpoint));
            assert_eq!(Endpoint::of(&Method::GET, endpoint.path()), None);
        }
        assert_eq!(Endpoint::of(&Method::POST, "/api/auth/token"), None);
    }
}
