//! What the mails say. A mail contains nothing that a stranger chose, apart from the address that it goes to and the network of a sign-in:
//! otherwise sign-ups could send advertisements.

use time::OffsetDateTime;
use url::Url;

use crate::email_token::EmailToken;

/// A mail, as far as its words depend on it.
pub(crate) enum Notice<'a> {
    /// To a new address, or to one whose account nobody has verified.
    SignUp(&'a EmailToken),
    /// To the owner of an account whose address somebody typed at a sign-up.
    SignUpAttempt,
    Verify(&'a EmailToken),
    Reset(&'a EmailToken),
    PasswordChanged(OffsetDateTime),
    NewDevice(&'a str, OffsetDateTime),
}

/// The words of a mail: paragraphs, a link, and more paragraphs. No text is escaped yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) subject: String,
    pub(crate) before: Vec<String>,
    pub(crate) link: (&'static str, String),
    pub(crate) after: Vec<String>,
}

impl Notice<'_> {
    /// The words, with links to the pages of `site`.
    pub(crate) fn words(&self, site: &Url) -> Words {
        let name = format!("Backlot at {}", authority(site));
        let ignore = "If this was not you, ignore this mail. Nothing happens then.".to_owned();
        let reset = || ("Set a new password", page(site, "account/reset", None));
        match self {
            Self::SignUp(token) => Words {
                subject: "Confirm your e-mail address".into(),
                before: vec![
                    format!("Somebody signed up for {name} with this address and chose a password."),
                    "If this was you, open the page and confirm the address. The link can be used once within 24 hours.".into(),
                ],
                link: ("Confirm the address", page(site, "account/verify", Some(token))),
                after: vec![ignore],
            },
            Self::SignUpAttempt => Words {
                subject: "You already have an account".into(),
                before: vec![
                    format!("Somebody tried to sign up for {name} with this address, which already has an account."),
                    "Nothing was changed. If this was you, sign in with your password, or set a new one.".into(),
                ],
                link: reset(),
                after: vec!["If this was not you, ignore this mail.".into()],
            },
            Self::Verify(token) => Words {
                subject: "Confirm your e-mail address".into(),
                before: vec![
                    format!("You have an account for {name} with this address."),
                    "Open the page and confirm the address. The link can be used once within 24 hours.".into(),
                ],
                link: ("Confirm the address", page(site, "account/verify", Some(token))),
                after: vec!["If you have no such account, do not confirm: somebody else has entered your address.".into()],
            },
            Self::Reset(token) => Words {
                subject: "Set a new password".into(),
                before: vec![
                    format!("Somebody asked for a new password of your account for {name}."),
                    "If this was you, open the page and choose one. The link can be used once within 30 minutes. All devices are signed out then."
                        .into(),
                ],
                link: ("Choose a new password", page(site, "account/reset/confirm", Some(token))),
                after: vec![ignore],
            },
            Self::PasswordChanged(at) => Words {
                subject: "Your password was changed".into(),
                before: vec![
                    format!("The password of your account for {name} was changed at {}.", moment(*at)),
                    "If this was not you, set a new password now. All devices are signed out then.".into(),
                ],
                link: reset(),
                after: Vec::new(),
            },
            Self::NewDevice(network, at) => Words {
                subject: "New sign-in to your account".into(),
                before: vec![
                    format!("Somebody signed in to your account for {name} at {}, from the address {network}, which is new.", moment(*at)),
                    "If this was not you, set a new password now. All devices are signed out then.".into(),
                ],
                link: reset(),
                after: Vec::new(),
            },
        }
    }
}

/// The host with its port.
fn authority(site: &Url) -> String {
    let host = site.host_str().unwrap_or_default();
    site.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn page(site: &Url, path: &str, token: Option<&EmailToken>) -> String {
    let base = site.as_str().trim_end_matches('/');
    token.map_or_else(|| format!("{base}/{path}"), |token| format!("{base}/{path}?token={}", token.expose()))
}

/// `2026-11-30 13:05 UTC`.
fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Url {
        Url::parse("https://apps.example:8443/").expect("url")
    }

    #[test]
    fn a_link_begins_with_the_public_url_and_has_the_token() {
        let token = EmailToken::from_client("abc-_1".into());
        for (notice, link) in [
            (Notice::SignUp(&token), "https://apps.example:8443/account/verify?token=abc-_1"),
            (Notice::Verify(&token), "https://apps.example:8443/account/verify?token=abc-_1"),
            (Notice::Reset(&token), "https://apps.example:8443/account/reset/confirm?token=abc-_1"),
            (Notice::SignUpAttempt, "https://apps.example:8443/account/reset"),
            (Notice::PasswordChanged(OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
            (Notice::NewDevice("192.0.2.1", OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
        ] {
            let words = notice.words(&site());
            assert_eq!(words.link.1, link);
            assert!(words.before[0].contains("Backlot at apps.example:8443"), "{words:?}");
            assert!(words.subject.is_ascii() && !words.subject.is_empty());
            let texts = words.before.iter().chain(&words.after);
            assert!(texts.clone().count() > 1 && texts.clone().all(|text| !text.contains("abc-_1")), "the token is only in the link");
        }
    }

    #[test]
    fn a_sign_in_is_described_by_its_network_and_time() {
        let words = Notice::NewDevice("2001:db8:1:2::/64", OffsetDateTime::UNIX_EPOCH).words(&site());
        assert!(words.before[0].ends_with("at 1970-01-01 00:00 UTC, from the address 2001:db8:1:2::/64, which is new."), "{words:?}");
    }
}
