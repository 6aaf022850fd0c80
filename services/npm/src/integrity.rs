//! Hashes of tarballs, in the form of Subresource Integrity: `sha512-…`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};

/// The algorithms, strongest first.
const ALGORITHMS: [(&str, &Algorithm); 4] =
    [("sha512", &SHA512), ("sha384", &SHA384), ("sha256", &SHA256), ("sha1", &SHA1_FOR_LEGACY_USE_ONLY)];
/// Longer texts are no hashes.
const MAX_BYTES: usize = 1_024;

/// The hashes of a tarball by its strongest algorithm. One of them must match.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integrity {
    /// The place in [`ALGORITHMS`].
    algorithm: usize,
    hashes: Vec<Vec<u8>>,
}

impl Integrity {
    /// Reads hashes that spaces separate. `None` if none of them is known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut found: Vec<(usize, Vec<u8>)> = text.split_whitespace().filter_map(hash).collect();
        let algorithm = found.iter().map(|(algorithm, _)| *algorithm).min()?;
        found.retain(|(of, _)| *of == algorithm);
        Some(Self { algorithm, hashes: found.into_iter().map(|(_, hash)| hash).collect() })
    }

    /// Reads the hexadecimal SHA-1 that old packages have instead.
    #[must_use]
    pub fn from_shasum(text: &str) -> Option<Self> {
        let hash = sha1_of_hex(text)?;
        Some(Self { algorithm: ALGORITHMS.len() - 1, hashes: vec![hash] })
    }

    /// Whether the bytes have one of the hashes.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let actual = digest(ALGORITHMS[self.algorithm].1, bytes);
        self.hashes.iter().any(|hash| hash[..] == *actual.as_ref())
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, hash) in self.hashes.iter().enumerate() {
            write!(f, "{}{}-{}", if at == 0 { "" } else { " " }, ALGORITHMS[self.algorithm].0, STANDARD.encode(hash))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hash(text: &str) -> Option<(usize, Vec<u8>)> {
    let (name, rest) = text.split_once('-')?;
    let at = ALGORITHMS.iter().position(|(known, _)| *known == name)?;
    // Options of the form `?name` may follow.
    let hash = STANDARD.decode(rest.split('?').next()?).ok()?;
    (hash.len() == ALGORITHMS[at].1.output_len()).then_some((at, hash))
}

fn sha1_of_hex(text: &str) -> Option<Vec<u8>> {
    let hash = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    (hash.len() == SHA1_FOR_LEGACY_USE_ONLY.output_len()).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "sha1-qvTGHdzF6KLavt4PO0gs2a6pQ00=";
    const SHA512_HELLO: &str = "sha512-m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==";

    #[test]
    fn the_strongest_hash_counts() {
        for text in [SHA1, SHA512_HELLO, &format!("{SHA512_HELLO} sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=")] {
            let integrity = Integrity::parse(text).expect("a hash");
            assert!(integrity.matches(b"hello") && !integrity.matches(b"hello "), "{text}");
        }
        let both = format!("{SHA1} sha512-{}", SHA512_HELLO.trim_start_matches("sha512-").replacen('m', "n", 1));
        assert!(!Integrity::parse(&both).expect("a hash").matches(b"hello"), "SHA-1 alone is not enough");
        assert_eq!(Integrity::from_shasum("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d").map(|hash| hash.to_string()).as_deref(), Some(SHA1));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "sha512", "sha512-", "sha512-AAAA", "md5-XUFAKrxLKna5cZ2REBfFkg==", "sha1-é", &"sha1-A ".repeat(1_000)] {
            assert_eq!(Integrity::parse(text), None, "{text}");
        }
        assert_eq!(Integrity::from_shasum("aaf4"), None);
    }
}
