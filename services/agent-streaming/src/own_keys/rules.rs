//! What a stored key and its address must be.

use chassis::outbound::Guard;
use proto::error::Violations;
use reqwest::Url;

use crate::model::provider::Kind;

const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=512;
/// Equal characters in a row that only a masked key has.
const MASKED_RUN: usize = 6;

/// Seconds for which a proof of who one is counts as recent. auth has the same limit for what makes credentials.
const PROOF_SECONDS: u64 = 600;

/// Whether a person proved recently who they are. Both times are in seconds since 1970. The time alone is enough, because it is 1 for a forgotten
/// proof. When an account gets another second factor, auth forgets its proofs, and the server forgets those of access tokens from before.
pub(crate) fn is_recent(auth_time: u64, now: u64) -> bool {
    now.saturating_sub(auth_time) < PROOF_SECONDS
}

/// A key is given as a whole. A masked one, as a form shows it, is refused.
pub(crate) fn check_key(violations: &mut Violations, key: &str) {
    if !KEY_BYTES.contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let (least, most) = (KEY_BYTES.start(), KEY_BYTES.end());
        violations.add("key", format!("must be the whole key: {least} to {most} visible ASCII characters without spaces"));
    } else if is_masked(key) {
        violations.add("key", "must be the whole key, not a masked one");
    }
}

fn is_masked(key: &str) -> bool {
    let bytes = key.as_bytes();
    let is_run = |run: &[u8]| run.iter().all(|byte| *byte == run[0]);
    key.contains('*') || key.contains("...") || key.to_ascii_lowercase().contains("redacted") || bytes.windows(MASKED_RUN).any(is_run)
}

/// The canonical address of a request, which is the provider's own if the request names none.
pub(crate) fn check_base_url(violations: &mut Violations, guard: &Guard, kind: Kind, text: &str) -> Option<Url> {
    let text = if text.is_empty() { kind.default_url() } else { text };
    match guard.parse(text) {
        Ok(url) if url.query().is_some() => {
            violations.add("base_url", "must not have a query (?)");
            None
        }
        Ok(url) => Some(url),
        Err(refused) => {
            violations.add("base_url", refused.to_string());
            None
        }
    }
}

/// Whether a new address leads elsewhere. A slash at its end does not count.
pub(crate) fn leads_elsewhere(before: &str, after: &Url) -> bool {
    before.trim_end_matches('/') != after.as_str().trim_end_matches('/')
}

/// What lists show of a key.
pub(crate) fn last_four(key: &str) -> String {
    key[key.len().saturating_sub(4)..].to_owned()
}

#[cfg(test)]
mod tests {
    use chassis::{config::Setting as _, outbound::Allowed};

    use super::*;

    fn problem(key: &str) -> Option<String> {
        let mut violations = Violations::default();
        check_key(&mut violations, key);
        violations.check("x").err().map(|fault| fault.message)
    }

    #[test]
    fn a_masked_or_malformed_key_is_refused() {
        for key in ["sk-ant-api03-Qm9yZW0gaXBzdW0", "0123456789abcdef", "sk-proj-aaaaa-bbbbb-ccccc", &"ab".repeat(256)] {
            assert_eq!(problem(key), None, "{key}");
        }
        for key in [
            "",
            "sk-short",
            "sk-ant-api03-****************4e58",
            "****************",
            "sk-ant...4e58-0123456789",
            "sk-ant-•••••••••••••4e58",
            "xxxxxxxxxxxxxxxx4e58",
            "sk-------------4e58",
            "[redacted]-0123456789",
            "sk-ant-api03 Qm9yZW0gaXBzdW0",
            "sk-ant-api03-Qm9yZW0\n",
            "sk-änt-api03-Qm9yZW0",
            &"ab".repeat(257),
        ] {
            let problem = problem(key).unwrap_or_else(|| panic!("{key} was accepted"));
            assert!(problem.contains("key: must be the whole key") && (key.is_empty() || !problem.contains(key)), "{problem}");
        }
    }

    #[test]
    fn an_address_is_guarded_and_canonical() {
        let guard = Guard::new(Allowed::parse("models.internal").unwrap());
        let check = |text: &str| {
            let mut violations = Violations::default();
            let url = check_base_url(&mut violations, &guard, Kind::OpenAi, text);
            violations.check("x").map(|()| url.expect("an address").to_string()).map_err(|fault| fault.message)
        };
        assert_eq!(check("").as_deref(), Ok("https://api.openai.com/v1"));
        assert_eq!(check("HTTPS://API.OpenAI.com:443/v1").as_deref(), Ok("https://api.openai.com/v1"));
        assert_eq!(check("http://models.internal/v1").as_deref(), Ok("http://models.internal/v1"));
        for text in ["http://api.openai.com/v1", "https://127.0.0.1/", "https://a@b.example/", "https://a.example/?key=1", "ftp://a", "x"] {
            assert!(check(text).is_err_and(|problem| problem.contains("base_url: ")), "{text}");
        }
        for kind in Kind::ALL {
            assert_eq!(guard.parse(kind.default_url()).unwrap().as_str(), kind.default_url(), "canonical");
        }
    }

    #[test]
    fn a12_another_address_is_recognised_in_every_spelling() {
        let before = "https://api.openai.com/v1";
        let elsewhere = |text: &str| leads_elsewhere(before, &Url::parse(text).unwrap());
        for text in
            ["https://api.openai.com/v1", "https://api.openai.com/v1/", "HTTPS://API.OPENAI.COM:443/v1", "https://api.openai.com/x/../v1"]
        {
            assert!(!elsewhere(text), "{text}");
        }
        for text in [
            "http://api.openai.com/v1",
            "https://api.openai.com:8443/v1",
            "https://api.openai.com.example/v1",
            "https://api.openai.com/v1/x",
            "https://api.openai.com/V1",
            "https://api.openai.com/",
            "https://api.openai.com./v1",
            "https://evil.example/v1",
            "https://api.openai.com@evil.example/v1",
        ] {
            assert!(elsewhere(text), "{text}");
        }
    }

    #[test]
    fn a_proof_is_recent_for_ten_minutes() {
        for (auth_time, now, expected) in
            [(1_000, 1_000, true), (1_000, 1_599, true), (1_000, 1_600, false), (1_001, 1_000, true), (0, 1_700_000_000, false)]
        {
            assert_eq!(is_recent(auth_time, now), expected, "{auth_time} at {now}");
        }
    }

    #[test]
    fn only_the_last_four_characters_are_shown() {
        assert_eq!(last_four("sk-ant-api03-Qm9yZW0gaXBz1234"), "1234");
    }
}
