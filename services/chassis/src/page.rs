//! Page sizes and page tokens. A token is opaque, sealed over the listing it belongs to, and good for three days; it never
//! authorises anything.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::error::Violations;
use ring::hmac;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{identity::unix_now, secret::ClusterSecret};

const DEFAULT_SIZE: i64 = 50;
const MAX_SIZE: i64 = 200;
const MAX_AGE_SECONDS: u64 = 3 * 24 * 3600;
const TAG_BYTES: usize = 32;

/// The rows of a page: 0 is 50, more than 200 is 200; a negative size is recorded as a violation.
pub fn size(page_size: i32, violations: &mut Violations) -> i64 {
    match i64::from(page_size) {
        0 => DEFAULT_SIZE,
        n if n < 0 => {
            violations.add("page_size", format!("must not be negative (0 is {DEFAULT_SIZE}, and the most is {MAX_SIZE}); got {n}"));
            DEFAULT_SIZE
        }
        n => n.min(MAX_SIZE),
    }
}

/// The token was not made by this cluster for this listing, or is older than three days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_page_token of the same listing, at most three days old")]
pub struct BadPageToken;

#[derive(Serialize, Deserialize)]
struct Sealed<K> {
    /// When it was made, in seconds since 1970.
    t: u64,
    /// The last row's key.
    k: K,
}

/// Makes and opens page tokens.
#[derive(Clone)]
pub struct PageTokens(hmac::Key);

impl PageTokens {
    #[must_use]
    pub fn new(secret: &ClusterSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret.derive("page tokens")))
    }

    /// `scope` names the listing: RPC, person and filters.
    #[must_use]
    pub fn seal(&self, scope: &str, key: &impl Serialize) -> String {
        let body = serde_json::to_vec(&Sealed { t: unix_now(), k: key }).unwrap_or_default();
        let mut token = self.tag(scope, &body).as_ref().to_vec();
        token.extend(body);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The key inside; `None` for the first page, which has no token.
    ///
    /// # Errors
    /// If the token is not of this listing.
    pub fn open<K: DeserializeOwned>(&self, scope: &str, token: &str) -> Result<Option<K>, BadPageToken> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadPageToken)?;
        let (tag, body) = bytes.split_at_checked(TAG_BYTES).ok_or(BadPageToken)?;
        hmac::verify(&self.0, &message(scope, body), tag).map_err(|_| BadPageToken)?;
        let sealed: Sealed<K> = serde_json::from_slice(body).map_err(|_| BadPageToken)?;
        if unix_now().saturating_sub(sealed.t) > MAX_AGE_SECONDS {
            return Err(BadPageToken);
        }
        Ok(Some(sealed.k))
    }

    fn tag(&self, scope: &str, body: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, &message(scope, body))
    }
}

fn message(scope: &str, body: &[u8]) -> Vec<u8> {
    [scope.as_bytes(), b"\0", body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_taken_within_bounds_and_a_negative_one_is_refused_with_the_range() {
        for (asked, rows) in [(0, 50), (1, 1), (200, 200), (201, 200), (500, 200), (i32::MAX, 200)] {
            let mut violations = Violations::default();
            assert_eq!(size(asked, &mut violations), rows);
            violations.check("x").unwrap();
        }
        for asked in [-1, i32::MIN] {
            let mut violations = Violations::default();
            size(asked, &mut violations);
            let text = format!("page_size: must not be negative (0 is 50, and the most is 200); got {asked}");
            assert_eq!(violations.check("x").unwrap_err().message, text);
        }
    }

    #[test]
    fn a_token_opens_only_its_own_listing() {
        let tokens = PageTokens::new(&ClusterSecret::of_bytes(&[1; 32]));
        let token = tokens.seal("ListMessages/p1", &7_u32);
        assert_eq!(tokens.open::<u32>("ListMessages/p1", &token), Ok(Some(7)));
        assert_eq!(tokens.open::<u32>("ListMessages/p1", ""), Ok(None));
        assert_eq!(tokens.open::<u32>("ListMessages/p2", &token), Err(BadPageToken));
        for end in 0..token.len() {
            assert!(end == 0 || tokens.open::<u32>("ListMessages/p1", &token[..end]).is_err());
        }
        assert!(tokens.open::<u32>("ListMessages/p1", "%%%").is_err());
    }
}
