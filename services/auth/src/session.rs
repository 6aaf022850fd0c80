//! Sessions of browsers and programs: their lifetime and their secret.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::identity::{Grant, sha256};
use proto::id::{SessionId, UserId};
use ring::rand::{SecureRandom as _, SystemRandom};
use time::{Duration, OffsetDateTime};

use crate::{
    factor::{Method, ShownProof},
    origin::Origin,
};

/// A session of a sign-in ends when it has not been used for this long.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::days(7);
/// A session of a sign-in ends this long after its start, even if it is used.
pub(crate) const MAX_AGE: Duration = Duration::days(30);
/// The longest session in which an operator acts for a person.
pub(crate) const MAX_IMPERSONATION: Duration = Duration::hours(1);
/// The same for a session of refresh tokens.
pub(crate) const PROGRAM_IDLE_TIMEOUT: Duration = Duration::days(30);
pub(crate) const PROGRAM_MAX_AGE: Duration = Duration::days(90);
/// The longest and the default lifetime of an API key.
pub(crate) const MAX_KEY_LIFETIME: Duration = Duration::days(366);
pub(crate) const KEY_LIFETIME: Duration = Duration::days(90);
/// The use of a session is recorded at most this often, so that a busy session causes few writes.
pub(crate) const TOUCH_INTERVAL: Duration = Duration::minutes(1);

/// How a session was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With the password. It has a secret.
    SignIn,
    /// By a session of a sign-in, for a program. It has refresh tokens.
    RefreshToken,
    /// An API key. Each exchange of the key uses it.
    ApiKey,
}

impl Kind {
    /// As the column spells it. The release before takes a key for a program without a token.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::RefreshToken | Self::ApiKey => "refresh_token",
        }
    }

    /// The kind of a row, which may have one of a key beside it.
    pub(crate) fn named(name: &str, is_key: bool) -> Option<Self> {
        let kind = [Self::SignIn, Self::RefreshToken].into_iter().find(|kind| kind.name() == name)?;
        Some(if is_key { Self::ApiKey } else { kind })
    }

    pub(crate) const fn idle_timeout(self) -> Duration {
        match self {
            Self::SignIn => IDLE_TIMEOUT,
            Self::RefreshToken => PROGRAM_IDLE_TIMEOUT,
            // Only its own expiry ends it.
            Self::ApiKey => MAX_KEY_LIFETIME,
        }
    }
}

/// A signed-in browser or program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    pub kind: Kind,
    /// The name that the person gave to the session of a program.
    pub display_name: String,
    pub origin: Origin,
    pub created_at: OffsetDateTime,
    pub last_used_at: OffsetDateTime,
    /// The latest end; an unused session ends earlier.
    pub expires_at: OffsetDateTime,
    /// The operator who acts for the person.
    pub impersonator: Option<String>,
    /// When the person proved last who they are.
    pub authenticated_at: OffsetDateTime,
    /// How they did so since the sign-in (RFC 8176). Empty if nobody did, or if it is not known.
    pub amr: Vec<String>,
    /// Of an API key.
    pub key: Option<Key>,
}

/// What an API key has besides its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub grant: Grant,
    /// The last characters of the secret.
    pub last_four: String,
}

impl Session {
    #[must_use]
    pub fn start(user_id: UserId, now: OffsetDateTime) -> Self {
        Self {
            id: SessionId::generate(),
            user_id,
            kind: Kind::SignIn,
            display_name: String::new(),
            origin: Origin::default(),
            created_at: now,
            last_used_at: now,
            expires_at: now + MAX_AGE,
            impersonator: None,
            authenticated_at: now,
            amr: Vec::new(),
            key: None,
        }
    }

    /// Records that the person has proved now who they are.
    #[must_use]
    pub(crate) fn proved(mut self, method: Method, now: OffsetDateTime) -> Self {
        self.authenticated_at = now;
        for value in method.amr() {
            if !self.amr.iter().any(|known| known == value) {
                self.amr.push((*value).to_owned());
            }
        }
        self
    }

