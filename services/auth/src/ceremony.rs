//! An exchange with an authenticator: what it is for, and who may finish it. WebAuthn calls it a ceremony.

use proto::id::SessionId;
use serde_json::Value;
use time::Duration;

/// The answer has to arrive within this.
pub(crate) const LIFETIME: Duration = Duration::minutes(5);

/// What an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Registration,
    SignIn,
    SecondStep,
    StepUp,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Registration, Self::SignIn, Self::SecondStep, Self::StepUp];

    /// As the column spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::SignIn => "sign_in",
            Self::SecondStep => "second_step",
            Self::StepUp => "step_up",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// Who has begun it besides the owner of its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Starter {
    Nothing,
    Session(SessionId),
    /// The hash of the token of a sign-in whose first step is done.
    SignIn([u8; 32]),
}

/// An exchange that waits for its answer.
#[derive(Debug)]
pub(crate) struct Ceremony {
    pub(crate) purpose: Purpose,
    pub(crate) starter: Starter,
    pub(crate) state: Value,
}

impl Ceremony {
    /// Whether a session may finish it for a purpose.
    pub(crate) fn is_of(&self, session: SessionId, purpose: Purpose) -> bool {
        self.purpose == purpose && self.starter == Starter::Session(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_has_one_name() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::named(purpose.name()), Some(purpose));
        }
        assert_eq!(Purpose::named("other"), None);
    }

    #[test]
    fn only_its_session_finishes_it_for_its_purpose() {
        let session = SessionId::generate();
        let ceremony = Ceremony { purpose: Purpose::StepUp, starter: Starter::Session(session), state: Value::Null };
        assert!(ceremony.is_of(session, Purpose::StepUp));
        assert!(!ceremony.is_of(SessionId::generate(), Purpose::StepUp) && !ceremony.is_of(session, Purpose::Registration));
        let of_nobody = Ceremony { starter: Starter::Nothing, ..ceremony };
        assert!(!of_nobody.is_of(session, Purpose::StepUp));
    }
}
