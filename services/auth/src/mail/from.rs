//! The sender of the mails: an address, perhaps with a name.

use chassis::config::Setting;

use crate::email::Email;

const MAX_NAME: usize = 100;

/// `Backlot <no-reply@example.com>`, or the address alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct From {
    /// Empty if there is only an address.
    pub(crate) name: String,
    pub(crate) email: Email,
}

impl Setting for From {
    fn parse(text: &str) -> Result<Self, String> {
        let rule = || "must be an e-mail address, or a name and an address such as Backlot <no-reply@example.com>".to_owned();
        let (name, address) = match text.split_once('<') {
            Some((name, rest)) => (name.trim().trim_matches('"'), rest.strip_suffix('>').ok_or_else(rule)?),
            None => ("", text),
        };
        let is_plain = |c: char| !c.is_control() && !"<>\"\\".contains(c) && !proto::text::is_misleading(c);
        if name.chars().count() > MAX_NAME || !name.chars().all(is_plain) {
            return Err(rule());
        }
        let email = address.parse().map_err(|_| rule())?;
        Ok(Self { name: name.to_owned(), email })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_or_without_a_name_is_a_sender() {
        for (text, name, email) in [
            ("no-reply@example.com", "", "no-reply@example.com"),
            ("<no-reply@example.com>", "", "no-reply@example.com"),
            ("Backlot <no-reply@Example.com>", "Backlot", "no-reply@example.com"),
            ("\"Backlot, Inc.\" <a@b>", "Backlot, Inc.", "a@b"),
            ("Bücher <a@b>", "Bücher", "a@b"),
        ] {
            let from = From::parse(text).expect(text);
            assert_eq!((from.name.as_str(), from.email.as_str()), (name, email), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("{} <a@b>", "n".repeat(101));
        for text in [
            "",
            "Backlot",
            "Backlot <a@b",
            "Backlot <a>",
            "a@b, c@d",
            "A\r\nBcc: eve@example.com <a@b>",
            "A <a@b>\r\nBcc: eve@example.com",
            "A <a@b\r\n>",
            "A \"B\" C <a@b>",
            "A\\ <a@b>",
            "A\u{202e} <a@b>",
            &long,
        ] {
            assert!(From::parse(text).is_err(), "{text:?}");
        }
    }
}