    /// What the person has proved.
    pub(crate) fn shown(&self) -> ShownProof<'_> {
        ShownProof { at: self.authenticated_at, amr: &self.amr }
    }

    /// Takes over what the person has proved in another session.
    #[must_use]
    pub(crate) fn with_proofs_of(self, other: &Self) -> Self {
        Self { authenticated_at: other.authenticated_at, amr: other.amr.clone(), ..self }
    }

    /// The same session with another id, for a change of its rights.
    #[must_use]
    pub(crate) fn renewed(self, now: OffsetDateTime) -> Self {
        Self { id: SessionId::generate(), last_used_at: now, ..self }
    }

    /// A session in which an operator acts for the person.
    pub(crate) fn impersonate(user_id: UserId, operator: &str, lifetime: Duration, now: OffsetDateTime) -> Self {
        let expires_at = now + lifetime.min(MAX_IMPERSONATION);
        Self { expires_at, impersonator: Some(operator.to_owned()), ..Self::start(user_id, now) }
    }

    /// A session of refresh tokens.
    pub(crate) fn of_program(user_id: UserId, display_name: String, now: OffsetDateTime) -> Self {
        Self { kind: Kind::RefreshToken, display_name, expires_at: now + PROGRAM_MAX_AGE, ..Self::start(user_id, now) }
    }

    /// That of an API key.
    pub(crate) fn of_key(user_id: UserId, display_name: String, key: Key, lifetime: Duration, now: OffsetDateTime) -> Self {
        let expires_at = now + lifetime.min(MAX_KEY_LIFETIME);
        Self { kind: Kind::ApiKey, display_name, expires_at, key: Some(key), ..Self::start(user_id, now) }
    }

    /// Whether the person has signed in to it themselves. It is neither that of a program nor one in which an operator acts for them.
    pub(crate) fn is_of_person(&self) -> bool {
        self.kind == Kind::SignIn && self.impersonator.is_none()
    }

    pub(crate) fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    pub(crate) fn is_live(&self, now: OffsetDateTime) -> bool {
        now < self.expires_at && now < self.last_used_at + self.kind.idle_timeout()
    }

    /// Whether the use must be recorded again.
    pub(crate) fn is_touch_due(&self, now: OffsetDateTime) -> bool {
        now >= self.last_used_at + TOUCH_INTERVAL || (self.kind == Kind::ApiKey && !self.was_used())
    }

    /// Whether it was used after it began.
    pub(crate) fn was_used(&self) -> bool {
        self.last_used_at > self.created_at
    }
}

/// A bearer secret of 256 random bits. Only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(String);

/// The operating system provided no random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system provided no random bytes")]
pub struct NoRandomness;

impl SessionSecret {
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// A secret that a client sent. The lookup of its hash shows whether a session has it.
    pub(crate) fn from_client(text: String) -> Self {
        Self(text)
    }

