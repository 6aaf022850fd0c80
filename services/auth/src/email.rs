//! What an e-mail address is here, and when two of them are one account.

use std::{borrow::Cow, str::FromStr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// RFC 5321's bound of a path, without its angle brackets.
pub const MAX_CHARACTERS: usize = 254;
const MIN_CHARACTERS: usize = 3;

/// An address that an account may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    at: usize,
    identity: String,
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
    #[error("must hold no spaces, control characters, invisible characters or look-alikes of punctuation")]
    Character,
    #[error("must end in a host name: letters, digits and hyphens, parted by single dots, at most 63 bytes between two of them")]
    Domain,
}

impl Email {
    /// As it is shown: as given, without spaces around it and with an ASCII domain in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is before the @.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// What identifies the account: one text for every spelling.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What the release before took for the identity.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.text)
    }
}

/// A text as somebody typed it at a sign-in: the key of exactly this spelling, and the identity of the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    pub key: String,
    pub identity: String,
}

impl Typed {
    /// A text that is no address has an account only if the release before made one; its key stands for its identity.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let key = key(trimmed(text));
        let identity = text.parse::<Email>().map_or_else(|_| key.clone(), |email| email.identity);
        Self { key, identity }
    }
}

fn key(text: &str) -> String {
    text.to_lowercase()
}

/// Forms and paste buffers leave spaces; a control character is never left by accident.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() && !c.is_control())
}

impl FromStr for Email {
    type Err = NotAnEmail;

    fn from_str(text: &str) -> Result<Self, NotAnEmail> {
        let text = trimmed(text);
        if !has_length(text) {
            return Err(NotAnEmail::Length);
        }
        let mut parts = text.split('@');
        let (Some(local), Some(domain), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotAnEmail::At);
        };
        if local.is_empty() || domain.is_empty() {
            return Err(NotAnEmail::Part);
        }
        let folded = fold(local);
        if !is_local(local) || !is_local(&folded) || text.chars().any(is_invisible) {
            return Err(NotAnEmail::Character);
        }
        let host = host(domain).ok_or(NotAnEmail::Domain)?;
        let identity = format!("{folded}@{host}");
        if identity.len() > MAX_IDENTITY_BYTES {
            return Err(NotAnEmail::Length);
        }
        let shown = if domain.is_ascii() { Cow::Owned(domain.to_ascii_lowercase()) } else { Cow::Borrowed(domain) };
        Ok(Self { at: local.len(), text: format!("{local}@{shown}"), identity })
    }
}

/// Punycode and compatibility forms may be longer than what was typed; an index entry has room for this.
const MAX_IDENTITY_BYTES: usize = 1_024;

fn has_length(text: &str) -> bool {
    (MIN_CHARACTERS..=MAX_CHARACTERS).contains(&text.chars().count())
}

/// One text for all that mail systems and people may take for the same: composed and decomposed, wide and narrow, upper and lower case.
fn fold(local: &str) -> String {
    let lower = local.nfkc().collect::<String>().to_lowercase();
    // Lower case may fall apart again, and what it composes to has a lower case of its own in no script.
    lower.nfkc().collect()
}

/// The domain as the DNS spells it: mapped, composed, in lower case, in punycode (UTS 46).
fn host(domain: &str) -> Option<String> {
    let host = Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    host.ok().map(Cow::into_owned)
}

/// Letters, digits and marks of every script and the punctuation that RFC 5322 allows unquoted. Other symbols are refused: a mail
/// system that normalises would read the fullwidth `＠` as a second @ and deliver to somebody else, and `,` or `<` would split a header.
fn is_local(local: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || is_combining_mark(c) || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    local.chars().all(part) && !local.starts_with(is_combining_mark)
}

