//! The audit log: who did what to which account. An event is appended in the transaction of the change that it records. It has no secrets
//! and no e-mail addresses, and only the network of a client, so that it can outlive the account.

use chassis::context::Context;
use proto::id::UserId;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::origin::network;

/// Characters of one text of the details.
pub(crate) const MAX_TEXT: usize = 500;
/// Texts of the details. Further ones are left out.
const MAX_DETAILS: usize = 8;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What happened. The names are in the database and in exports, and never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$kind,)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// A person has made an account, which begins its first session.
    SignedUp = "user.signed_up",
    /// An operator has made an account.
    UserCreated = "user.created",
    UserDisabled = "user.disabled",
    UserEnabled = "user.enabled",
    /// The person has got all their data.
    UserExported = "user.exported",
    /// The account and its credentials are gone.
    UserDeleted = "user.deleted",
    /// Every service has deleted what it had of a deleted account.
    DataDeleted = "user.data_deleted",
    PlanChanged = "user.plan_changed",
    /// A sign-in.
    SessionStarted = "session.started",
    /// A sign-in to a disabled account, with the right password.
    SessionRefused = "session.refused",
    /// A sign-out.
    SessionEnded = "session.ended",
    /// A person has ended sessions other than by a sign-out, or an operator has.
    SessionsRevoked = "session.revoked",
    /// A person has proved again who they are, which replaces their session.
    SteppedUp = "session.stepped_up",
    /// A person has added a second factor.
    FactorAdded = "second_factor.added",
    FactorRemoved = "second_factor.removed",
    /// A person has given a passkey another name.
    FactorRenamed = "second_factor.renamed",
    /// An operator has removed all second factors, or a reset of the password those of an account whose address nobody had verified.
    FactorsReset = "second_factor.reset",
    /// The counter of a passkey went back.
    PasskeyRefused = "passkey.refused",
    RecoveryCodesReplaced = "recovery_codes.replaced",
    PasswordChanged = "user.password_changed",
    /// A link of a mail has set a new password, or that of an operator the first one.
    PasswordReset = "user.password_reset",
    /// A link of a mail has proved the address.
    AddressVerified = "user.address_verified",
    /// The account has another address.
    AddressChanged = "user.address_changed",
    /// A person signs in with an account at a provider from now on.
    IdentityLinked = "identity.linked",
    IdentityUnlinked = "identity.unlinked",
    InviteCreated = "invite.created",
    InviteRevoked = "invite.revoked",
    /// A session for a program has begun.
    RefreshTokenCreated = "refresh_token.created",
    /// A refresh token was used a second time, so its session was ended.
    RefreshTokenReused = "refresh_token.reused",
    /// A key for a program was made.
    ApiKeyCreated = "api_key.created",
    ApiKeyDeleted = "api_key.deleted",
    /// A person has made an account for a program.
    ServiceAccountCreated = "service_account.created",
    ServiceAccountRenamed = "service_account.renamed",
    /// With its keys. Its projects follow.
    ServiceAccountDeleted = "service_account.deleted",
    /// A person has let a device sign in; its session begins when its program exchanges the code.
    DeviceApproved = "device.approved",
    DeviceDenied = "device.denied",
    /// An operator acts for the person from now on.
    Impersonated = "session.impersonated",
    KeyCreated = "signing_key.created",
    KeyRetired = "signing_key.retired",
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    User(UserId),
    /// Somebody with the cluster secret, with the name that they gave.
    Operator(String),
    System,
}

impl Actor {
    /// The person of a session, or the operator who acts for them.
    pub(crate) fn of_session(user: UserId, impersonator: Option<String>) -> Self {
        impersonator.map_or(Self::User(user), Self::Operator)
    }

    /// The kind and the id as they are stored.
    pub(crate) fn parts(&self) -> (&'static str, Option<String>) {
        match self {
            Self::User(id) => ("user", Some(id.to_string())),
            Self::Operator(name) => ("operator", Some(name.clone())),
            Self::System => ("system", None),
        }
    }
}

/// An event before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) kind: Kind,
    pub(crate) actor: Actor,
    pub(crate) user: Option<UserId>,
    pub(crate) network: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) details: Map<String, Value>,
}

impl Event {
    /// An event without a request.
    pub(crate) fn new(kind: Kind, actor: Actor, now: OffsetDateTime) -> Self {
        Self { id: Uuid::now_v7(), created_at: now, kind, actor, user: None, network: None, trace_id: None, details: Map::new() }
    }

    /// An event of a request that concerns an account.
    pub(crate) fn of(context: &Context, kind: Kind, actor: Actor, user: UserId, now: OffsetDateTime) -> Self {
        let network = context.client_address.map(network);
        Self { user: Some(user), network, trace_id: Some(context.trace_id.clone()), ..Self::new(kind, actor, now) }
    }

    /// Adds a text to the details, cut to [`MAX_TEXT`] characters.
    pub(crate) fn with(mut self, key: &'static str, text: &str) -> Self {
        if self.details.len() < MAX_DETAILS {
            let text = proto::text::replace_nul(text.chars().take(MAX_TEXT).collect());
            self.details.insert(key.to_owned(), text.into());
        }
        self
    }
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    pub(crate) id: Uuid,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) kind: String,
    pub(crate) actor_kind: String,
    pub(crate) actor_id: Option<String>,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) network: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) details: Value,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_names_of_kinds_differ_and_fit_into_their_column() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for name in names {
            let (noun, verb) = name.split_once('.').expect("a point");
            assert!(name.len() <= 64 && [noun, verb].iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')), "{name}");
        }
    }

    #[test]
    fn details_are_bounded_and_storable() {
        let mut event = Event::new(Kind::Impersonated, Actor::System, OffsetDateTime::UNIX_EPOCH).with("reason", &"é\0".repeat(1_000));
        assert_eq!(event.details["reason"].as_str().expect("text").chars().count(), MAX_TEXT);
        assert!(!event.details["reason"].as_str().expect("text").contains('\0'));
        for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            event = event.with(key, "x");
        }
        assert_eq!(event.details.len(), MAX_DETAILS);
    }

    #[test]
    fn in_a_session_of_an_operator_the_operator_acts() {
        let user = UserId::generate();
        assert_eq!(Actor::of_session(user, None).parts(), ("user", Some(user.to_string())));
        assert_eq!(Actor::of_session(user, Some("ada".into())).parts(), ("operator", Some("ada".into())));
    }
}
