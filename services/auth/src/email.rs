//! What an e-mail address is here, and when two of them are one account.

use std::str::FromStr;

/// RFC 5321's bound of a path, without its angle brackets.
pub const MAX_CHARACTERS: usize = 254;
const MIN_CHARACTERS: usize = 3;

/// An address that an account may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    at: usize,
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEmail {
    #[error("must be {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")]
    Length,
    #[error("must hold exactly one @")]
    At,
    #[error("must have something before and after the @")]
    Part,
    #[error("must hold no spaces, control characters or look-alikes of punctuation")]
    Character,
    #[error("must end in a host name: letters, digits and hyphens, parted by single dots")]
    Domain,
}

impl Email {
    /// As it is shown: the domain in lower case, the rest as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is before the @.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// What identifies the account.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.text)
    }
}

/// The identity of an address as somebody typed it; an address that is none simply has no account.
#[must_use]
pub fn key(text: &str) -> String {
    text.to_lowercase()
}

impl FromStr for Email {
    type Err = NotAnEmail;

    fn from_str(text: &str) -> Result<Self, NotAnEmail> {
        if !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&text.chars().count()) {
            return Err(NotAnEmail::Length);
        }
        let mut parts = text.split('@');
        let (Some(local), Some(domain), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAnEmail::At);
        };
        if local.is_empty() || domain.is_empty() {
            return Err(NotAnEmail::Part);
        }
        if !local.chars().all(is_local) {
            return Err(NotAnEmail::Character);
        }
        if !domain.split('.').all(is_label) {
            return Err(NotAnEmail::Domain);
        }
        Ok(Self { at: local.len(), text: format!("{local}@{}", domain.to_lowercase()) })
    }
}

/// Letters and digits of every script and the punctuation that RFC 5322 allows unquoted. Other symbols are refused: a mail system
/// that normalises would read the fullwidth `＠` as a second @ and deliver to somebody else, and `,` or `<` would split a header.
fn is_local(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_spelling_and_loses_the_case_of_its_domain() {
        let email: Email = "Ada.Lovelace@Example.ORG".parse().expect("an address");
        assert_eq!(email.as_str(), "Ada.Lovelace@example.org");
        assert_eq!(email.local(), "Ada.Lovelace");
        assert_eq!(email.key(), "ada.lovelace@example.org");
        assert_eq!(key("ADA.lovelace@EXAMPLE.org"), email.key());
    }

    #[test]
    fn what_is_an_address() {
        let long = format!("{}@b.c", "a".repeat(250));
        for text in ["a@b", "a+b@c.d", "o'neil@x-y.example", "bücher@bücher.example", long.as_str()] {
            assert!(text.parse::<Email>().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        let long = format!("{}@b.c", "a".repeat(251));
        for (text, why) in [
            ("", NotAnEmail::Length),
            ("a@", NotAnEmail::Length),
            (long.as_str(), NotAnEmail::Length),
            ("abc", NotAnEmail::At),
            ("a@b@c", NotAnEmail::At),
            ("@bc", NotAnEmail::Part),
            ("ab@", NotAnEmail::Part),
            (" a@b.c", NotAnEmail::Character),
            ("\"q\"@b", NotAnEmail::Character),
            ("a,b@c", NotAnEmail::Character),
            ("a\0@b.c", NotAnEmail::Character),
            ("victim@evil\u{ff20}c@b.c", NotAnEmail::At),
            ("victim\u{ff20}evil@b.c", NotAnEmail::Character),
            ("a@b\u{ff20}c", NotAnEmail::Domain),
            ("a@b..c", NotAnEmail::Domain),
            ("a@.b", NotAnEmail::Domain),
            ("a@b.c ", NotAnEmail::Domain),
            ("a@-b.c", NotAnEmail::Domain),
            ("a@b\n.c", NotAnEmail::Domain),
        ] {
            assert_eq!(text.parse::<Email>(), Err(why), "{text:?}");
        }
    }

    proptest::proptest! {
        /// Parsing is stable: an address that is shown parses to itself and to the same account.
        #[test]
        fn a_shown_address_is_itself(local in "[a-zA-Z0-9.+]{1,20}", domain in "[a-zA-Z0-9]{1,10}(\\.[a-zA-Z]{1,5}){0,3}") {
            let email: Email = format!("{local}@{domain}").parse().expect("an address");
            let again: Email = email.as_str().parse().expect("an address");
            proptest::prop_assert_eq!(&again, &email);
            proptest::prop_assert_eq!(again.key(), email.key());
        }
    }
}
