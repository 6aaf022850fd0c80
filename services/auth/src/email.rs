//! What a valid e-mail address is, and when two spellings of an address are the same account.

use std::{borrow::Cow, str::FromStr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// The limit of a path in RFC 5321, without its angle brackets.
pub(crate) const MAX_CHARACTERS: usize = 254;
const MIN_CHARACTERS: usize = 3;

/// A valid address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Email {
    text: String,
    at: usize,
    identity: String,
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EmailError {
    #[error("must be {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")]
    Length,
    #[error("must contain exactly one @")]
    At,
    #[error("must have text before and after the @")]
    Part,
    #[error("must contain no spaces, control characters, invisible characters or look-alikes of punctuation")]
    Character,
    #[error("must end in a host name: letters, digits and hyphens, in labels of at most 63 bytes separated by single dots")]
    Domain,
}

impl Email {
    /// The address for display: as it was given, without spaces around it and with an ASCII domain in lower case.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the @.
    #[must_use]
    pub(crate) fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain as the DNS uses it: ASCII, in lower case.
    #[must_use]
    pub(crate) fn host(&self) -> &str {
        self.identity.rsplit_once('@').map_or("", |(_, host)| host)
    }

    /// What identifies the account: every spelling of an address has the same identity.
    #[must_use]
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// What the previous release used as the identity.
    #[must_use]
    pub(crate) fn key(&self) -> String {
        key(&self.text)
    }
}

/// How a sign-in finds the account of the text that a person typed: by the key of exactly this spelling, or by the identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EmailLookup {
    pub(crate) key: String,
    pub(crate) identity: String,
}

impl EmailLookup {
    /// A text that is not an address has an account only if the previous release created one. Its identity is its key.
    #[must_use]
    pub(crate) fn new(text: &str) -> Self {
        let key = key(trimmed(text));
        let identity = text.parse::<Email>().map_or_else(|_| key.clone(), |email| email.identity);
        Self { key, identity }
    }
}

fn key(text: &str) -> String {
    text.to_lowercase()
}

/// Removes the spaces that forms and pasting leave. Control characters stay, because they do not come by accident.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() && !c.is_control())
}

impl FromStr for Email {
    type Err = EmailError;

    fn from_str(text: &str) -> Result<Self, EmailError> {
        let text = trimmed(text);
        if !has_length(text) {
            return Err(EmailError::Length);
        }
        let mut parts = text.split('@');
        let (Some(local), Some(domain), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(EmailError::At);
        };
        if local.is_empty() || domain.is_empty() {
            return Err(EmailError::Part);
        }
        let folded = fold(local);
        if !is_local(local) || !is_local(&folded) || text.chars().any(is_invisible) {
            return Err(EmailError::Character);
        }
        let host = host(domain).ok_or(EmailError::Domain)?;
        let identity = format!("{folded}@{host}");
        if identity.len() > MAX_IDENTITY_BYTES {
            return Err(EmailError::Length);
        }
        let shown = if domain.is_ascii() { Cow::Owned(domain.to_ascii_lowercase()) } else { Cow::Borrowed(domain) };
        Ok(Self { at: local.len(), text: format!("{local}@{shown}"), identity })
    }
}

/// Punycode and compatibility forms may be longer than the text that was typed. An index entry has room for this.
const MAX_IDENTITY_BYTES: usize = 1_024;

fn has_length(text: &str) -> bool {
    (MIN_CHARACTERS..=MAX_CHARACTERS).contains(&text.chars().count())
}

/// Maps all spellings that mail systems and people may treat as equal to one text: composed and decomposed, wide and narrow, upper and
/// lower case.
fn fold(local: &str) -> String {
    let lower = local.nfkc().collect::<String>().to_lowercase();
    // Lower-casing may decompose a character again. No script has a composed character whose lower case differs from it afterwards.
    lower.nfkc().collect()
}

/// The domain as the DNS uses it: mapped, composed, in lower case, in punycode (UTS 46).
fn host(domain: &str) -> Option<String> {
    let host = Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    host.ok().map(Cow::into_owned)
}

/// Allows letters, digits and marks of every script and the punctuation that RFC 5322 allows unquoted. Other symbols are refused: a mail
/// system that normalises would read the fullwidth `＠` as a second @ and deliver to another mailbox, and `,` or `<` would split a header.
fn is_local(local: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || is_combining_mark(c) || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    local.chars().all(part) && !local.starts_with(is_combining_mark)
}

