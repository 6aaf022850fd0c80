//! The rows of the queue.

use chassis::identity::sha256;
use proto::id::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::email::EmailLookup;

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A sign-up: the link creates the account, or the owner learns of the attempt.
    SignUp,
    /// The link proves the address of an account.
    Verify,
    /// The link sets a new password.
    Reset,
    PasswordChanged,
    /// A new password by the link of a mail, which removes more.
    PasswordReset,
    /// A sign-in from a network that is new to the account.
    NewDevice,
    /// A new API key of the person.
    KeyMade,
    /// A new API key of a service account of the person.
    ServiceKeyMade,
    /// A program got a session with refresh tokens.
    ProgramSignedIn,
    /// To the address of an account that is gone.
    AccountDeleted,
    /// A second factor other than a passkey was added.
    FactorAdded,
    FactorRemoved,
    /// A person has made new recovery codes.
    RecoveryCodesReplaced,
    /// The link gives an account another address, or the owner of that address learns of the attempt.
    ChangeEmail,
    /// To the address that an account had before.
    EmailChanged,
    /// A person signs in with an account at a provider from now on.
    IdentityLinked,
    IdentityUnlinked,
    PasskeyAdded,
    /// Somebody did the first step of a sign-in and failed at the second one.
    SecondStepFailed,
}

impl Kind {
    pub(crate) const ALL: [Self; 19] = [
        Self::SignUp,
        Self::Verify,
        Self::Reset,
        Self::PasswordChanged,
        Self::PasswordReset,
        Self::NewDevice,
        Self::KeyMade,
        Self::ServiceKeyMade,
        Self::ProgramSignedIn,
        Self::AccountDeleted,
        Self::FactorAdded,
        Self::FactorRemoved,
        Self::RecoveryCodesReplaced,
        Self::ChangeEmail,
        Self::EmailChanged,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::PasskeyAdded,
        Self::SecondStepFailed,
    ];

    /// As the column spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::NewDevice => "new_device",
            Self::KeyMade => "key_made",
            Self::ServiceKeyMade => "service_key_made",
            Self::ProgramSignedIn => "program_signed_in",
            Self::AccountDeleted => "account_deleted",
            Self::FactorAdded => "factor_added",
            Self::FactorRemoved => "factor_removed",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::ChangeEmail => "change_email",
            Self::EmailChanged => "email_changed",
            Self::IdentityLinked => "identity_linked",
            Self::IdentityUnlinked => "identity_unlinked",
            Self::PasskeyAdded => "passkey_added",
            Self::SecondStepFailed => "second_step_failed",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the mail has a link with a token, or would have one if the account were in another state. The others tell what has happened, also
    /// those about a new second factor, whose link undoes it.
    pub(crate) const fn has_link(self) -> bool {
        match self {
            Self::SignUp | Self::Verify | Self::Reset | Self::ChangeEmail => true,
            Self::PasswordChanged
            | Self::PasswordReset
            | Self::NewDevice
            | Self::KeyMade
            | Self::ServiceKeyMade
            | Self::ProgramSignedIn
            | Self::AccountDeleted
            | Self::FactorAdded
            | Self::FactorRemoved
            | Self::RecoveryCodesReplaced
            | Self::EmailChanged
            | Self::IdentityLinked
            | Self::IdentityUnlinked
            | Self::PasskeyAdded
            | Self::SecondStepFailed => false,
        }
    }
}

/// What a sign-up asked for, until the address is proved.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PendingSignUp {
    pub(crate) password_hash: String,
    pub(crate) display_name: String,
}

/// A mail that has to be sent.
pub(crate) struct Mail {
    pub(crate) kind: Kind,
    /// Whose account it is about, if the account is known and was not deleted.
    pub(crate) user_id: Option<UserId>,
    /// SHA-256 of the identity of the address.
    pub(crate) recipient: [u8; 32],
    /// The address as it was typed, if the account has to be found.
    pub(crate) email: Option<String>,
    pub(crate) sign_up: Option<PendingSignUp>,
    /// The network of a sign-in, of a program, or of whoever made a key or added a passkey.
    pub(crate) network: Option<String>,
    /// The new second factor that its link removes.
    pub(crate) factor: Option<Uuid>,
    /// When its cause happened.
    pub(crate) created_at: OffsetDateTime,
}

impl Mail {
    /// To the owner of an address that somebody typed. Whether it has an account is found when the mail is sent.
    pub(crate) fn to_typed(kind: Kind, email: &str, created_at: OffsetDateTime) -> Self {
        Self {
            kind,
            user_id: None,
            recipient: sha256(EmailLookup::new(email).identity.as_bytes()),
            email: Some(email.to_owned()),
            sign_up: None,
            network: None,
            factor: None,
            created_at,
        }
    }

    /// To the owner of an account.
    pub(crate) fn to_account(kind: Kind, id: UserId, email: &str, created_at: OffsetDateTime) -> Self {
        Self { user_id: Some(id), email: None, ..Self::to_typed(kind, email, created_at) }
    }
}

/// A mail that this process may send until its lease ends.
pub(crate) struct ClaimedMail {
    pub(crate) id: Uuid,
    pub(crate) mail: Mail,
    /// Attempts with this one.
    pub(crate) attempts: i32,
}

/// How many mails of one kind a recipient got within a time.
pub(crate) struct SentMails {
    /// Caused by anybody.
    pub(crate) in_all: i64,
    /// Those of the same account, or of nobody with an account.
    pub(crate) of_account: i64,
}

impl SentMails {
    /// Those that count for another mail of this kind. A link works only for the account that asked for it, so another account must not use up
    /// its number. The others tell a person something, whichever account it is about.
    pub(crate) const fn counted_for(&self, kind: Kind) -> i64 {
        if kind.has_link() { self.of_account } else { self.in_all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
        assert_eq!(Kind::named("other"), None);
    }

    #[test]
    fn links_are_counted_for_each_account_and_notices_for_the_recipient() {
        let sent = SentMails { in_all: 3, of_account: 1 };
        for (kind, counted) in [(Kind::Verify, 1), (Kind::ChangeEmail, 1), (Kind::KeyMade, 3), (Kind::AccountDeleted, 3)] {
            assert_eq!(sent.counted_for(kind), counted, "{kind:?}");
        }
    }

    #[test]
    fn all_spellings_of_an_address_are_one_recipient() {
        let of = |text: &str| Mail::to_typed(Kind::Reset, text, OffsetDateTime::UNIX_EPOCH).recipient;
        assert_eq!(of("ADA@example.org"), of(" ada@EXAMPLE.org"));
        assert_ne!(of("ada@example.org"), of("eve@example.org"));
    }
}
