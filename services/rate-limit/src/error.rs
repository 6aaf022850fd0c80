//! The errors of this service, and what a client sees of them. The refusal of a policy is an answer and not an error.

use chassis::{error::ServiceError, identity::Caller};
use proto::error::{ErrorCode, Fault};

/// The name in the domain of the errors.
pub(crate) const SERVICE: &str = Caller::RateLimit.name();

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no policy `{0}`")]
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
