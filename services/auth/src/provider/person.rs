//! Persons at providers, and their identities here.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{email::Email, user::MAX_NAME};

/// Bytes of a subject (OpenID Connect Core, section 2).
const MAX_SUBJECT: usize = 255;
/// Characters of what a person recognises an identity by.
const MAX_LABEL: usize = 254;

/// Who signed in at a provider, after all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// Issuer and subject are the key of the person.
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// An address that the provider has verified.
    pub(crate) email: Option<Email>,
    /// An address or a name. May be empty.
    pub(crate) label: String,
    /// May be empty.
    pub(crate) display_name: String,
}

/// What a provider says about a person, before the checks.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    /// An address that the provider has verified.
    pub(crate) email: Option<String>,
    /// The name of the account at the provider.
    pub(crate) login: Option<String>,
    pub(crate) name: Option<String>,
}

impl Person {
    pub(super) fn new(issuer: &str, claims: Claims) -> Result<Self, ProviderError> {
        let Claims { subject, email, login, name } = claims;
        let is_subject = (1..=MAX_SUBJECT).contains(&subject.len()) && subject.chars().all(|c| !c.is_control());
        if !is_subject || subject.trim().is_empty() {
            return Err(ProviderError::Refused("the subject is empty, too long, or has control characters".to_owned()));
        }
        // An address that is none here cannot be the address of an account.
        let email: Option<Email> = email.and_then(|text| text.parse().ok());
        let shown = |text: Option<String>, max| {
            let text = text.unwrap_or_default();
            if text.chars().any(proto::text::is_misleading) { String::new() } else { text.trim().chars().take(max).collect() }
        };
        let label = email.as_ref().map(|email| email.as_str().to_owned());
        Ok(Self {
            issuer: issuer.to_owned(),
            subject,
            label: shown(label.or(login), MAX_LABEL),
            display_name: shown(name, MAX_NAME),
            email,
        })
    }
}

/// Why a provider did not yield a person. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("the provider cannot be used now: {0}")]
    Unavailable(String),
    #[error("the provider's answer is refused: {0}")]
    Refused(String),
    #[error("the person signed in at the provider longer ago than maxAge allows")]
    TooOld,
    #[error("the sign-in at the provider has none of the acrValues")]
    TooWeak,
}

/// An account at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: Uuid,
    pub(crate) provider: String,
    pub(crate) issuer: String,
    pub(crate) label: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) last_used_at: OffsetDateTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(subject: &str, email: Option<&str>, name: &str) -> Result<Person, ProviderError> {
        let claims = Claims { subject: subject.into(), email: email.map(Into::into), login: Some("ada-l".into()), name: Some(name.into()) };
        Person::new("https://issuer.example", claims)
    }

    #[test]
    fn a_person_has_a_subject() {
        for subject in ["", " ", "\u{a0}", "a\0", "a\nb", &"x".repeat(256)] {
            assert!(matches!(person(subject, None, ""), Err(ProviderError::Refused(_))), "{subject:?}");
        }
        assert_eq!(person(&"x".repeat(255), None, "").expect("a person").subject.len(), 255);
    }

    #[test]
    fn texts_of_a_provider_are_bounded_and_do_not_mislead() {
        let ada = person("1", Some("Ada@Example.ORG"), "Ada").expect("a person");
        assert_eq!((ada.label.as_str(), ada.display_name.as_str()), ("Ada@example.org", "Ada"));
        let without = person("1", Some("not an address"), "a\u{202e}b").expect("a person");
        assert_eq!((without.email, without.label.as_str(), without.display_name.as_str()), (None, "ada-l", ""));
        assert_eq!(person("1", None, &"é".repeat(500)).expect("a person").display_name.chars().count(), MAX_NAME);
    }
}
