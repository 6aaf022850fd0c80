//! The ways into an account besides its password, and which of them a reset of the password removes.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// A linked account is new for this long. A thief of a session may have added it, and its owner may not have noticed yet.
pub(crate) const NEW_FOR: Duration = Duration::days(7);

/// What signs in to an account or completes a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    Identity { id: Uuid, provider: String },
    Passkey(Uuid),
    AuthenticatorApp,
}

/// A way into an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WayIn {
    pub(crate) way: Way,
    pub(crate) added_at: OffsetDateTime,
}

impl WayIn {
    /// Whether a reset of the password removes it. `verified_at` is when the address of the account was proved before; an account whose address
    /// nobody had proved may be that of a stranger, who must not stay in.
    pub(crate) fn goes_at_reset(&self, verified_at: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
        let Some(verified_at) = verified_at else { return true };
        // A mail alone must not replace a second factor.
        let is_identity = matches!(self.way, Way::Identity { .. });
        // The sign-in at the provider that proved the address made this identity.
        let has_proved = self.added_at == verified_at;
        is_identity && !has_proved && now - self.added_at < NEW_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn a_reset_removes_identities_of_the_last_seven_days_and_keeps_factors() {
        let identity = Way::Identity { id: Uuid::nil(), provider: "one".into() };
        let (passkey, app) = (Way::Passkey(Uuid::nil()), Way::AuthenticatorApp);
        let (new, old, verified) = (NEW_FOR - Duration::MICROSECOND, NEW_FOR, Duration::days(2));
        for (way, age, verified, goes) in [
            (&identity, Duration::ZERO, Some(verified), true),
            (&identity, new, Some(verified), true),
            (&identity, old, Some(verified), false),
            // It has proved the address.
            (&identity, verified, Some(verified), false),
            (&identity, verified + Duration::MICROSECOND, Some(verified), true),
            (&passkey, Duration::ZERO, Some(verified), false),
            (&passkey, old, Some(verified), false),
            (&app, Duration::ZERO, Some(verified), false),
            (&app, old, Some(verified), false),
            // Nobody has proved the address.
            (&identity, old, None, true),
            (&passkey, old, None, true),
            (&app, Duration::days(300), None, true),
        ] {
            let way_in = WayIn { way: way.clone(), added_at: NOW - age };
            assert_eq!(way_in.goes_at_reset(verified.map(|age| NOW - age), NOW), goes, "{way:?} of {age}, verified {verified:?}");
        }
    }
}
