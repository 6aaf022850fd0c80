//! Codes of authenticator apps (RFC 6238 with SHA-1, 6 digits and steps of 30 seconds, which is what all apps support).

use std::fmt;

use data_encoding::BASE32_NOPAD;
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use time::OffsetDateTime;
use url::Url;

use crate::session::NoRandomness;

/// Bytes of a secret; the length that RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
const STEP_SECONDS: i64 = 30;
/// The clock of the app may differ by this many steps.
const TOLERANCE: i64 = 1;
pub(crate) const DIGITS: usize = 6;

/// The secret that an app and the account share.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TotpSecret([u8; SECRET_BYTES]);

impl TotpSecret {
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// `None` if the length is another one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// 32 characters of base32, for a person who types it into an app.
    pub(crate) fn text(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// The address that an app reads from a QR code.
    pub(crate) fn uri(&self, issuer: &str, account: &str) -> String {
        let Ok(mut uri) = Url::parse("otpauth://totp") else { unreachable!("a constant address") };
        if let Ok(mut path) = uri.path_segments_mut() {
            path.push(&format!("{issuer}:{account}"));
        }
        uri.query_pairs_mut()
            .append_pair("secret", &self.text())
            .append_pair("issuer", issuer)
            .append_pair("algorithm", "SHA1")
            .append_pair("digits", "6")
            .append_pair("period", "30");
        uri.into()
    }

    /// The step of a right code. A code of a step up to `last_step` was used before, and is refused like a wrong one.
    pub(crate) fn accepts(&self, code: u32, last_step: i64, now: OffsetDateTime) -> Option<i64> {
        let current = step(now);
        let steps = current - TOLERANCE..=current + TOLERANCE;
        steps.filter(|step| self.code(*step) == code).find(|step| *step > last_step)
    }

    /// RFC 4226, section 5.3.
    pub(crate) fn code(&self, step: i64) -> u32 {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let hash = hmac::sign(&key, &step.to_be_bytes());
        let hash = hash.as_ref();
        let at = usize::from(hash[hash.len() - 1] & 0xf);
        let number = u32::from_be_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]);
        (number & 0x7fff_ffff) % 1_000_000
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The time step of a moment.
pub(crate) fn step(now: OffsetDateTime) -> i64 {
    now.unix_timestamp().div_euclid(STEP_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).expect("time")
    }

    fn rfc() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890").expect("length")
    }

    /// RFC 6238, appendix B, SHA-1; the last six of its eight digits.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ] {
            assert_eq!(rfc().code(step(at(seconds))), code, "{seconds}");
        }
    }

    #[test]
    fn a_code_is_accepted_one_step_early_or_late_and_once() {
        let (secret, now) = (rfc(), at(1_800_000_000));
        let current = step(now);
        for (offset, accepted) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let step = secret.accepts(secret.code(current + offset), 0, now);
            assert_eq!(step, accepted.then_some(current + offset), "{offset}");
        }
        assert_eq!(secret.accepts(secret.code(current), current, now), None, "used");
        assert_eq!(secret.accepts(secret.code(current - 1), current, now), None, "older than the last one");
        assert_eq!(secret.accepts(secret.code(current + 1), current, now), Some(current + 1));
    }

    #[test]
    fn an_app_reads_the_address() {
        let uri = rfc().uri("apps.example", "ada+x@example.org");
        assert_eq!(
            uri,
            "otpauth://totp/apps.example:ada+x@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=apps.example&algorithm=SHA1&digits=6&period=30"
        );
        let odd = rfc().uri("apps.example", "a?b#c/d%e@example.org");
        assert!(odd.starts_with("otpauth://totp/apps.example:a%3Fb%23c%2Fd%25e@example.org?"), "{odd}");
    }

    #[test]
    fn a_secret_is_random_and_is_not_printed() {
        let (one, other) = (TotpSecret::generate().expect("random"), TotpSecret::generate().expect("random"));
        assert_ne!(one, other);
        assert_eq!((one.text().len(), format!("{one:?}").as_str()), (32, "[redacted]"));
        assert_eq!(TotpSecret::from_bytes(one.bytes()), Some(one));
        assert_eq!(TotpSecret::from_bytes(b"short"), None);
    }
}
