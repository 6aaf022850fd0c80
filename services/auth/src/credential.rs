//! The text of a secret for programs: a prefix that names its kind, 30 random characters of base62, and the CRC-32 of what precedes in 6
//! characters. A double click selects it whole, scanners recognise it, and a mistyped one is refused without the database.

use std::fmt;

use chassis::identity::sha256;
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};

use crate::session::NoRandomness;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random characters; 178 bits.
const RANDOM: usize = 30;
const CHECKSUM: usize = 6;
/// Bytes from here on are skipped, so that every digit is equally likely.
const UNIFORM: u8 = 248;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RefreshToken,
    ApiKey,
    /// An API key of a service account.
    ServiceKey,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::RefreshToken => "blt_rt_",
            Self::ApiKey => "blt_pat_",
            Self::ServiceKey => "blt_svc_",
        }
    }
}

/// Random bytes that are stored beside the hash of a used secret. Neither they nor the secret alone yield the next secret.
pub(crate) type Seed = [u8; 32];

/// # Errors
/// The system provided no random bytes.
pub(crate) fn seed() -> Result<Seed, NoRandomness> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| NoRandomness)?;
    Ok(seed)
}

/// A secret of a program. Only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    kind: Kind,
    text: String,
}

impl Secret {
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate(kind: Kind) -> Result<Self, NoRandomness> {
        Ok(Self::expand(kind, &hmac::Key::new(hmac::HMAC_SHA256, &seed()?), &seed()?))
    }

    /// The secret of this kind that a client sent; `None` for any other text.
    pub(crate) fn parse(kind: Kind, text: &str) -> Option<Self> {
        let body = text.strip_prefix(kind.prefix())?;
        let is_complete = body.len() == RANDOM + CHECKSUM && body.bytes().all(|b| b.is_ascii_alphanumeric());
        let (checked, sum) = is_complete.then(|| text.split_at(text.len() - CHECKSUM))?;
        (checksum(checked) == sum).then(|| Self { kind, text: text.to_owned() })
    }

    /// The API key that a client sent, that of a person or of a service account.
    pub(crate) fn parse_key(text: &str) -> Option<Self> {
        [Kind::ApiKey, Kind::ServiceKey].into_iter().find_map(|kind| Self::parse(kind, text))
    }

    /// The secret that replaces this one. It is the same for the same seed.
    pub(crate) fn next(&self, seed: &Seed) -> Self {
        Self::expand(self.kind, &hmac::Key::new(hmac::HMAC_SHA256, self.text.as_bytes()), seed)
    }

    fn expand(kind: Kind, key: &hmac::Key, seed: &Seed) -> Self {
        let mut text = kind.prefix().to_owned();
        let blocks = (0_u8..).map(|block| hmac::sign(key, &[seed.as_slice(), &[block]].concat()));
        let bytes = blocks.flat_map(|block| block.as_ref().to_vec()).filter(|byte| *byte < UNIFORM);
        text.extend(bytes.take(RANDOM).map(|byte| digit(u32::from(byte))));
        text.push_str(&checksum(&text));
        Self { kind, text }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// The last characters, by which its owner recognises it.
    pub(crate) fn last_four(&self) -> &str {
        &self.text[self.text.len() - 4..]
    }

    /// The hash that is stored and looked up. A fast hash is enough, because 178 random bits cannot be guessed.
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn digit(number: u32) -> char {
    char::from(DIGITS[number as usize % DIGITS.len()])
}

fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = ['0'; CHECKSUM];
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    digits.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_the_layout_that_scanners_know() {
        let key = Secret::generate(Kind::ApiKey).expect("random");
        assert_eq!((key.expose().len(), &key.expose()[..8], key.last_four()), (44, "blt_pat_", &key.expose()[40..]));
        assert_eq!(Secret::parse(Kind::ApiKey, key.expose()), Some(key.clone()));
        assert_eq!(Secret::parse(Kind::RefreshToken, key.expose()), None);
        let of_service = Secret::generate(Kind::ServiceKey).expect("random");
        assert_eq!((of_service.expose().len(), &of_service.expose()[..8]), (44, "blt_svc_"));
        for key in [&key, &of_service] {
            assert_eq!(Secret::parse_key(key.expose()).as_ref(), Some(key));
        }
        assert_eq!(Secret::parse_key(&of_service.expose().replace("blt_svc_", "blt_pat_")), None, "the checksum has the prefix");
        let secret = Secret::generate(Kind::RefreshToken).expect("random");
        assert_eq!(Secret::parse_key(secret.expose()), None);
        assert_eq!((secret.expose().len(), &secret.expose()[..7]), (43, "blt_rt_"));
        assert!(secret.expose()[7..].bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(Secret::parse(Kind::RefreshToken, secret.expose()), Some(secret.clone()));
        assert_ne!(secret, Secret::generate(Kind::RefreshToken).expect("random"));
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }

    #[test]
    fn the_checksum_is_that_of_other_implementations() {
        // From zlib.crc32 of Python.
        for (text, sum) in [("blt_rt_000000000000000000000000000000", "4AitYa"), ("", "000000")] {
            assert_eq!(checksum(text), sum, "{text}");
        }
    }

    #[test]
    fn a_text_with_an_error_is_refused() {
        let secret = Secret::generate(Kind::RefreshToken).expect("random");
        let good = secret.expose();
        for at in 0..good.len() {
            let mut wrong = good.to_owned();
            wrong.replace_range(at..=at, if &good[at..=at] == "x" { "y" } else { "x" });
            assert_eq!(Secret::parse(Kind::RefreshToken, &wrong), None, "{wrong}");
        }
        for wrong in ["", "blt_rt_", &good[1..], &good[..42], &format!("{good}0"), &format!(" {good}"), "blt_rt_ü", &"é".repeat(43)] {
            assert_eq!(Secret::parse(Kind::RefreshToken, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_next_secret_follows_from_the_secret_and_the_seed() {
        let one = Secret::generate(Kind::RefreshToken).expect("random");
        let (seed, other) = ([7; 32], [8; 32]);
        assert_eq!(one.next(&seed), one.next(&seed));
        assert_eq!(Secret::parse(Kind::RefreshToken, one.next(&seed).expose()), Some(one.next(&seed)));
        assert_ne!(one.next(&seed), one.next(&other));
        assert_ne!(one.next(&seed), Secret::generate(Kind::RefreshToken).expect("random").next(&seed));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_fail(text in ".*") {
            proptest::prop_assert!(Secret::parse(Kind::RefreshToken, &text).is_none());
            let prefixed = format!("blt_rt_{text}");
            proptest::prop_assert!(Secret::parse(Kind::RefreshToken, &prefixed).is_none());
        }
    }
}
