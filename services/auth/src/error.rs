//! Everything that can go wrong here, and what a client learns of it.

use std::time::Duration;

use chassis::{error::ServiceError, identity::Caller};
use proto::error::{ErrorCode, Fault, FieldViolation};

use crate::{
    password::{HashError, Weakness},
    session::NoRandomness,
    store,
    token::KeyError,
};

/// The folder's name, as it stands in every error's domain.
pub const SERVICE: &str = Caller::Auth.name();

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Already in its final form: a bad field, a rate limit, a missing token.
    #[error(transparent)]
    Refused(Box<Fault>),
    #[error("the password is too easy to guess: {0}")]
    WeakPassword(Weakness),
    #[error("sign-up is closed: ask whoever runs this installation for an account")]
    SignUpClosed,
    #[error("this address has an account already")]
    EmailTaken,
    #[error("the address or the password is wrong")]
    BadCredentials,
    #[error("the session has ended or never was")]
    SessionEnded,
    #[error("too many passwords are being checked; try again")]
    Overloaded,
    #[error("this process is stopping; connect again")]
    Draining,
    #[error("revocations cannot be followed now; connect again")]
    Unfollowed,
    #[error("the store failed")]
    Store(#[from] store::StoreError),
    #[error("a password could not be hashed")]
    Hash(#[from] HashError),
    #[error("a key could not be used")]
    Key(#[from] KeyError),
    #[error("no signing key opens under this cluster's secret")]
    NoSigningKey,
    #[error("a secret could not be made")]
    Randomness(#[from] NoRandomness),
    #[error("a hashing thread died")]
    Thread(#[source] tokio::task::JoinError),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Refused(Box::new(fault))
    }
}

impl Error {
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(fault) => fault.code,
            Self::WeakPassword(_) => ErrorCode::InvalidArgument,
            Self::SignUpClosed => ErrorCode::Forbidden,
            Self::EmailTaken => ErrorCode::Conflict,
            Self::BadCredentials | Self::SessionEnded => ErrorCode::Unauthenticated,
            Self::Overloaded | Self::Draining | Self::Unfollowed => ErrorCode::Unavailable,
            Self::Store(e) if e.is_transient() => ErrorCode::Unavailable,
            Self::Store(_) | Self::Hash(_) | Self::Key(_) | Self::NoSigningKey | Self::Randomness(_) | Self::Thread(_) => {
                ErrorCode::Internal
            }
        }
    }

    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused(fault) => &fault.reason,
            Self::WeakPassword(_) => "WEAK_PASSWORD",
            Self::SignUpClosed => "SIGNUP_CLOSED",
            Self::EmailTaken => "EMAIL_TAKEN",
            Self::BadCredentials => "BAD_CREDENTIALS",
            Self::SessionEnded => "SESSION_ENDED",
            Self::Overloaded => "OVERLOADED",
            Self::Draining => "DRAINING",
            Self::Unfollowed => "UNAVAILABLE",
            Self::Store(e) if e.is_transient() => "UNAVAILABLE",
            Self::Store(_) | Self::Hash(_) | Self::Key(_) | Self::NoSigningKey | Self::Randomness(_) | Self::Thread(_) => "INTERNAL",
        }
    }
}

impl ServiceError for Error {
    fn fault(&self) -> Fault {
        if let Self::Refused(fault) = self {
            return (**fault).clone();
        }
        let mut fault = Fault::new(SERVICE, self.code(), self.reason(), self.to_string());
        if let Self::WeakPassword(why) = self {
            fault.violations.push(FieldViolation { field: "password".into(), description: why.to_string() });
        }
        if self.code() == ErrorCode::Unavailable { fault.retry_after(Duration::from_secs(1)) } else { fault }
    }
}