    /// The secret itself: 43 characters of base64url.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// The hash that is stored and looked up. A fast hash is enough, because 256 random bits cannot be guessed.
    pub(crate) fn hash(&self) -> [u8; 32] {
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
    fn a_session_ends_at_the_first_of_its_two_limits() {
        let second = Duration::seconds(1);
        for (last_used, now, live) in [
            (Duration::ZERO, Duration::ZERO, true),
            (Duration::ZERO, IDLE_TIMEOUT - second, true),
            (Duration::ZERO, IDLE_TIMEOUT, false),
            (IDLE_TIMEOUT - second, IDLE_TIMEOUT * 2 - second * 2, true),
            (MAX_AGE - second * 2, MAX_AGE - second, true),
            (MAX_AGE - second * 2, MAX_AGE, false),
            (MAX_AGE - second * 2, MAX_AGE * 10, false),
        ] {
            assert_eq!(session(last_used).is_live(T0 + now), live, "used after {last_used}, checked after {now}");
        }
    }

    #[test]
    fn an_operator_acts_for_at_most_an_hour() {
        for (asked, lasts) in [(Duration::minutes(5), Duration::minutes(5)), (Duration::days(1), MAX_IMPERSONATION)] {
            let session = Session::impersonate(UserId::generate(), "ada", asked, T0);
            assert_eq!((session.expires_at, session.impersonator.as_deref()), (T0 + lasts, Some("ada")));
        }
    }

    #[test]
    fn a_session_of_refresh_tokens_lives_longer() {
        let session = Session::of_program(UserId::generate(), String::new(), T0);
        let used = |at: Duration| Session { last_used_at: T0 + at, ..session.clone() };
        let second = Duration::seconds(1);
        assert!(session.is_live(T0 + PROGRAM_IDLE_TIMEOUT - second) && !session.is_live(T0 + PROGRAM_IDLE_TIMEOUT));
        assert!(used(Duration::days(80)).is_live(T0 + PROGRAM_MAX_AGE - second));
        assert!(!used(Duration::days(80)).is_live(T0 + PROGRAM_MAX_AGE));
    }

    #[test]
    fn an_api_key_ends_at_its_expiry_alone() {
        let key = || Key { grant: Grant { can_write: false, projects: None }, last_four: "abcd".into() };
        let session = |days| Session::of_key(UserId::generate(), "ci".into(), key(), Duration::days(days), T0);
        let second = Duration::seconds(1);
        for (asked, lasts) in [(1, Duration::days(1)), (366, MAX_KEY_LIFETIME), (10_000, MAX_KEY_LIFETIME)] {
            assert!(session(asked).is_live(T0 + lasts - second) && !session(asked).is_live(T0 + lasts), "{asked} days");
        }
        let unused = session(1);
        let used = Session { last_used_at: T0 + second, ..unused.clone() };
        assert!(!unused.was_used() && unused.is_touch_due(T0 + second), "the first use is recorded at once");
        assert!(used.was_used() && !used.is_touch_due(T0 + second * 2));
    }

    #[test]
    fn a_session_knows_each_way_once() {
        let ways = [Method::Password, Method::Totp, Method::RecoveryCode, Method::Password];
        let proved = ways.into_iter().fold(Session::start(UserId::generate(), T0), |session, way| session.proved(way, T0));
        assert_eq!(proved.amr, ["pwd", "otp"]);
    }

    #[test]
    fn a_touch_is_due_once_a_minute() {
        assert!(!session(Duration::ZERO).is_touch_due(T0 + TOUCH_INTERVAL - Duration::microseconds(1)));
        assert!(session(Duration::ZERO).is_touch_due(T0 + TOUCH_INTERVAL));
        assert!(!session(Duration::minutes(5)).is_touch_due(T0 + Duration::minutes(4)), "the clock of a replica may be slow");
    }

    #[test]
    fn a_secret_has_256_bits_and_is_not_printed() {
        let (one, other) = (SessionSecret::generate().expect("random"), SessionSecret::generate().expect("random"));
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 43);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(one.expose()).expect("base64url").len(), 32);
        assert_eq!(one.hash(), SessionSecret::from_client(one.expose().to_owned()).hash());
        assert_eq!(format!("{one:?}"), "[redacted]");
    }

    proptest::proptest! {
        /// No sequence of uses keeps a session for more than 30 days, and a gap of seven days always ends it.
        #[test]
        fn no_use_extends_a_session_beyond_its_limits(uses in proptest::collection::vec(0_i64..(3 * 86_400), 0..40), gap in 0_i64..(40 * 86_400)) {
            let mut session = session(Duration::ZERO);
            let mut now = T0;
            for step in uses {
                now += Duration::seconds(step);
                if session.is_live(now) && session.is_touch_due(now) {
                    session.last_used_at = now;
                }
            }
            let later = now + Duration::seconds(gap);
            if later >= T0 + MAX_AGE || later >= session.last_used_at + IDLE_TIMEOUT {
                proptest::prop_assert!(!session.is_live(later));
            } else {
                proptest::prop_assert!(session.is_live(later));
            }
        }
    }
}
