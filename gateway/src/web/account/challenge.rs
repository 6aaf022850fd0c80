//! The part of a sign-in page whose script solves a challenge. Without scripts it is empty, and the page only says how long to wait.

use std::fmt::Write as _;

use proto::error::Fault;

use super::escape::escaped;

/// The hidden field of the sign-in form that the script fills.
pub(crate) const SOLUTION: &str = "challenge_solution";

/// A challenge of auth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Challenge<'a> {
    pub(crate) text: &'a str,
    /// Zero bits at the beginning of the hash, as a decimal number.
    pub(crate) bits: &'a str,
}

impl<'a> Challenge<'a> {
    /// The challenge of a refused sign-in; `None` for another refusal.
    pub(crate) fn of(fault: &'a Fault) -> Option<Self> {
        let text = fault.metadata.get("challenge").filter(|_| fault.reason == "CHALLENGE_REQUIRED")?;
        Some(Self { text, bits: fault.metadata.get("bits")? })
    }

    /// `nonce` is that of the policy of the page.
    pub(crate) fn write(&self, to: &mut String, nonce: &str) {
        let Self { text, bits } = self;
        // Writing to a String cannot fail.
        let _ = writeln!(
            to,
            "<p id=\"challenge\" role=\"status\" data-challenge=\"{}\" data-bits=\"{}\"></p>\n\
             <script type=\"module\" src=\"/page/challenge.js\" nonce=\"{nonce}\"></script>",
            escaped(text),
            escaped(bits),
        );
    }
}

#[cfg(test)]
mod tests {
    use proto::error::ErrorCode;

    use super::*;
    use crate::error::fault;

    #[test]
    fn only_a_refusal_with_a_challenge_has_one() {
        let with = |reason| fault(ErrorCode::RateLimited, reason, "x").with("challenge", "1.a.b").with("bits", "20");
        let required = with("CHALLENGE_REQUIRED");
        assert_eq!(Challenge::of(&required).map(|challenge| (challenge.text, challenge.bits)), Some(("1.a.b", "20")));
        assert!(Challenge::of(&with("RATE_LIMITED")).is_none());
        assert!(Challenge::of(&fault(ErrorCode::RateLimited, "CHALLENGE_REQUIRED", "x")).is_none(), "of another release");
    }

    #[test]
    fn the_challenge_is_escaped_and_the_script_has_the_nonce() {
        let mut html = String::new();
        Challenge { text: "1.\"><script>", bits: "20\"" }.write(&mut html, "abc");
        for part in [
            "role=\"status\" data-challenge=\"1.&quot;&gt;&lt;script&gt;\" data-bits=\"20&quot;\"></p>",
            "src=\"/page/challenge.js\" nonce=\"abc\"",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert_eq!(html.matches("<script").count(), 1, "{html}");
    }
}
