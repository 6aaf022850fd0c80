//! The answers of auth that have a new session with its secret.

use proto::auth::{
    ChangePasswordResponse, ConfirmEmailChangeResponse, Session, SignInResponse, SignInWithPasskeyResponse, SignUpResponse, StepUpResponse,
    VerifySignInResponse,
};

pub(super) trait WithSession {
    /// Takes the secret of the session out of the answer. Returns it with a copy of the session.
    fn take_session(&mut self) -> (String, Option<Session>);
}

macro_rules! with_session {
    ($($answer:ty),+ $(,)?) => {$(
        impl WithSession for $answer {
            fn take_session(&mut self) -> (String, Option<Session>) {
                (std::mem::take(&mut self.session_token), self.session.clone())
            }
        }
    )+};
}

with_session!(
    ChangePasswordResponse,
    ConfirmEmailChangeResponse,
    SignInResponse,
    SignInWithPasskeyResponse,
    SignUpResponse,
    StepUpResponse,
    VerifySignInResponse,
);
