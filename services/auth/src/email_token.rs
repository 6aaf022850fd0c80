//! The tokens of links. That of a mail proves that somebody reads the mail of one address. A token has one purpose and can be used once.

use std::fmt;

use proto::id::UserId;
use time::Duration;
use uuid::Uuid;

use crate::{
    email::Email,
    mail::queue::PendingSignUp,
    session::{NoRandomness, SessionSecret},
};

/// What a token is for. Each purpose is one step of one flow: a token of another purpose never completes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Creates the account of a sign-up, with its password.
    SignUp,
    /// Marks the address of an account as verified, in a session of the account.
    Verify,
    /// Sets a new password.
    Reset,
    /// Gives an account another address, which is that of the token.
    ChangeEmail,
    /// Removes the second factor of the token.
    RemoveFactor,
    /// Sets the first password of an account that an operator made. The operator gets the link, so it proves no address.
    FirstPassword,
}

impl Purpose {
    /// Those whose tokens verify an address.
    pub(crate) const VERIFYING: [Self; 2] = [Self::SignUp, Self::Verify];
    /// Those whose tokens set a password. The owner of an address may not know the password of the sign-up.
    pub(crate) const SETTING_PASSWORD: [Self; 3] = [Self::Reset, Self::FirstPassword, Self::SignUp];
    /// Those whose tokens a new password by a link makes void. A new second factor stays, and so does the link that removes it.
    pub(crate) const VOID_AFTER_RESET: [Self; 5] = [Self::SignUp, Self::Verify, Self::Reset, Self::ChangeEmail, Self::FirstPassword];
    pub(crate) const ALL: [Self; 6] = [Self::SignUp, Self::Verify, Self::Reset, Self::ChangeEmail, Self::RemoveFactor, Self::FirstPassword];

    /// As the column spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::ChangeEmail => "change_email",
            Self::RemoveFactor => "remove_factor",
            Self::FirstPassword => "first_password",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// How long a token can be used.
    pub(crate) const fn lifetime(self) -> Duration {
        match self {
            Self::SignUp | Self::Verify => Duration::hours(24),
            Self::Reset => Duration::minutes(30),
            Self::ChangeEmail => Duration::hours(1),
            Self::RemoveFactor => Duration::days(7),
            Self::FirstPassword => Duration::days(3),
        }
    }
}

/// A token of 256 random bits. Only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EmailToken(SessionSecret);

impl EmailToken {
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        SessionSecret::generate().map(Self)
    }

    /// A token that a client sent.
    pub(crate) fn from_client(text: String) -> Self {
        Self(SessionSecret::from_client(text))
    }

    /// 43 characters of base64url.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The hash that is stored and looked up.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

impl fmt::Debug for EmailToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the use of a token proves.
pub(crate) struct Proof {
    pub(crate) purpose: Purpose,
    /// `None` for a sign-up.
    pub(crate) user_id: Option<UserId>,
    /// The address that the mail went to, or that of the account.
    pub(crate) email: String,
    pub(crate) identity: String,
    pub(crate) sign_up: Option<PendingSignUp>,
    /// The second factor that the token removes.
    pub(crate) factor: Option<Uuid>,
}

impl Proof {
    pub(crate) fn of(purpose: Purpose, user_id: Option<UserId>, email: &Email) -> Self {
        Self { purpose, user_id, email: email.as_str().to_owned(), identity: email.identity().to_owned(), sign_up: None, factor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_has_one_name_and_a_lifetime() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::named(purpose.name()), Some(purpose));
            let minutes = match purpose {
                Purpose::SignUp | Purpose::Verify => 24 * 60,
                Purpose::Reset => 30,
                Purpose::ChangeEmail => 60,
                Purpose::RemoveFactor => 7 * 24 * 60,
                Purpose::FirstPassword => 3 * 24 * 60,
            };
            assert_eq!(purpose.lifetime(), Duration::minutes(minutes));
        }
        assert_eq!(Purpose::named("other"), None);
    }

    #[test]
    fn a_token_is_long_and_is_not_printed() {
        let (one, other) = (EmailToken::generate().expect("random"), EmailToken::generate().expect("random"));
        assert_ne!(one, other);
        assert_eq!((one.expose().len(), format!("{one:?}").as_str()), (43, "[redacted]"));
        assert_eq!(one.hash(), EmailToken::from_client(one.expose().to_owned()).hash());
    }
}
