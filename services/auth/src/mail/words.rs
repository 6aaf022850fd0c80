//! What the mails say. A mail contains nothing that a stranger chose, apart from the address that it goes to, and the network, with its
//! place, of a sign-in, of a program, of a new key or of a new passkey: otherwise sign-ups could send advertisements.

mod factor;

use time::OffsetDateTime;
use url::Url;

use self::factor::{factor_added, factor_removed, passkey_added, recovery_codes_replaced, second_step_failed};
use crate::{
    email_token::EmailToken,
    way_in::{NEW_FOR, Way, WayIn},
};

const SERVICE_KEYS_REMAIN: &str = "If you have service accounts, their keys remain valid.";

/// A mail, as far as its words depend on it.
pub(crate) enum Notice<'a> {
    /// To a new address, or to one whose account nobody has verified.
    SignUp(&'a EmailToken),
    /// To the owner of an account whose address somebody typed at a sign-up.
    SignUpAttempt,
    Verify(&'a EmailToken),
    Reset(&'a EmailToken),
    /// With the ways into the account that are left.
    PasswordChanged(&'a [WayIn], OffsetDateTime),
    /// By the link of a mail. With the ways into the account that are left.
    PasswordReset(&'a [WayIn], OffsetDateTime),
    NewDevice(&'a str, OffsetDateTime),
    KeyMade(&'a str, OffsetDateTime),
    ServiceKeyMade(&'a str, OffsetDateTime),
    ProgramSignedIn(&'a str, OffsetDateTime),
    AccountDeleted(OffsetDateTime),
    /// With the token that removes it, as for a passkey.
    FactorAdded(Option<&'a EmailToken>, OffsetDateTime),
    FactorRemoved(OffsetDateTime),
    RecoveryCodesReplaced(OffsetDateTime),
    /// To the address that an account shall have.
    ChangeEmail(&'a EmailToken),
    /// To the owner of an account whose address somebody typed as the new one of another account.
    ChangeEmailAttempt,
    /// To the address that an account had.
    EmailChanged(OffsetDateTime),
    IdentityLinked(OffsetDateTime),
    IdentityUnlinked(OffsetDateTime),
    PasskeyAdded(&'a str, Option<&'a EmailToken>, OffsetDateTime),
    SecondStepFailed(&'a str, OffsetDateTime),
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
                    "If this was you, open the page and confirm the address with that password. The link can be used once within 24 hours."
                        .into(),
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
            Self::Verify(token) => verify(&name, token, site),
            Self::Reset(token) => Words {
                subject: "Set a new password".into(),
                before: vec![
                    format!("Somebody asked for a new password of your account for {name}."),
                    format!(
                        "If this was you, open the page and choose one. The link can be used once within 30 minutes. All devices are signed out \
                         then. All stored keys of model providers are removed, and linked accounts that were added within {} days. A second \
                         factor stays.",
                        NEW_FOR.whole_days()
                    ),
                ],
                link: ("Choose a new password", page(site, "account/reset/confirm", Some(token))),
                after: vec![ignore],
            },
            Self::PasswordChanged(ways, at) => password_changed(&name, ways, *at, site),
            Self::PasswordReset(ways, at) => password_reset(&name, ways, *at, site),
            Self::NewDevice(network, at) => new_device(&name, network, *at, site),
            Self::KeyMade(network, at) => key_made(&name, network, *at, site),
            Self::ServiceKeyMade(network, at) => service_key_made(&name, network, *at, site),
            Self::ProgramSignedIn(network, at) => program_signed_in(&name, network, *at, site),
            Self::AccountDeleted(at) => account_deleted(&name, *at, site),
            Self::FactorAdded(token, at) => factor_added(&name, *token, *at, site),
            Self::FactorRemoved(at) => factor_removed(&name, *at, site),
            Self::RecoveryCodesReplaced(at) => recovery_codes_replaced(&name, *at, site),
            Self::ChangeEmail(token) => change_email(&name, token, site),
            Self::ChangeEmailAttempt => change_email_attempt(&name, site),
            Self::EmailChanged(at) => email_changed(&name, *at, site),
            Self::IdentityLinked(at) => identity_changed(true, &name, *at, site),
            Self::IdentityUnlinked(at) => identity_changed(false, &name, *at, site),
            Self::PasskeyAdded(network, token, at) => passkey_added(&name, network, *token, *at, site),
            Self::SecondStepFailed(network, at) => second_step_failed(&name, network, *at, site),
        }
    }
}

fn password_changed(name: &str, ways: &[WayIn], at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "Your password was changed".into(),
        before: vec![
            format!("The password of your account for {name} was changed at {}.", moment(at)),
            "If this was not you, set a new password now. All devices are then signed out.".into(),
        ],
        link: ("Set a new password", page(site, "account/reset", None)),
        after: vec![SERVICE_KEYS_REMAIN.into(), ways_left(ways, site), provider_keys_remain(site)],
    }
}

fn password_reset(name: &str, ways: &[WayIn], at: OffsetDateTime, site: &Url) -> Words {
    let removed = format!(
        "All stored keys of model providers are removed, your own and those that you stored for projects. Store those that you need again at {}.",
        page(site, "account/provider-keys", None)
    );
    Words { after: vec![SERVICE_KEYS_REMAIN.into(), ways_left(ways, site), removed], ..password_changed(name, ways, at, site) }
}

/// Whoever stored a key reads what is sent with it, if the server is theirs.
fn provider_keys_remain(site: &Url) -> String {
    format!("Stored keys of model providers remain. Remove what is not yours at {}.", page(site, "account/provider-keys", None))
}

/// What signs in besides the password. A label at a provider is not named: whoever linked it has chosen it.
fn ways_left(ways: &[WayIn], site: &Url) -> String {
    if ways.is_empty() {
        return "Besides the password no linked account, passkey or authenticator app belongs to the account.".into();
    }
    let named = ways.iter().map(|WayIn { way, added_at }| match way {
        Way::Identity { provider, .. } => format!("an account at {provider}, linked at {}", moment(*added_at)),
        Way::Passkey(_) => format!("a passkey, added at {}", moment(*added_at)),
        Way::AuthenticatorApp => format!("an authenticator app, added at {}", moment(*added_at)),
    });
    format!(
        "Besides the password the account has: {}. Remove what is not yours at {} and {}, or a new second factor with the link of the mail about it.",
        named.collect::<Vec<_>>().join("; "),
        page(site, "account/identities", None),
        page(site, "account/second-factor", None),
    )
}

fn new_device(name: &str, network: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "New sign-in to your account".into(),
        before: vec![
            format!("Somebody signed in to your account for {name} at {}, from the address {network}, which is new.", moment(at)),
            "If this was not you, set a new password now. All devices are then signed out.".into(),
        ],
        link: ("Set a new password", page(site, "account/reset", None)),
        after: Vec::new(),
    }
}

fn key_made(name: &str, network: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "New API key for your account".into(),
        before: vec![
            format!("Somebody created an API key for your account for {name} at {}, from the address {network}.", moment(at)),
            "A program with the key can use your projects. If this was not you, delete the key and set a new password.".into(),
        ],
        link: ("See your keys", page(site, "account/keys", None)),
        after: Vec::new(),
    }
}

fn service_key_made(name: &str, network: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "New API key for a service account".into(),
        before: vec![
            format!("Somebody created an API key for a service account of yours for {name} at {}, from the address {network}.", moment(at)),
            "If this was not you, delete the key and set a new password.".into(),
        ],
        link: ("See your service accounts", page(site, "account/service-accounts", None)),
        after: Vec::new(),
    }
}

/// Without the name of the program, which the program has chosen.
fn program_signed_in(name: &str, network: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "A program was signed in to your account".into(),
        before: vec![
            format!("A program was signed in to your account for {name} at {}, from the address {network}.", moment(at)),
            "It can use your projects for up to 90 days. If this was not you, end its session and set a new password.".into(),
        ],
        link: ("See your sessions", page(site, "account/sessions", None)),
        after: Vec::new(),
    }
}

fn change_email(name: &str, token: &EmailToken, site: &Url) -> Words {
    Words {
        subject: "Confirm your new e-mail address".into(),
        before: vec![
            format!("Somebody with an account for {name} wants it to have this address."),
            "If this was you, open the page and confirm the address. The link can be used once within an hour, in the account that asked for it."
                .into(),
        ],
        link: ("Confirm the new address", page(site, "account/new-email", Some(token))),
        after: vec![
            "If there is another account with this address that nobody has confirmed, it is deleted then, with its projects.".into(),
            "If this was not you, ignore this mail. Nothing happens then.".into(),
        ],
    }
}

fn change_email_attempt(name: &str, site: &Url) -> Words {
    Words {
        subject: "You already have an account".into(),
        before: vec![
            format!("Somebody with another account for {name} wants it to have this address, which already has an account."),
            "Nothing was changed. If this was you, sign in to the account of this address, or delete it first.".into(),
        ],
        link: ("Set a new password", page(site, "account/reset", None)),
        after: vec!["If this was not you, ignore this mail.".into()],
    }
}

fn email_changed(name: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "Your e-mail address was changed".into(),
        before: vec![
            format!("The e-mail address of your account for {name} was changed at {}. It was this one before.", moment(at)),
            "Mails about the account go to the new address from now on. All other devices and all programs are signed out.".into(),
        ],
        link: ("Open the site", page(site, "", None)),
        after: vec![
            SERVICE_KEYS_REMAIN.into(),
            provider_keys_remain(site),
            "If this was not you, tell the operator of the site at once: somebody else has your account.".into(),
        ],
    }
}

fn identity_changed(is_linked: bool, name: &str, at: OffsetDateTime, site: &Url) -> Words {
    let (what, then, removed) = if is_linked {
        let removed = format!(" Within {} days that also unlinks the account at the provider.", NEW_FOR.whole_days());
        ("linked to", " From now on it can be used to sign in.", removed)
    } else {
        ("unlinked from", " It can no longer be used to sign in.", String::new())
    };
    Words {
        subject: format!("Another sign-in was {what} your account"),
        before: vec![
            format!("An account at another provider was {what} your account for {name} at {}.{then}", moment(at)),
            format!(
                "If this was not you, look at the linked accounts, and set a new password with a link that you get by mail. All devices are \
                 signed out then.{removed}"
            ),
        ],
        link: ("See the linked accounts", page(site, "account/identities", None)),
        after: Vec::new(),
    }
}

fn account_deleted(name: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "Your account was deleted".into(),
        before: vec![
            format!(
                "Your account for {name} was deleted at {}, with its projects, its service accounts and its stored keys of model providers. All \
                 devices and programs are signed out.",
                moment(at)
            ),
            "This cannot be undone. You can sign up again with this address, unless it is that of another account now.".into(),
        ],
        link: ("Open the site", page(site, "", None)),
        after: vec![
            "An account with an address that nobody has confirmed is also deleted when somebody confirms the address for another account."
                .into(),
            "If this was not you, tell the operator of the site.".into(),
        ],
    }
}

/// The host with its port.
fn authority(site: &Url) -> String {
    let host = site.host_str().unwrap_or_default();
    site.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(crate) fn page(site: &Url, path: &str, token: Option<&EmailToken>) -> String {
    let base = site.as_str().trim_end_matches('/');
    token.map_or_else(|| format!("{base}/{path}"), |token| format!("{base}/{path}?token={}", token.expose()))
}

fn verify(name: &str, token: &EmailToken, site: &Url) -> Words {
    Words {
        subject: "Confirm your e-mail address".into(),
        before: vec![
            format!("You have an account for {name} with this address."),
            "Sign in, open the page and confirm the address. The link can be used once within 24 hours.".into(),
        ],
        link: ("Confirm the address", page(site, "account/verify-email", Some(token))),
        after: vec![format!(
            "If you have not made this account, somebody else has entered your address. Set a new password at {}: then the account \
             is yours, and they are signed out.",
            page(site, "account/reset", None)
        )],
    }
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
            (Notice::Verify(&token), "https://apps.example:8443/account/verify-email?token=abc-_1"),
            (Notice::Reset(&token), "https://apps.example:8443/account/reset/confirm?token=abc-_1"),
            (Notice::SignUpAttempt, "https://apps.example:8443/account/reset"),
            (Notice::PasswordChanged(&[], OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
            (Notice::PasswordReset(&[], OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
            (Notice::NewDevice("192.0.2.1", OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
            (Notice::KeyMade("192.0.2.1", OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/keys"),
            (Notice::ServiceKeyMade("192.0.2.1", OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/service-accounts"),
            (Notice::ProgramSignedIn("192.0.2.1", OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/sessions"),
            (Notice::AccountDeleted(OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/"),
            (
                Notice::PasskeyAdded("192.0.2.1", Some(&token), OffsetDateTime::UNIX_EPOCH),
                "https://apps.example:8443/account/remove-factor?token=abc-_1",
            ),
            (Notice::PasskeyAdded("192.0.2.1", None, OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/second-factor"),
            (Notice::SecondStepFailed("192.0.2.1", OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
            (Notice::FactorAdded(Some(&token), OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/remove-factor?token=abc-_1"),
            (Notice::FactorAdded(None, OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/second-factor"),
            (Notice::FactorRemoved(OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
            (Notice::RecoveryCodesReplaced(OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/reset"),
            (Notice::ChangeEmail(&token), "https://apps.example:8443/account/new-email?token=abc-_1"),
            (Notice::ChangeEmailAttempt, "https://apps.example:8443/account/reset"),
            (Notice::EmailChanged(OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/"),
            (Notice::IdentityLinked(OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/identities"),
            (Notice::IdentityUnlinked(OffsetDateTime::UNIX_EPOCH), "https://apps.example:8443/account/identities"),
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
    fn a_mail_about_a_new_password_or_address_says_that_keys_of_service_accounts_remain() {
        let at = OffsetDateTime::UNIX_EPOCH;
        for notice in [Notice::PasswordChanged(&[], at), Notice::PasswordReset(&[], at), Notice::EmailChanged(at)] {
            assert_eq!(notice.words(&site()).after[0], "If you have service accounts, their keys remain valid.");
        }
    }

    #[test]
    fn a_mail_about_what_ended_says_whether_keys_of_model_providers_remain() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let token = EmailToken::from_client("abc-_1".into());
        for (notice, expected) in [
            (Notice::PasswordChanged(&[], at), "Stored keys of model providers remain."),
            (Notice::EmailChanged(at), "Stored keys of model providers remain."),
            (Notice::PasswordReset(&[], at), "All stored keys of model providers are removed, your own and those"),
            (Notice::Reset(&token), "All stored keys of model providers are removed"),
            (Notice::AccountDeleted(at), "and its stored keys of model providers."),
        ] {
            let words = notice.words(&site());
            assert!(words.before.iter().chain(&words.after).any(|text| text.contains(expected)), "{words:?}");
        }
    }

    #[test]
    fn a_mail_about_a_deleted_account_says_that_another_one_may_have_the_address() {
        let words = Notice::AccountDeleted(OffsetDateTime::UNIX_EPOCH).words(&site());
        assert!(words.before[1].contains("unless it is that of another account now"), "{words:?}");
        assert!(words.after[0].ends_with("when somebody confirms the address for another account."), "{words:?}");
    }

    #[test]
    fn a_mail_about_a_new_password_lists_what_else_signs_in() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let identity = Way::Identity { id: uuid::Uuid::nil(), provider: "github".into() };
        let ways = [identity, Way::Passkey(uuid::Uuid::nil()), Way::AuthenticatorApp].map(|way| WayIn { way, added_at: at });
        let words = Notice::PasswordChanged(&ways, at).words(&site());
        let expected = "Besides the password the account has: an account at github, linked at 1970-01-01 00:00 UTC; a passkey, added at 1970-01-01 \
                        00:00 UTC; an authenticator app, added at 1970-01-01 00:00 UTC. Remove what is not yours at \
                        https://apps.example:8443/account/identities and https://apps.example:8443/account/second-factor, or a new second factor with \
                        the link of the mail about it.";
        assert_eq!(words.after[1], expected);
        let none = Notice::PasswordChanged(&[], at).words(&site());
        assert!(none.after[1].starts_with("Besides the password no linked account"), "{none:?}");
    }

    #[test]
    fn a_mail_about_a_linked_account_says_how_to_unlink_it_without_a_session() {
        let words = Notice::IdentityLinked(OffsetDateTime::UNIX_EPOCH).words(&site());
        assert!(words.before[1].ends_with("Within 7 days that also unlinks the account at the provider."), "{words:?}");
    }

    #[test]
    fn a_mail_about_a_new_factor_says_how_to_remove_it_without_having_it() {
        let (at, token) = (OffsetDateTime::UNIX_EPOCH, EmailToken::from_client("abc-_1".into()));
        for notice in [Notice::FactorAdded(Some(&token), at), Notice::PasskeyAdded("192.0.2.1", Some(&token), at)] {
            let words = notice.words(&site());
            assert!(words.before[1].contains("The link can be used once within 7 days."), "{words:?}");
            assert!(words.after[0].contains("set a new password at https://apps.example:8443/account/reset"), "{words:?}");
        }
        for notice in [Notice::FactorAdded(None, at), Notice::PasskeyAdded("192.0.2.1", None, at)] {
            assert!(notice.words(&site()).before[1].ends_with("tell the operator."));
        }
    }

    #[test]
    fn a_mail_to_verify_an_address_says_how_its_owner_takes_the_account_over() {
        let words = Notice::Verify(&EmailToken::from_client("abc-_1".into())).words(&site());
        assert!(words.after[0].contains("Set a new password at https://apps.example:8443/account/reset:"), "{words:?}");
    }

    #[test]
    fn a_sign_in_is_described_by_its_network_and_time() {
        let words = Notice::NewDevice("2001:db8:1:2::/64", OffsetDateTime::UNIX_EPOCH).words(&site());
        assert!(words.before[0].ends_with("at 1970-01-01 00:00 UTC, from the address 2001:db8:1:2::/64, which is new."), "{words:?}");
    }
}
