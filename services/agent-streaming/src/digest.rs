//! SHA-256 as text.

use sha2::{Digest as _, Sha256};

/// The hexadecimal digits of some bytes, two for each.
#[must_use]
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of some bytes, 64 hexadecimal digits.
#[must_use]
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The first `length` bytes of the SHA-256 of some bytes, two hexadecimal digits each. At most 32 bytes.
#[must_use]
pub(crate) fn short_sha256(bytes: impl AsRef<[u8]>, length: usize) -> String {
    hexadecimal(&Sha256::digest(bytes)[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nothing_is_the_known_one() {
        assert_eq!(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (length, hash) in [(0, ""), (8, "e3b0c44298fc1c14"), (16, "e3b0c44298fc1c149afbf4c8996fb924")] {
            assert_eq!(short_sha256("", length), hash);
        }
        assert_eq!(hexadecimal(&[0, 10, 255]), "000aff");
    }
}
