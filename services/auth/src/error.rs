//! The errors of this service, and what a client sees of them.

use std::time::Duration;

use chassis::{error::ServiceError, identity::Caller};
use proto::error::{ErrorCode, Fault, FieldViolation};

use crate::{
    breached::ListError,
    factor::{self, Method},
    mail::sender::SmtpError,
    password::{HashError, Weakness},
    relying_party,
    session::{NoRandomness, SessionSecret},
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
    #[error("sign-up needs an invite; ask the operator of this installation for one")]
    InviteRequired,
    #[error("the invite is unknown, used, revoked or expired, or is for another address")]
    InviteInvalid,
    #[error("there is no such invite")]
    InviteNotFound,
    #[error("this address already has an account")]
    EmailTaken,
    #[error("the provider has not verified an e-mail address of this person")]
    EmailUnverified,
    #[error("there is no such provider")]
    ProviderNotFound,
    #[error("the person or the provider has refused the sign-in")]
    ProviderDenied,
    #[error("the provider's proof of the identity is not valid; start again")]
    ProviderRefused,
    #[error("the sign-in of the person at the provider is too old; sign in there again")]
    ProviderSignInTooOld,
    #[error("the sign-in of the person at the provider is not as strong as this installation requires")]
    ProviderSignInTooWeak,
    #[error("the provider does not answer; try again")]
    ProviderUnavailable,
    #[error("this browser waits for no such answer, or has waited for too long; start again")]
    FlowInvalid,
    #[error("this identity belongs to another account")]
    IdentityTaken,
    #[error("the account has no such identity")]
    IdentityNotFound,
    #[error("the account has {0} identities, which is the most; unlink one of them")]
    TooManyIdentities(usize),
    #[error("the account has no other way to sign in; set a password, link another identity or add another passkey first")]
    LastSignIn,
    #[error("the providers of sign-ins cannot be used: {0}")]
    Provider(String),
    #[error("sign-up is closed for addresses of this domain; ask the operator of this installation for an account")]
    DomainClosed,
    #[error("the link has been used, has expired, or is incomplete; ask for a new one")]
    LinkInvalid,
    #[error("the address or the password is wrong")]
    BadCredentials,
    /// Of somebody who is signed in, by the name of the proof.
    #[error("the {0} is wrong")]
    WrongPassword(&'static str),
    #[error("a second factor has to complete the sign-in")]
    SecondFactorRequired {
        token: SessionSecret,
        methods: Vec<Method>,
        /// The page that a sign-in at a provider leads to; empty for other sign-ins.
        return_to: String,
    },
    #[error("this installation requires a second factor, and the account has none; sign in and add one")]
    SecondFactorMissing,
    #[error("the code is wrong or was used before")]
    BadSecondFactor,
    #[error("the sign-in was completed, has expired, or had too many attempts; sign in again")]
    SignInExpired,
    #[error("the account has an authenticator app; remove it before you add another one")]
    FactorExists,
    #[error("the account has no such factor, or it waited too long for its confirmation")]
    FactorNotFound,
    #[error("passkeys need https and a domain name, or localhost, in the public URL of this installation")]
    PasskeysNotOffered,
    #[error("the answer of the passkey is not valid, or the passkey is not the expected one")]
    PasskeyInvalid,
    #[error("the account has no such passkey")]
    PasskeyNotFound,
    #[error("the exchange with the passkey is unknown, used or expired, or was begun elsewhere; start again")]
    CeremonyInvalid,
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
    #[error("this needs a proof of who you are from the last {} minutes; {}", factor::MAX_AGE.whole_minutes(), advice(.0))]
    StepUpRequired(Vec<Method>),
    #[error("the refresh token was used before; its session has ended, sign in again")]
    TokenReused,
    #[error("the account has {1} {0}, which is the most; end one of them")]
    TooManyCredentials(&'static str, u32),
    #[error("the API key does not exist, was deleted or has expired")]
    KeyInvalid,
    #[error("the code does not exist, has expired or was used; start again on the device")]
    DeviceCodeInvalid,
    #[error("the account has no such API key")]
    KeyNotFound,
    #[error("there is no such service account")]
    ServiceAccountNotFound,
    #[error("this is a service account: nobody signs in to it, and it has no second factor")]
    NotAPerson,
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
    #[error("the list of breached passwords cannot be used")]
    BreachedPasswords(#[from] ListError),
    #[error("a signing key could not be used")]
    Key(#[from] KeyError),
    #[error("a secret could not be sealed")]
    Seal(#[from] chassis::secret::SealError),
    #[error("a sealed secret could not be opened")]
    Open(#[from] chassis::secret::OpenError),
    #[error("no signing key can be decrypted with this cluster's secret")]
    NoSigningKey,
    #[error(transparent)]
    Passkey(#[from] relying_party::Failure),
    #[error("a session secret could not be generated")]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    #[error("a hashing thread panicked")]
    Thread(#[source] tokio::task::JoinError),
}

impl Error {
    /// The same for a sign-in that leads to a page.
    pub(crate) fn leading_to(self, page: &str) -> Self {
        match self {
            Self::SecondFactorRequired { token, methods, .. } => Self::SecondFactorRequired { token, methods, return_to: page.to_owned() },
            other => other,
        }
    }
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
            Self::WeakPassword(_)
            | Self::LinkInvalid
            | Self::DeviceCodeInvalid
            | Self::InviteInvalid
            | Self::FlowInvalid
            | Self::CeremonyInvalid => ErrorCode::InvalidArgument,
            Self::SignUpClosed | Self::DomainClosed | Self::SessionRequired | Self::StepUpRequired(_) => ErrorCode::Forbidden,
            Self::InviteRequired | Self::EmailUnverified | Self::ProviderDenied | Self::PasskeysNotOffered | Self::SecondFactorMissing => {
                ErrorCode::Forbidden
            }
            Self::EmailTaken | Self::UserDisabled | Self::NotAPerson | Self::FactorExists | Self::IdentityTaken | Self::LastSignIn => {
                ErrorCode::Conflict
            }
            Self::UserNotFound
            | Self::SessionNotFound
            | Self::FactorNotFound
            | Self::KeyNotFound
            | Self::ServiceAccountNotFound
            | Self::PasskeyNotFound
            | Self::InviteNotFound
            | Self::ProviderNotFound
            | Self::IdentityNotFound => ErrorCode::NotFound,
            Self::TooManyCredentials(..) | Self::TooManyIdentities(_) => ErrorCode::RateLimited,
            Self::SecondFactorRequired { .. } | Self::BadSecondFactor | Self::PasskeyInvalid | Self::SignInExpired => {
                ErrorCode::Unauthenticated
            }
            Self::BadCredentials
            | Self::WrongPassword(_)
            | Self::SessionEnded
            | Self::TokenReused
            | Self::KeyInvalid
            | Self::ProviderRefused
            | Self::ProviderSignInTooOld
            | Self::ProviderSignInTooWeak => ErrorCode::Unauthenticated,
            Self::Overloaded | Self::Draining | Self::FeedStalled | Self::ProviderUnavailable => ErrorCode::Unavailable,
            Self::Store(e) if e.is_transient() => ErrorCode::Unavailable,
            Self::Store(_)
            | Self::Hash(_)
            | Self::BreachedPasswords(_)
            | Self::Key(_)
            | Self::Seal(_)
            | Self::Open(_)
            | Self::NoSigningKey
            | Self::Randomness(_)
            | Self::Passkey(_)
            | Self::Smtp(_)
            | Self::Thread(_)
            | Self::Provider(_) => ErrorCode::Internal,
        }
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Refused(fault) => &fault.reason,
            Self::WeakPassword(_) => "WEAK_PASSWORD",
            Self::SignUpClosed | Self::DomainClosed => "SIGNUP_CLOSED",
            Self::LinkInvalid => "LINK_INVALID",
            Self::DeviceCodeInvalid => "DEVICE_CODE_INVALID",
            Self::InviteRequired => "INVITE_REQUIRED",
            Self::InviteInvalid => "INVITE_INVALID",
            Self::InviteNotFound => "INVITE_NOT_FOUND",
            Self::EmailTaken => "EMAIL_TAKEN",
            Self::EmailUnverified => "EMAIL_UNVERIFIED",
            Self::ProviderNotFound => "PROVIDER_NOT_FOUND",
            Self::ProviderDenied => "PROVIDER_DENIED",
            Self::ProviderRefused => "PROVIDER_REFUSED",
            Self::ProviderSignInTooOld => "PROVIDER_SIGN_IN_TOO_OLD",
            Self::ProviderSignInTooWeak => "PROVIDER_SIGN_IN_TOO_WEAK",
            Self::ProviderUnavailable => "PROVIDER_UNAVAILABLE",
            Self::FlowInvalid => "FLOW_INVALID",
            Self::IdentityTaken => "IDENTITY_TAKEN",
            Self::IdentityNotFound => "IDENTITY_NOT_FOUND",
            Self::TooManyIdentities(_) => "TOO_MANY_IDENTITIES",
            Self::LastSignIn => "LAST_SIGN_IN",
            Self::BadCredentials | Self::WrongPassword(_) => "BAD_CREDENTIALS",
            Self::SecondFactorRequired { .. } => "SECOND_FACTOR_REQUIRED",
            Self::SecondFactorMissing => "SECOND_FACTOR_MISSING",
            Self::BadSecondFactor => "BAD_SECOND_FACTOR",
            Self::SignInExpired => "SIGN_IN_EXPIRED",
            Self::FactorExists => "FACTOR_EXISTS",
            Self::FactorNotFound => "FACTOR_NOT_FOUND",
            Self::PasskeysNotOffered => "PASSKEYS_NOT_OFFERED",
            Self::PasskeyInvalid => "PASSKEY_INVALID",
            Self::PasskeyNotFound => "PASSKEY_NOT_FOUND",
            Self::CeremonyInvalid => "CEREMONY_INVALID",
            Self::UserNotFound => "USER_NOT_FOUND",
            Self::UserDisabled => "USER_DISABLED",
            Self::SessionEnded => "SESSION_ENDED",
            Self::SessionNotFound => "SESSION_NOT_FOUND",
            Self::SessionRequired => "SESSION_REQUIRED",
            Self::StepUpRequired(_) => "STEP_UP_REQUIRED",
            Self::TokenReused => "TOKEN_REUSED",
            Self::KeyInvalid => "API_KEY_INVALID",
            Self::KeyNotFound => "API_KEY_NOT_FOUND",
            Self::ServiceAccountNotFound => "SERVICE_ACCOUNT_NOT_FOUND",
            Self::NotAPerson => "NOT_A_PERSON",
            Self::TooManyCredentials(..) => "TOO_MANY_CREDENTIALS",
            Self::Overloaded => "OVERLOADED",
            Self::Draining => "DRAINING",
            Self::FeedStalled => "UNAVAILABLE",
            Self::Store(e) if e.is_transient() => "UNAVAILABLE",
            Self::Store(_) | Self::Hash(_) | Self::BreachedPasswords(_) | Self::Key(_) | Self::Seal(_) | Self::Open(_) => "INTERNAL",
            Self::NoSigningKey | Self::Randomness(_) | Self::Passkey(_) | Self::Smtp(_) | Self::Thread(_) | Self::Provider(_) => "INTERNAL",
        }
    }
}

fn names(methods: &[Method]) -> String {
    methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(",")
}

fn advice(methods: &[Method]) -> &'static str {
    match methods {
        [] => "sign in again",
        [Method::Password] => "prove it with the password (POST /api/auth/step-up, StepUp), or sign in again",
        _ => "prove it with the second factor (POST /api/auth/step-up, StepUp), or sign in again",
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
        if let Self::StepUpRequired(methods) = self {
            fault = fault.with("methods", names(methods));
        }
        if let Self::SecondFactorRequired { token, methods, return_to } = self {
            fault = fault.with("sign_in_token", token.expose()).with("methods", names(methods));
            if !return_to.is_empty() {
                fault = fault.with("return_to", return_to.as_str());
            }
        }
        if self.code() == ErrorCode::Unavailable { fault.retry_after(Duration::from_secs(1)) } else { fault }
    }
}