/// Whether a character is invisible or changes the direction of the text (Unicode's `Default_Ignorable_Code_Point`).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
#[path = "../tests/spellings/mod.rs"]
mod generated;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Row A23 of the reference: a text is either a spelling of the stored address, or it finds no account.
    #[test]
    fn a23_only_spellings_of_an_address_find_its_account() {
        let mut seen = HashSet::new();
        for stored in generated::STORED {
            let account: Email = stored.parse().expect(stored);
            for (typed, means_it) in generated::of(stored) {
                let lookup = EmailLookup::new(&typed);
                let is_found = lookup.key == account.key() || lookup.identity == account.identity();
                assert_eq!(is_found, means_it, "{typed:?} for {stored}");
                let is_same = typed.parse::<Email>().is_ok_and(|email| email.identity() == account.identity());
                assert_eq!(is_same, means_it, "{typed:?} as an address for {stored}");
                seen.insert(typed);
            }
        }
        assert!(seen.len() >= 5_000, "{} spellings", seen.len());
    }

    #[test]
    fn an_address_keeps_its_spelling_except_the_case_of_its_domain() {
        let email: Email = "Ada.Lovelace@Example.ORG".parse().expect("an address");
        assert_eq!(email.as_str(), "Ada.Lovelace@example.org");
        assert_eq!(email.local(), "Ada.Lovelace");
        assert_eq!((email.key().as_str(), email.identity()), ("ada.lovelace@example.org", "ada.lovelace@example.org"));
        assert_eq!(email.host(), "example.org");
        assert_eq!("x@Bücher.example".parse::<Email>().expect("an address").host(), "xn--bcher-kva.example");
        assert_eq!(EmailLookup::new("ADA.lovelace@EXAMPLE.org"), EmailLookup { key: email.key(), identity: email.identity().into() });
    }

    #[test]
    fn valid_addresses_are_accepted() {
        let long = format!("{}@b.c", "a".repeat(250));
        for text in ["a@b", "a+b@c.d", "o'neil@x-y.example", "bücher@bücher.example", long.as_str()] {
            assert!(text.parse::<Email>().is_ok(), "{text}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused_with_the_cause() {
        let (long, label) = (format!("{}@b.c", "a".repeat(251)), format!("a@{}.c", "b".repeat(64)));
        for (text, why) in [
            ("", EmailError::Length),
            ("a@", EmailError::Length),
            (long.as_str(), EmailError::Length),
            ("abc", EmailError::At),
            ("a@b@c", EmailError::At),
            ("@bc", EmailError::Part),
            ("ab@", EmailError::Part),
            ("a @b.c", EmailError::Character),
            ("\na@b.c", EmailError::Character),
            ("a@b.c\n", EmailError::Domain),
            ("\u{308}a@b.c", EmailError::Character),
            ("a\u{200b}@b.c", EmailError::Character),
            ("a\u{200d}b@b.c", EmailError::Character),
            ("a\u{fe0f}@b.c", EmailError::Character),
            ("\u{3164}@b.c", EmailError::Character),
            ("\u{feff}a@b.c", EmailError::Character),
            ("\u{202e}a@b.c", EmailError::Character),
            ("a@\u{202e}b.c", EmailError::Character),
            ("a@b\u{2066}.c", EmailError::Character),
            ("a@b\u{ad}b.c", EmailError::Character),
            ("a@b.c\u{200e}", EmailError::Character),
            ("\u{2474}@b.c", EmailError::Character),
            ("a@xn--a", EmailError::Domain),
            ("a@xn--bcher-kva\u{fc}.c", EmailError::Domain),
            ("a@b_c.d", EmailError::Domain),
            ("a@\u{1c5}\u{338}<.c", EmailError::Domain),
            ("a@b.c.", EmailError::Domain),
            (label.as_str(), EmailError::Domain),
            ("\"q\"@b", EmailError::Character),
            ("a,b@c", EmailError::Character),
            ("a\0@b.c", EmailError::Character),
            ("victim@evil\u{ff20}c@b.c", EmailError::At),
            ("victim\u{ff20}evil@b.c", EmailError::Character),
            ("a@b\u{ff20}c", EmailError::Domain),
            ("a@b..c", EmailError::Domain),
            ("a@.b", EmailError::Domain),
            ("a@b. c", EmailError::Domain),
            ("a@-b.c", EmailError::Domain),
            ("a@b\n.c", EmailError::Domain),
        ] {
            assert_eq!(text.parse::<Email>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn no_address_contains_a_misleading_character() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| proto::text::is_misleading(*c)) {
            for text in [
                format!("{c}a@b.c"),
                format!("a{c}a@b.c"),
                format!("a{c}@b.c"),
                format!("a@{c}b.c"),
                format!("a@b{c}b.c"),
                format!("a@b.c{c}"),
            ] {
                // Line separators count as spaces, which are removed around an address.
                let parsed = text.parse::<Email>();
                let dropped = |email: &Email| email.as_str() == "a@b.c" && c.is_whitespace();
                assert!(parsed.as_ref().map_or(true, dropped), "{text:?}");
            }
        }
    }

    /// Each row is one account.
    #[test]
    fn every_spelling_of_an_address_has_one_identity() {
        for spellings in [
            &["ada@example.org", " ada@example.org", "ada@example.org\u{a0}", "\u{3000}ADA@EXAMPLE.org ", "ａｄａ@ｅｘａｍｐｌｅ.org"][..],
            &["x@bücher.example", "x@bu\u{308}cher.example", "x@BÜCHER.example", "x@xn--bcher-kva.example", "X@XN--BCHER-KVA.EXAMPLE"],
            &["müller@b.c", "mu\u{308}ller@b.c", "MÜLLER@b.c", "MU\u{308}LLER@B.C"],
            &["x@straße.example", "x@xn--strae-oqa.example", "X@STRAẞE.example"],
            &["x@例え.jp", "x@xn--r8jz45g.jp", "x@例え。jp", "x@例え．ｊｐ"],
            &["ivan@пример.рф", "ivan@ПРИМЕР.РФ", "IVAN@xn--e1afmkfd.xn--p1ai"],
            &["иван@пример.рф", "ИВАН@ПРИМЕР.РФ"],
            &["한글@한국.kr", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}@한국.kr"],
            &["हिन्दी@भारत.in", "हिन्दी@xn--h2brj9c.in"],
            &["اسم@مثال.إختبار", "اسم@xn--mgbh0fb.xn--kgbechtv"],
            &["שם@דוגמה.il", "שם@xn--6dbbec0c.il"],
            &["ผู้ใช้@ไทย.th", "ผู้ใช้@xn--o3cw4h.th"],
            &["ΣΟΦΙΑ@b.c", "σοφια@b.c"],
            &["ΟΔΥΣΣΕΥΣ@b.c", "οδυσσευς@b.c"],
        ] {
            let first: Email = spellings[0].parse().expect(spellings[0]);
            for text in spellings {
                let email: Email = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
                assert_eq!(email.identity(), first.identity(), "{text}");
                assert_eq!(EmailLookup::new(text), EmailLookup { key: email.key(), identity: first.identity().into() }, "{text}");
                let shown = trimmed(text).rsplit_once('@').expect("at").1;
                assert!(email.as_str().ends_with(shown) || email.as_str().ends_with(&shown.to_ascii_lowercase()), "{text}");
            }
        }
    }

    #[test]
    fn different_addresses_are_different_accounts() {
        for (one, other) in [
            ("a.b@c.d", "ab@c.d"),
            ("a+b@c.d", "a@c.d"),
            ("x@straße.example", "x@strasse.example"),
            ("müller@b.c", "muller@b.c"),
            ("\u{430}@b.c", "a@b.c"),
            ("x@\u{430}.c", "x@a.c"),
        ] {
            let identity = |text: &str| text.parse::<Email>().expect(text).identity;
            assert_ne!(identity(one), identity(other), "{one} {other}");
        }
    }

    /// Rows of the previous release may contain texts that are no longer valid addresses.
    #[test]
    fn an_invalid_address_is_looked_up_as_it_was_typed() {
        assert_eq!(EmailLookup::new(" A@b_c "), EmailLookup { key: "a@b_c".into(), identity: "a@b_c".into() });
    }

    proptest::proptest! {
        /// The identity of an identity is itself, in every script.
        #[test]
        fn an_identity_is_stable(local in "[\\p{L}\\p{N}\\p{M}]{1,8}", domain in "[\\p{Ll}\\p{Lo}]{1,6}\\.[a-z]{2}") {
            if let Ok(email) = format!("{local}@{domain}").parse::<Email>() {
                let again: Email = email.identity().parse().expect("an identity is an address");
                proptest::prop_assert_eq!(again.identity(), email.identity());
                proptest::prop_assert!(!email.identity().chars().any(|c| c.is_control() || is_invisible(c)));
            }
        }

        /// Parsing is stable: a displayed address parses to itself and to the same account.
        #[test]
        fn a_displayed_address_parses_to_itself(local in "[a-zA-Z0-9.+]{1,20}", domain in "[a-zA-Z0-9]{1,10}(\\.[a-zA-Z]{1,5}){0,3}") {
            let email: Email = format!("{local}@{domain}").parse().expect("an address");
            let again: Email = email.as_str().parse().expect("an address");
            proptest::prop_assert_eq!(&again, &email);
            proptest::prop_assert_eq!(again.key(), email.key());
        }
    }
}
