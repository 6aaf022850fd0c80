//! When a mail is tried again, and how many mails one recipient gets.

use chassis::fault_time;
use time::{Duration, OffsetDateTime};

use super::queue::Kind;

/// A replica that has claimed a mail sends it within this time, or another one may.
const LEASE: std::time::Duration = std::time::Duration::from_secs(2 * 60);
/// The time limit of one attempt.
pub(crate) const ATTEMPT_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
/// Rows are deleted this long after they were inserted, sent or not.
pub(crate) const KEPT: Duration = Duration::days(1);

const FIRST_PAUSE: Duration = Duration::seconds(10);
const LONGEST_PAUSE: Duration = Duration::hours(1);
const MAX_ATTEMPTS: i32 = 10;

/// Mails of one kind about one account, or about none, to one recipient within [`WINDOW`].
const MAX_IN_WINDOW: i64 = 3;
pub(crate) const WINDOW: Duration = Duration::hours(1);

/// The pause after this many failed attempts; `None` after the last one. All attempts together take about five hours.
pub(crate) fn pause_after(attempts: i32) -> Option<Duration> {
    if attempts >= MAX_ATTEMPTS {
        return None;
    }
    let factor = 4_i32.saturating_pow(u32::try_from(attempts - 1).unwrap_or_default());
    Some(LONGEST_PAUSE.min(FIRST_PAUSE.saturating_mul(factor)))
}

/// The end of a claim that is made now.
pub(crate) fn lease_end(now: OffsetDateTime) -> OffsetDateTime {
    let lease = fault_time::shortened("mail-lease", LEASE);
    now.saturating_add(Duration::seconds_f64(lease.as_secs_f64()))
}

/// Whether a recipient who got this many mails of this kind within the window, and this many whose links can still be used, may get another one.
/// Everybody can cause most mails, so their number is limited. A reset is never refused to somebody without a usable link: otherwise whoever
/// asks for three resets would keep the owner from the next one for half an hour. So a recipient gets at most four in an hour.
///
/// Nobody but the owner of an account, or a thief of a session, causes the mails about a changed password, a new key, a program, a changed
/// factor, new recovery codes and a linked identity, and they must not be lost. But whoever signs up with the address of somebody else owns such
/// an account. So they are without limit only if the address is verified. The mails about the end of an account and a changed address go to an
/// address that has no account any more. They are limited, too: the address of a person has had one account, and only somebody who makes further
/// ones causes many.
pub(crate) fn may_send(kind: Kind, is_verified: bool, sent: i64, usable: i64) -> bool {
    let is_of_owner = match kind {
        Kind::PasswordChanged
        | Kind::PasswordReset
        | Kind::KeyMade
        | Kind::ServiceKeyMade
        | Kind::ProgramSignedIn
        | Kind::FactorAdded
        | Kind::FactorRemoved
        | Kind::RecoveryCodesReplaced
        | Kind::PasskeyAdded
        | Kind::IdentityLinked
        | Kind::IdentityUnlinked => true,
        Kind::SignUp
        | Kind::Verify
        | Kind::Reset
        | Kind::NewDevice
        | Kind::AccountDeleted
        | Kind::ChangeEmail
        | Kind::EmailChanged
        | Kind::SecondStepFailed => false,
    };
    (is_of_owner && is_verified) || sent < MAX_IN_WINDOW || (kind == Kind::Reset && usable == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email_token::Purpose;

    #[test]
    fn pauses_grow_to_an_hour_and_end_after_ten_attempts() {
        let pauses: Vec<_> = (1..=10).map(|attempts| pause_after(attempts).map(Duration::whole_seconds)).collect();
        let hour = Some(3_600);
        assert_eq!(pauses, [Some(10), Some(40), Some(160), Some(640), Some(2_560), hour, hour, hour, hour, None]);
        assert_eq!(pause_after(i32::MAX), None);
        let all: i64 = pauses.into_iter().flatten().sum();
        assert!(all > 4 * 3_600 && Duration::seconds(all) < KEPT, "the row must not be deleted before the last attempt");
    }

    #[test]
    fn an_attempt_ends_before_its_lease() {
        assert!(ATTEMPT_LIMIT < LEASE);
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(lease_end(now) - now, Duration::minutes(2));
    }

    #[test]
    fn a_recipient_gets_three_mails_of_a_kind_in_a_window() {
        use Kind::{AccountDeleted, ChangeEmail, EmailChanged, NewDevice, Reset, SecondStepFailed, SignUp, Verify};
        let always_limited = [SignUp, Verify, Reset, NewDevice, AccountDeleted, ChangeEmail, EmailChanged, SecondStepFailed];
        for (kind, is_verified) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            assert!(may_send(kind, is_verified, 0, 0) && may_send(kind, is_verified, 2, 2), "{kind:?}");
            let is_limited = !is_verified || always_limited.contains(&kind);
            assert_eq!(may_send(kind, is_verified, 3, 1), !is_limited, "{kind:?}, verified: {is_verified}");
            assert_eq!(may_send(kind, is_verified, 3, 0), !is_limited || kind == Reset, "{kind:?}, verified: {is_verified}");
        }
    }

    #[test]
    fn requests_without_end_cause_at_most_four_resets_in_an_hour_and_leave_no_time_without_a_link() {
        let (link, window) = (Purpose::Reset.lifetime(), WINDOW);
        let mut sent: Vec<Duration> = Vec::new();
        for minute in 0..600 {
            let now = Duration::minutes(minute);
            let since = |sent: &[Duration], length| i64::try_from(sent.iter().filter(|at| **at > now - length).count()).expect("few");
            for _ in 0..5 {
                if may_send(Kind::Reset, false, since(&sent, window), since(&sent, link)) {
                    sent.push(now);
                }
            }
            assert!(since(&sent, link) > 0 && since(&sent, window) <= 4, "minute {minute}: {sent:?}");
        }
    }
}
