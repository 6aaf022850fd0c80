//! Converts the typed error of a service to a status. An internal error is logged here, once, with its causes. The client gets only
//! the trace id.

use std::error::Error;

use proto::error::{ErrorCode, Fault};
use tonic::Status;

pub use crate::cause::chain;
use crate::telemetry;

/// The error enum of a service.
pub trait ServiceError: Error {
    /// The fault that the client gets. The text of an internal one is hidden, see [`status`].
    fn fault(&self) -> Fault;
}

impl ServiceError for Fault {
    fn fault(&self) -> Fault {
        self.clone()
    }
}

/// The status of a failed call.
pub fn status(error: impl ServiceError) -> Status {
    fault(&error).into()
}

/// The fault of a failed operation, for work that no RPC waits for.
pub fn fault(error: &impl ServiceError) -> Fault {
    let fault = error.fault();
    if fault.code != ErrorCode::Internal {
        tracing::debug!(reason = fault.reason, "refused: {error}");
        return fault;
    }
    tracing::error!(cause = chain(error), "internal error");
    let hidden = Fault { domain: fault.domain, ..Fault::new("", ErrorCode::Internal, "INTERNAL", "internal error") };
    hidden.with("trace_id", telemetry::trace_id())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Broken {
        #[error("no such thing")]
        Absent,
        #[error("select things")]
        Storage(#[source] Wrapped),
    }

    #[derive(Debug, thiserror::Error)]
    #[error("postgres: {0}")]
    struct Wrapped(#[source] io::Error);

    impl ServiceError for Broken {
        fn fault(&self) -> Fault {
            match self {
                Self::Absent => Fault::new("auth", ErrorCode::NotFound, "NOT_FOUND", self.to_string()),
                Self::Storage(_) => Fault::new("auth", ErrorCode::Internal, "STORAGE", self.to_string()),
            }
        }
    }

    #[test]
    fn an_internal_error_hides_its_text() {
        let error = Broken::Storage(Wrapped(io::Error::other("password is hunter2")));
        assert_eq!(chain(&error), "select things: postgres: password is hunter2");
        let fault = Fault::from_status(&status(error));
        assert_eq!((fault.code, fault.reason.as_str(), fault.message.as_str()), (ErrorCode::Internal, "INTERNAL", "internal error"));
        assert_eq!(fault.domain, "auth.backlot.dev");
        assert!(fault.metadata.contains_key("trace_id"));
    }

    #[test]
    fn other_errors_are_unchanged() {
        let fault = Fault::from_status(&status(Broken::Absent));
        assert_eq!((fault.reason.as_str(), fault.message.as_str()), ("NOT_FOUND", "no such thing"));
    }
}
