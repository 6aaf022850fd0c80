//! The code that a person types to let a device sign in (RFC 8628, section 6.1): eight letters, without vowels, so that no words come up. They
//! are shown in two groups.

use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};

use crate::session::NoRandomness;

const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// 34 bits, which live for ten minutes and can be tried only as often as the policy `auth` allows.
const LENGTH: usize = 8;
/// Bytes from here on are skipped, so that every letter is equally likely.
const UNIFORM: u8 = 240;

/// A user code in its plain form: eight upper-case letters.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UserCode(String);

impl UserCode {
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut code = String::new();
        while code.len() < LENGTH {
            let mut bytes = [0; 16];
            SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
            let letters = bytes.iter().filter(|byte| **byte < UNIFORM).map(|byte| char::from(LETTERS[usize::from(byte % 20)]));
            code.extend(letters.take(LENGTH - code.len()));
        }
        Ok(Self(code))
    }

    /// The code that a person typed, with any letter case, spaces and hyphens; `None` for any other text.
    pub(crate) fn parse(typed: &str) -> Option<Self> {
        let plain: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()).collect();
        (plain.len() == LENGTH && plain.bytes().all(|b| LETTERS.contains(&b))).then_some(Self(plain))
    }

    /// `WDJB-MJHT`.
    pub(crate) fn shown(&self) -> String {
        let (one, two) = self.0.split_at(LENGTH / 2);
        format!("{one}-{two}")
    }

    /// What is stored and looked up.
    pub(crate) fn hash(&self, key: &hmac::Key) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(key, self.0.as_bytes()).as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_typed_in_any_form() {
        let code = UserCode::parse("WDJB-MJHT").expect("a code");
        for typed in ["wdjbmjht", " WDJB mjht ", "W-D-J-B-M-J-H-T", "wdjb\u{a0}mjht"] {
            assert!(UserCode::parse(typed).is_some_and(|parsed| parsed == code), "{typed}");
        }
        for wrong in ["", "WDJB-MJH", "WDJB-MJHTT", "ADJB-MJHT", "WDJB_MJHT", "1DJB-MJHT", "ÄDJB-MJHT"] {
            assert!(UserCode::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(code.shown(), "WDJB-MJHT");
    }

    #[test]
    fn a_new_code_can_be_typed_and_is_hashed_with_a_key() {
        let key = |byte| hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]);
        let (one, other) = (UserCode::generate().expect("random"), UserCode::generate().expect("random"));
        assert!(one != other && UserCode::parse(&one.shown()).is_some_and(|parsed| parsed == one));
        assert_eq!(one.hash(&key(1)), one.hash(&key(1)));
        assert_ne!(one.hash(&key(1)), one.hash(&key(2)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_fail(text in ".*") {
            if let Some(code) = UserCode::parse(&text) {
                proptest::prop_assert_eq!(code.shown().len(), 9);
            }
        }
    }
}
