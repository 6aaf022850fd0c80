//! Errors: the fault of a handler, the faults of services, and their statuses and problem documents.

mod field_names;
pub(crate) mod oauth;
pub(crate) mod problem;
pub(crate) mod status;

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use chassis::{identity::Caller, share::Exhausted};
use proto::error::{DEFAULT_DOMAIN, ErrorCode, Fault, FieldViolation};
use tonic::{Code, Status};

/// The name in the gateway's own faults. Their domain is `gateway.backlot.dev`.
pub(crate) const SERVICE: &str = Caller::Gateway.name();
pub(crate) const DOMAIN: &str = "gateway.backlot.dev";
/// The reason of a panic. The panic hook has reported it already; the client sees INTERNAL.
pub(crate) const PANIC: &str = "PANIC";

/// The error of a handler.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) Box<Fault>);

/// A fault of the gateway itself.
pub(crate) fn fault(code: ErrorCode, reason: &str, message: impl Into<String>) -> Fault {
    Fault::new(SERVICE, code, reason, message)
}

/// A fault in one field of the request.
pub(crate) fn invalid(field: &str, description: impl Into<String>) -> Failure {
    Fault::invalid(SERVICE, vec![FieldViolation { field: field.to_owned(), description: description.into() }]).into()
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        fault_of(&status).into()
    }
}

/// The fault in a service's response. A status without our details was made by the transport. Its text names addresses and libraries, so it
/// goes to the log and not to the client.
pub(crate) fn fault_of(status: &Status) -> Fault {
    let received = Fault::from_status(status);
    if received.domain != DEFAULT_DOMAIN {
        return received;
    }
    tracing::warn!(code = ?status.code(), text = status.message(), "a call failed without an error from the service");
    match status.code() {
        Code::DeadlineExceeded => fault(ErrorCode::Timeout, "TIMEOUT", "the service took too long"),
        _ => fault(ErrorCode::Unavailable, "UNAVAILABLE", "the service cannot be reached now").retry_after(Duration::from_secs(1)),
    }
}

/// The refusal of a request whose client has used up its share of something.
pub(crate) fn share_exhausted(exhausted: Exhausted, what: &str) -> Failure {
    exhausted.fault(SERVICE, what).into()
}

impl IntoResponse for Failure {
    /// Status and fault only. [`problem::render`] adds the document.
    fn into_response(self) -> Response {
        let mut response = status::status_of(self.0.code, &self.0.reason).0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_transport_are_not_shown() {
        let fault = fault_of(&Status::unknown("tcp connect error: 10.0.0.7:9090 refused"));
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unavailable, "UNAVAILABLE"));
        assert!(!fault.message.contains("10.0.0.7"));
        assert_eq!(fault_of(&Status::deadline_exceeded("too late")).code, ErrorCode::Timeout);
        assert_eq!(fault_of(&Status::cancelled("operation was canceled")).code, ErrorCode::Unavailable);
    }
}