/// Characters that show nothing or change the direction of what follows (Unicode's `Default_Ignorable_Code_Point`).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_spelling_and_loses_the_case_of_its_domain() {
        let email: Email = "Ada.Lovelace@Example.ORG".parse().expect("an address");
        assert_eq!(email.as_str(), "Ada.Lovelace@example.org");
        assert_eq!(email.local(), "Ada.Lovelace");
        assert_eq!((email.key().as_str(), email.identity()), ("ada.lovelace@example.org", "ada.lovelace@example.org"));
        assert_eq!(Typed::new("ADA.lovelace@EXAMPLE.org"), Typed { key: email.key(), identity: email.identity().into() });
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
        let (long, label) = (format!("{}@b.c", "a".repeat(251)), format!("a@{}.c", "b".repeat(64)));
        for (text, why) in [
            ("", NotAnEmail::Length),
            ("a@", NotAnEmail::Length),
            (long.as_str(), NotAnEmail::Length),
            ("abc", NotAnEmail::At),
            ("a@b@c", NotAnEmail::At),
            ("@bc", NotAnEmail::Part),
            ("ab@", NotAnEmail::Part),
            ("a @b.c", NotAnEmail::Character),
            ("\na@b.c", NotAnEmail::Character),
            ("a@b.c\n", NotAnEmail::Domain),
            ("\u{308}a@b.c", NotAnEmail::Character),
            ("a\u{200b}@b.c", NotAnEmail::Character),
            ("a\u{200d}b@b.c", NotAnEmail::Character),
            ("a\u{fe0f}@b.c", NotAnEmail::Character),
            ("\u{3164}@b.c", NotAnEmail::Character),
            ("\u{feff}a@b.c", NotAnEmail::Character),
            ("\u{202e}a@b.c", NotAnEmail::Character),
            ("a@\u{202e}b.c", NotAnEmail::Character),
            ("a@b\u{2066}.c", NotAnEmail::Character),
            ("a@b\u{ad}b.c", NotAnEmail::Character),
            ("a@b.c\u{200e}", NotAnEmail::Character),
            ("\u{2474}@b.c", NotAnEmail::Character),
            ("a@xn--a", NotAnEmail::Domain),
            ("a@xn--bcher-kva\u{fc}.c", NotAnEmail::Domain),
            ("a@b_c.d", NotAnEmail::Domain),
            ("a@\u{1c5}\u{338}<.c", NotAnEmail::Domain),
            ("a@b.c.", NotAnEmail::Domain),
            (label.as_str(), NotAnEmail::Domain),
            ("\"q\"@b", NotAnEmail::Character),
            ("a,b@c", NotAnEmail::Character),
            ("a\0@b.c", NotAnEmail::Character),
            ("victim@evil\u{ff20}c@b.c", NotAnEmail::At),
            ("victim\u{ff20}evil@b.c", NotAnEmail::Character),
            ("a@b\u{ff20}c", NotAnEmail::Domain),
            ("a@b..c", NotAnEmail::Domain),
            ("a@.b", NotAnEmail::Domain),
            ("a@b. c", NotAnEmail::Domain),
            ("a@-b.c", NotAnEmail::Domain),
            ("a@b\n.c", NotAnEmail::Domain),
        ] {
            assert_eq!(text.parse::<Email>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn no_address_has_a_character_that_misleads() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| proto::text::misleads(*c)) {
            for text in [
                format!("{c}a@b.c"),
                format!("a{c}a@b.c"),
                format!("a{c}@b.c"),
                format!("a@{c}b.c"),
                format!("a@b{c}b.c"),
                format!("a@b.c{c}"),
            ] {
                // Separators of lines are spaces, which are dropped around an address.
                let parsed = text.parse::<Email>();
                let dropped = |email: &Email| email.as_str() == "a@b.c" && c.is_whitespace();
                assert!(parsed.as_ref().map_or(true, dropped), "{text:?}");
            }
        }
    }

    /// One row is one account.
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
                assert_eq!(Typed::new(text), Typed { key: email.key(), identity: first.identity().into() }, "{text}");
                let shown = trimmed(text).rsplit_once('@').expect("at").1;
                assert!(email.as_str().ends_with(shown) || email.as_str().ends_with(&shown.to_ascii_lowercase()), "{text}");
            }
        }
    }

    #[test]
    fn other_addresses_are_other_accounts() {
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

    /// Rows of the release before may hold what is no address any more.
    #[test]
    fn what_is_no_address_is_looked_for_as_it_was_typed() {
        assert_eq!(Typed::new(" A@b_c "), Typed { key: "a@b_c".into(), identity: "a@b_c".into() });
    }

    proptest::proptest! {
        /// The identity of an identity is itself, whatever script it is of.
        #[test]
        fn an_identity_is_stable(local in "[\\p{L}\\p{N}\\p{M}]{1,8}", domain in "[\\p{Ll}\\p{Lo}]{1,6}\\.[a-z]{2}") {
            if let Ok(email) = format!("{local}@{domain}").parse::<Email>() {
                let again: Email = email.identity().parse().expect("an identity is an address");
                proptest::prop_assert_eq!(again.identity(), email.identity());
                proptest::prop_assert!(!email.identity().chars().any(|c| c.is_control() || is_invisible(c)));
            }
        }

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
