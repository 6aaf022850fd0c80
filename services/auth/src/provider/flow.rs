//! One sign-in at a provider: its secrets, and the rules for the answer that the browser brings back.
//!
//! Two secrets are made: the state, which the provider sends back, and one for a cookie of the browser. The PKCE verifier and the nonce follow
//! from both. So a code works only in the browser that began, and the database has only hashes.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chassis::identity::sha256;
use proto::id::SessionId;
use time::Duration;

use crate::session::{NoRandomness, SessionSecret};

/// How long a person may take at the provider.
pub(crate) const LIFETIME: Duration = Duration::minutes(10);

/// A sign-in between its two steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) provider: String,
    /// SHA-256 of the secret of the browser.
    pub(crate) browser_hash: Vec<u8>,
    /// The session that links an identity.
    pub(crate) session_id: Option<SessionId>,
    pub(crate) return_to: String,
    /// SHA-256 of the token of an invite.
    pub(crate) invite_hash: Option<Vec<u8>>,
}

/// The secrets of one sign-in.
pub(crate) struct Secrets {
    pub(crate) state: SessionSecret,
    pub(crate) browser: SessionSecret,
}

impl Secrets {
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        Ok(Self { state: SessionSecret::generate()?, browser: SessionSecret::generate()? })
    }

    /// The PKCE verifier (RFC 7636): 43 characters.
    pub(crate) fn verifier(&self) -> String {
        self.derive("verifier")
    }

    /// The nonce of the ID token.
    pub(crate) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    fn derive(&self, purpose: &str) -> String {
        let text = format!("{purpose}\0{}\0{}", self.browser.expose(), self.state.expose());
        BASE64_URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
    }
}

/// Whether the answer can be of this issuer (RFC 9207). An answer of another issuer is a mix-up: the code of an honest provider would be sent
/// to the attacker's. `is_promised`: the provider says that each of its answers names the issuer.
pub(crate) fn is_issuer(expected: &str, sent: &str, is_promised: bool) -> bool {
    if sent.is_empty() { !is_promised } else { sent == expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_the_secrets_differs_by_purpose_browser_and_state() {
        let (one, two) = (Secrets::generate().expect("random"), Secrets::generate().expect("random"));
        let other_browser = Secrets { state: one.state.clone(), browser: two.browser.clone() };
        let other_state = Secrets { state: two.state.clone(), browser: one.browser.clone() };
        let mut all: Vec<_> = [&one, &two, &other_browser, &other_state].iter().flat_map(|s| [s.verifier(), s.nonce()]).collect();
        assert!(all.iter().all(|text| text.len() == 43), "{all:?}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn an_answer_of_another_issuer_is_none() {
        for (sent, is_promised, holds) in [
            ("https://one.example", true, true),
            ("https://one.example", false, true),
            ("", false, true),
            ("", true, false),
            ("https://two.example", false, false),
            ("https://two.example", true, false),
            ("https://one.example/", true, false),
            ("HTTPS://one.example", true, false),
        ] {
            assert_eq!(is_issuer("https://one.example", sent, is_promised), holds, "{sent} {is_promised}");
        }
    }
}
