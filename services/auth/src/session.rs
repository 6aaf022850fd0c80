//! Browser sessions: when one lives, and its secret. The rules know no clock; `now` comes from the caller.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::identity::sha256;
use proto::id::{SessionId, UserId};
use ring::rand::{SecureRandom as _, SystemRandom};
use time::{Duration, OffsetDateTime};

/// Unused this long, a session has ended.
pub const IDLE: Duration = Duration::days(7);
/// A session ends this long after its start, used or not.
pub const ABSOLUTE: Duration = Duration::days(30);
/// Use is written down at most this often, so that a busy session costs no writes.
pub const TOUCH_EVERY: Duration = Duration::minutes(1);

/// A signed-in browser or program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub created_at: OffsetDateTime,
    pub last_used_at: OffsetDateTime,
    /// At the latest.
    pub expires_at: OffsetDateTime,
}

impl Session {
    #[must_use]
    pub fn start(user_id: UserId, now: OffsetDateTime) -> Self {
        Self { id: SessionId::generate(), user_id, created_at: now, last_used_at: now, expires_at: now + ABSOLUTE }
    }

    #[must_use]
    pub fn is_live(&self, now: OffsetDateTime) -> bool {
        now < self.expires_at && now < self.last_used_at + IDLE
    }

    #[must_use]
    pub fn wants_touch(&self, now: OffsetDateTime) -> bool {
        now >= self.last_used_at + TOUCH_EVERY
    }
}

/// A bearer secret of 256 random bits. Only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(String);

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no random bytes from the system")]
pub struct NoRandomness;

impl SessionSecret {
    /// # Errors
    /// Only if the system has no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What a client showed; whether it is a session's secret, only the look-up of its hash tells.
    #[must_use]
    pub fn presented(text: String) -> Self {
        Self(text)
    }

    /// 43 characters that need no escaping anywhere.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and looked up. A fast hash is enough: 256 random bits cannot be guessed from it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn session(last_used: Duration) -> Session {
        Session { last_used_at: T0 + last_used, ..Session::start(UserId::generate(), T0) }
    }

    #[test]
    fn a_session_lives_until_the_first_of_its_two_ends() {
        let second = Duration::seconds(1);
        for (last_used, now, live) in [
            (Duration::ZERO, Duration::ZERO, true),
            (Duration::ZERO, IDLE - second, true),
            (Duration::ZERO, IDLE, false),
            (IDLE - second, IDLE * 2 - second * 2, true),
            (ABSOLUTE - second * 2, ABSOLUTE - second, true),
            (ABSOLUTE - second * 2, ABSOLUTE, false),
            (ABSOLUTE - second * 2, ABSOLUTE * 10, false),
        ] {
            assert_eq!(session(last_used).is_live(T0 + now), live, "used after {last_used}, asked after {now}");
        }
    }

    #[test]
    fn a_touch_is_due_once_a_minute() {
        assert!(!session(Duration::ZERO).wants_touch(T0 + TOUCH_EVERY - Duration::microseconds(1)));
        assert!(session(Duration::ZERO).wants_touch(T0 + TOUCH_EVERY));
        assert!(!session(Duration::minutes(5)).wants_touch(T0 + Duration::minutes(4)), "a replica's clock may be behind");
    }

    #[test]
    fn a_secret_is_256_bits_shown_to_nobody() {
        let (one, other) = (SessionSecret::generate().expect("random"), SessionSecret::generate().expect("random"));
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 43);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(one.expose()).expect("base64url").len(), 32);
        assert_eq!(one.hash(), SessionSecret::presented(one.expose().to_owned()).hash());
        assert_eq!(format!("{one:?}"), "[redacted]");
    }

    proptest::proptest! {
        /// However a session is used, it never outlives 30 days, and a gap of seven days always ends it.
        #[test]
        fn no_use_outlives_the_limits(uses in proptest::collection::vec(0_i64..(3 * 86_400), 0..40), gap in 0_i64..(40 * 86_400)) {
            let mut session = session(Duration::ZERO);
            let mut now = T0;
            for step in uses {
                now += Duration::seconds(step);
                if session.is_live(now) && session.wants_touch(now) {
                    session.last_used_at = now;
                }
            }
            let later = now + Duration::seconds(gap);
            if later >= T0 + ABSOLUTE || later >= session.last_used_at + IDLE {
                proptest::prop_assert!(!session.is_live(later));
            } else {
                proptest::prop_assert!(session.is_live(later));
            }
        }
    }
}
