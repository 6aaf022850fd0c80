//! What `Check` can refuse to answer. A policy that says no is an answer and not among these.

use chassis::{error::ServiceError, identity::Caller};
use proto::error::{ErrorCode, Fault};

/// The folder's name, and the domain of the reasons.
pub(crate) const SERVICE: &str = Caller::RateLimit.name();

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no policy named `{0}`")]
    UnknownPolicy(String),
    #[error(transparent)]
    Invalid(Box<Fault>),
}

impl Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPolicy(_) => ErrorCode::NotFound,
            Self::Invalid(fault) => fault.code,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::UnknownPolicy(_) => "UNKNOWN_POLICY",
            Self::Invalid(fault) => &fault.reason,
        }
    }
}

impl ServiceError for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::Invalid(fault) => Fault::clone(fault),
            Self::UnknownPolicy(name) => Fault::new(SERVICE, self.code(), self.reason(), self.to_string()).with("policy", name),
        }
    }
}
