//! Page sizes and page tokens. A token is opaque, signed for one listing, and valid for three days. It does not authorise anything.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::error::Violations;
use ring::hmac;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{identity::unix_now, secret::ClusterSecret};

const DEFAULT_SIZE: i64 = 50;
const MAX_SIZE: i64 = 200;
const MAX_AGE_SECONDS: u64 = 3 * 24 * 3600;
const TAG_BYTES: usize = 32;
const PURPOSE: &str = "page tokens";

/// The number of rows of a page: 0 means 50, and the maximum is 200. Records a violation if the size is negative.
pub fn size(page_size: i32, violations: &mut Violations) -> i64 {
    match i64::from(page_size) {
        0 => DEFAULT_SIZE,
        n if n < 0 => {
            violations.add("page_size", format!("must not be negative (0 means {DEFAULT_SIZE}, the maximum is {MAX_SIZE}), is {n}"));
            DEFAULT_SIZE
        }
        n => n.min(MAX_SIZE),
    }
}

/// The token was not signed by this cluster for this listing, or is older than three days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_page_token of the same listing, at most three days old")]
pub struct BadPageToken;

#[derive(Serialize, Deserialize)]
struct Content<K> {
    /// The time of signing, in seconds since 1970.
    t: u64,
    /// The key of the last row.
    k: K,
}

/// Signs and verifies page tokens.
#[derive(Clone)]
pub struct PageTokens {
    signing: hmac::Key,
    /// One for each secret that is accepted.
    accepted: Vec<hmac::Key>,
}

impl PageTokens {
    /// # Panics
    /// The bundle of the role has no key for page tokens, which is a bug.
    #[must_use]
    pub fn new(secret: &ClusterSecret) -> Self {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { signing: key(&secret.derive(PURPOSE)), accepted: secret.accepted(PURPOSE).iter().map(key).collect() }
    }

    /// A token for the page after the row with this key. `scope` identifies the listing: RPC, user and filters.
    #[must_use]
    pub fn seal(&self, scope: &str, key: &impl Serialize) -> String {
        let body = serde_json::to_vec(&Content { t: unix_now(), k: key }).unwrap_or_default();
        let mut token = self.tag(scope, &body).as_ref().to_vec();
        token.extend(body);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The key in a token; `None` for the first page, whose token is empty.
    ///
    /// # Errors
    /// The token is not valid for this listing.
    pub fn open<K: DeserializeOwned>(&self, scope: &str, token: &str) -> Result<Option<K>, BadPageToken> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadPageToken)?;
        let (tag, body) = bytes.split_at_checked(TAG_BYTES).ok_or(BadPageToken)?;
        let message = message(scope, body);
        self.accepted.iter().find(|key| hmac::verify(key, &message, tag).is_ok()).ok_or(BadPageToken)?;
        let content: Content<K> = serde_json::from_slice(body).map_err(|_| BadPageToken)?;
        if unix_now().saturating_sub(content.t) > MAX_AGE_SECONDS {
            return Err(BadPageToken);
        }
        Ok(Some(content.k))
    }

    fn tag(&self, scope: &str, body: &[u8]) -> hmac::Tag {
        hmac::sign(&self.signing, &message(scope, body))
    }
}

fn message(scope: &str, body: &[u8]) -> Vec<u8> {
    [scope.as_bytes(), b"\0", body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_size_is_capped_and_a_negative_one_is_a_violation() {
        for (page_size, rows) in [(0, 50), (1, 1), (200, 200), (201, 200), (500, 200), (i32::MAX, 200)] {
            let mut violations = Violations::default();
            assert_eq!(size(page_size, &mut violations), rows);
            violations.check("x").unwrap();
        }
        for page_size in [-1, i32::MIN] {
            let mut violations = Violations::default();
            size(page_size, &mut violations);
            let text = format!("page_size: must not be negative (0 means 50, the maximum is 200), is {page_size}");
            assert_eq!(violations.check("x").unwrap_err().message, text);
        }
    }

    #[test]
    fn a_token_is_valid_only_for_its_own_listing() {
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

    #[test]
    fn a_token_is_valid_while_the_secret_is_replaced() {
        let [old, new] = [1, 2].map(|byte| ClusterSecret::of_bytes(&[byte; 32]));
        let of = |secret: &ClusterSecret| PageTokens::new(secret);
        let (first, second) = (old.clone().and_previous(&new), new.clone().and_previous(&old));
        for (signs, opens) in [(&old, &first), (&first, &old), (&first, &second), (&second, &first), (&second, &new), (&old, &second)] {
            assert_eq!(of(opens).open::<u32>("scope", &of(signs).seal("scope", &7_u32)), Ok(Some(7)));
        }
        assert!(of(&new).open::<u32>("scope", &of(&old).seal("scope", &7_u32)).is_err());
    }

    #[test]
    fn a_token_expires() {
        let tokens = PageTokens::new(&ClusterSecret::of_bytes(&[1; 32]));
        let hour = 3_600;
        for (age, read) in [(MAX_AGE_SECONDS - hour, Ok(Some(7))), (MAX_AGE_SECONDS + hour, Err(BadPageToken))] {
            let body = serde_json::to_vec(&Content { t: unix_now() - age, k: 7_u32 }).unwrap();
            let token = URL_SAFE_NO_PAD.encode([tokens.tag("scope", &body).as_ref(), &body].concat());
            assert_eq!(tokens.open::<u32>("scope", &token), read, "{age} seconds old");
        }
    }
}
