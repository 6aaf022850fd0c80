//! What a person types as a second factor: a code of an authenticator app, or a recovery code.

use std::fmt;

use chassis::identity::sha256;
use data_encoding::BASE32_NOPAD;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{session::NoRandomness, totp};

/// Codes that one sign-in may try, with the right one.
pub(crate) const MAX_ATTEMPTS: i32 = 5;
/// Recovery codes of an account.
pub(crate) const RECOVERY_CODES: usize = 10;
/// Bytes of a recovery code. A fast hash is enough for 120 random bits.
const RECOVERY_BYTES: usize = 15;
/// Characters of a recovery code, without dashes.
const RECOVERY_CHARACTERS: usize = 24;
/// Characters between two dashes.
const GROUP: usize = 4;

/// A code that a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Code {
    Totp(u32),
    Recovery(RecoveryCode),
}

impl Code {
    /// Spaces, dashes and letter case do not count. `None` for a text that is neither kind.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        if plain.len() == totp::DIGITS && plain.bytes().all(|byte| byte.is_ascii_digit()) {
            return plain.parse().ok().map(Self::Totp);
        }
        let plain = plain.to_ascii_uppercase();
        let is_complete = plain.len() == RECOVERY_CHARACTERS && BASE32_NOPAD.decode(plain.as_bytes()).is_ok();
        is_complete.then_some(Self::Recovery(RecoveryCode(plain)))
    }
}

/// A recovery code, as 24 characters of base32. Only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RecoveryCode(String);

impl RecoveryCode {
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; RECOVERY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(BASE32_NOPAD.encode(&bytes)))
    }

    /// As a person reads it: `abcd-efgh-…`.
    pub(crate) fn text(&self) -> String {
        let lower = self.0.to_ascii_lowercase();
        let groups: Vec<String> = lower.chars().collect::<Vec<_>>().chunks(GROUP).map(|group| group.iter().collect()).collect();
        groups.join("-")
    }

    /// The hash that is stored and looked up.
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_a_person_types_it() {
        let recovery = RecoveryCode::generate().expect("random");
        let shown = recovery.text();
        assert_eq!((shown.len(), shown.matches('-').count()), (29, 5), "{shown}");
        for typed in [shown.clone(), shown.to_uppercase(), shown.replace('-', ""), format!(" {} ", shown.replace('-', " "))] {
            assert_eq!(Code::parse(&typed), Some(Code::Recovery(recovery.clone())), "{typed}");
        }
        for typed in ["123456", " 123 456 ", "123-456"] {
            assert_eq!(Code::parse(typed), Some(Code::Totp(123_456)));
        }
        assert_eq!(Code::parse("000001"), Some(Code::Totp(1)));
        for other in ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", &shown[1..], &shown.replace(|c: char| c != '-', "1")] {
            assert_eq!(Code::parse(other), None, "{other}");
        }
    }

    #[test]
    fn recovery_codes_differ_and_are_not_printed() {
        let (one, other) = (RecoveryCode::generate().expect("random"), RecoveryCode::generate().expect("random"));
        assert!(one != other && one.hash() != other.hash());
        assert_eq!(format!("{:?}", Code::Recovery(one)), "Recovery([redacted])");
    }
}
