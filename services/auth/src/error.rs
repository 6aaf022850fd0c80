//! The errors of this service, and what a client sees of them.

use std::time::Duration;

use chassis::{error::ServiceError, identity::Caller};
use proto::error::{ErrorCode, Fault, FieldViolation};

use crate::{
    mail::sender::SmtpError,
    password::{HashError, Weakness},
    session::NoRandomness,
    store,
    token::KeyError,
};

/// The name in the domain of the errors.
pub(crate) const SERVICE: &str = Caller::Auth.name();

/// Why a call or the start failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A refusal in its final form: an invalid field, a rate limit, a missing token.
    #[error(transparent)]
    Refused(Box<Fault>),
    #[error("the password is too easy to guess: {0}")]
    WeakPassword(Weakness),
    #[error("sign-up is closed; ask the operator of this installation for an account")]
    SignUpClosed,
    #[error("this address already has an account")]
    EmailTaken,
    #[error("sign-up is closed for addresses of this domain; ask the operator of this installation for an account")]
    DomainClosed,
    #[error("the link has been used, has expired, or is incomplete; ask for a new one")]
    LinkInvalid,
    #[error("the address or the password is wrong")]
    BadCredentials,
    #[error("there is no such account")]
    UserNotFound,
    #[error("the account is disabled")]
    UserDisabled,
    #[error("the session has ended or does not exist")]
    SessionEnded,
    #[error("the account has no such session, or it has ended")]
    SessionNotFound,
    #[error("this needs a session of a sign-in; a program cannot do it")]
    SessionRequired,
    #[error("the refresh token was used before; its session has ended, sign in again")]
    TokenReused,
    #[error("the account has {0} programs with refresh tokens, which is the most; end one of them")]
    TooManyCredentials(u32),
    #[error("too many passwords are waiting to be checked; try again")]
    Overloaded,
    #[error("this process is stopping; reconnect")]
    Draining,
    #[error("the log of revocations cannot be read now; reconnect")]
    FeedStalled,
    #[error("the database failed")]
    Store(#[from] store::StoreError),
    #[error("a password could not be hashed")]
    Hash(#[from] HashError),
    #[error("a signing key could not be used")]
    Key(#[from] KeyError),
    #[error("no signing key can be decrypted with this cluster's secret")]
    NoSigningKey,
    #[error("a session secret could not be generated")]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    #[error("a hashing thread panicked")]
    Thread(#[source] tokio::task::JoinError),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Refused(Box::new(fault))
    }
}

impl Error {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(fault) => fault.code,
            Self::WeakPassword(_) | Self::LinkInvalid => ErrorCode::InvalidArgument,
            Self::SignUpClosed | Self::DomainClosed | Self::SessionRequired => ErrorCode::Forbidden,
            Self::EmailTaken | Self::UserDisabled => ErrorCode::Conflict,
            Self::UserNotFound | Self::SessionNotFound => ErrorCode::NotFound,
            Self::TooManyCredentials(_) => ErrorCode::RateLimited,
            Self::BadCredentials | Self::SessionEnded | Self::TokenReused => ErrorCode::Unauthenticated,
            Self::Overloaded | Self::Draining | Self::FeedStalled => ErrorCode::Unavailable,
            Self::Store(e) if e.is_transient() => ErrorCode::Unavailable,
            Self::Store(_) | Self::Hash(_) | Self::Key(_) | Self::NoSigningKey | Self::Randomness(_) | Self::Smtp(_) | Self::Thread(_) => {
                ErrorCode::Internal
            }
        }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused(fault) => &fault.reason,
            Self::WeakPassword(_) => "WEAK_PASSWORD",
            Self::SignUpClosed | Self::DomainClosed => "SIGNUP_CLOSED",
            Self::LinkInvalid => "LINK_INVALID",
            Self::EmailTaken => "EMAIL_TAKEN",
            Self::BadCredentials => "BAD_CREDENTIALS",
            Self::UserNotFound => "USER_NOT_FOUND",
            Self::UserDisabled => "USER_DISABLED",
            Self::SessionEnded => "SESSION_ENDED",
            Self::SessionNotFound => "SESSION_NOT_FOUND",
            Self::SessionRequired => "SESSION_REQUIRED",
            Self::TokenReused => "TOKEN_REUSED",
            Self::TooManyCredentials(_) => "TOO_MANY_CREDENTIALS",
            Self::Overloaded => "OVERLOADED",
            Self::Draining => "DRAINING",
            Self::FeedStalled => "UNAVAILABLE",
            Self::Store(e) if e.is_transient() => "UNAVAILABLE",
            Self::Store(_) | Self::Hash(_) | Self::Key(_) | Self::NoSigningKey | Self::Randomness(_) | Self::Smtp(_) | Self::Thread(_) => {
                "INTERNAL"
            }
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
