//! How a mail is written (RFC 5322, MIME): plain text and HTML with the same words, without remote content. Values are encoded in headers
//! and escaped in HTML, so that none of them can add a header, a line or an element.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use uuid::Uuid;

use super::{from::From, words::Words};
use crate::email::Email;

/// Characters of a line of plain text.
const WIDTH: usize = 72;
/// Bytes of a text in one encoded word (RFC 2047), which may have 75 characters.
const ENCODED_BYTES: usize = 42;
/// Characters of a line of base64.
const ENCODED_LINE: usize = 76;

/// A mail as it is sent.
pub(crate) struct Message {
    pub(crate) to: Email,
    /// Headers and body, with CRLF.
    pub(crate) bytes: Vec<u8>,
}

/// Writes a mail.
pub(crate) fn write(id: Uuid, from: &From, to: Email, words: &Words, now: OffsetDateTime) -> Message {
    let boundary = format!("b{}", id.simple());
    let mut text = String::new();
    for (name, value) in [
        ("Date", now.format(&Rfc2822).unwrap_or_default()),
        ("From", sender(from)),
        ("To", mailbox(&to)),
        ("Subject", header_text(&words.subject)),
        ("Message-ID", format!("<{}@{}>", id.simple(), from.email.host())),
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("MIME-Version", "1.0".to_owned()),
        ("Content-Type", format!("multipart/alternative; boundary=\"{boundary}\"")),
    ] {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    for (kind, body) in [("plain", plain(words)), ("html", html(words))] {
        text.push_str(&format!("\r\n--{boundary}\r\n{}", part(kind, &body)));
    }
    text.push_str(&format!("\r\n--{boundary}--\r\n"));
    Message { to, bytes: text.into_bytes() }
}

/// A part of the body. ASCII is written as it is, anything else in base64.
fn part(kind: &str, body: &str) -> String {
    let (coding, body) = if body.is_ascii() { ("7bit", body.replace('\n', "\r\n")) } else { ("base64", base64_lines(body)) };
    format!("Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {coding}\r\n\r\n{body}")
}

fn base64_lines(body: &str) -> String {
    let encoded = BASE64_STANDARD.encode(body.replace('\n', "\r\n"));
    // base64 is ASCII.
    encoded.as_bytes().chunks(ENCODED_LINE).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
}

fn sender(from: &From) -> String {
    if from.name.is_empty() { mailbox(&from.email) } else { format!("{} <{}>", phrase(&from.name), mailbox(&from.email)) }
}

/// The address with the domain as the DNS uses it. [`Email`] allows no character that ends a header or begins another address.
fn mailbox(email: &Email) -> String {
    format!("{}@{}", email.local(), email.host())
}

/// A name in a header. [`From`] allows neither quotes nor backslashes in it.
fn phrase(name: &str) -> String {
    let encoded = header_text(name);
    if encoded == name { format!("\"{name}\"") } else { encoded }
}

/// Text in a header: printable ASCII as it is, anything else as encoded words.
fn header_text(text: &str) -> String {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) && !text.contains("=?") {
        return text.to_owned();
    }
    let (mut words, mut chunk) = (Vec::new(), String::new());
    for c in text.chars() {
        if chunk.len() + c.len_utf8() > ENCODED_BYTES {
            words.push(std::mem::take(&mut chunk));
        }
        chunk.push(c);
    }
    words.push(chunk);
    words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(word))).collect::<Vec<_>>().join("\r\n ")
}

fn plain(words: &Words) -> String {
    let (label, link) = &words.link;
    let before = words.before.iter().map(|text| wrapped(text));
    // The link has a line of its own and is not wrapped.
    let link = std::iter::once(format!("{label}:\n{link}\n"));
    let after = words.after.iter().map(|text| wrapped(text));
    before.chain(link).chain(after).collect::<Vec<_>>().join("\n")
}

/// The text in lines of at most [`WIDTH`] characters. A longer word has a line of its own.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line + "\n"
}

fn html(words: &Words) -> String {
    let paragraphs =
        |texts: &[String]| texts.iter().map(|text| format!("<p>{}</p>\n", escaped(wrapped(text).trim_end()))).collect::<String>();
    let (label, link) = (escaped(words.link.0), escaped(&words.link.1));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n</head>\n<body style=\"font: 16px/1.5 sans-serif; max-width: 36em; margin: 1em auto; padding: 0 1em\">\n\
         {}<p><a href=\"{link}\">{label}</a></p>\n<p>If the link does not open, copy this address into your browser:<br>\n{link}</p>\n{}\
         </body>\n</html>\n",
        escaped(&words.subject),
        paragraphs(&words.before),
        paragraphs(&words.after),
    )
}

/// Text in HTML, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use chassis::config::Setting as _;

    use super::*;

    fn words() -> Words {
        Words {
            subject: "Confirm your e-mail address".into(),
            before: vec!["One & two <three>.".into()],
            link: ("Confirm", "https://apps.example/account/verify?token=abc".into()),
            after: vec!["The end.".into()],
        }
    }

    fn written(from: &str, to: &str, words: &Words) -> String {
        let (from, to) = (From::parse(from).expect(from), to.parse().expect(to));
        let message = write(Uuid::nil(), &from, to, words, OffsetDateTime::UNIX_EPOCH);
        String::from_utf8(message.bytes).expect("text")
    }

    fn headers(mail: &str) -> Vec<&str> {
        mail.split_once("\r\n\r\n").expect("a body").0.split("\r\n").collect()
    }

    #[test]
    fn a_mail_has_two_parts_with_the_same_words() {
        let mail = written("Backlot <no-reply@example.com>", "ada@example.org", &words());
        let boundary = "b00000000000000000000000000000000";
        let expected = [
            "Date: Thu, 01 Jan 1970 00:00:00 +0000",
            "From: \"Backlot\" <no-reply@example.com>",
            "To: ada@example.org",
            "Subject: Confirm your e-mail address",
            "Message-ID: <00000000000000000000000000000000@example.com>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            &format!("Content-Type: multipart/alternative; boundary=\"{boundary}\""),
        ];
        assert_eq!(headers(&mail), expected);
        let parts: Vec<_> = mail.split(&format!("--{boundary}")).skip(1).collect();
        assert_eq!(parts.len(), 3, "{mail}");
        assert!(parts[0].contains("text/plain") && parts[1].contains("text/html") && parts[2] == "--\r\n");
        assert!(
            parts[0].contains("One & two <three>.\r\n\r\nConfirm:\r\nhttps://apps.example/account/verify?token=abc\r\n\r\nThe end.\r\n")
        );
        assert!(parts[1].contains("<p>One &amp; two &lt;three&gt;.</p>"), "{}", parts[1]);
        assert!(parts[1].contains("<a href=\"https://apps.example/account/verify?token=abc\">Confirm</a>"));
        assert!(mail.lines().all(|line| line.len() < 998) && !mail.replace("\r\n", "").contains(['\r', '\n']));
    }

    #[test]
    fn no_value_adds_a_header_a_line_or_an_element() {
        let hostile = Words {
            subject: "a\r\nBcc: eve@example.com\r\n\r\n<script>".into(),
            before: vec!["<script src=//evil.example></script>\" onload='x'".into()],
            link: ("Open", "https://apps.example/?a=1&b=\"'<x>".into()),
            after: vec!["\r\n.\r\nQUIT".into()],
        };
        let mail = written("no-reply@example.com", "ada@example.org", &hostile);
        assert!(headers(&mail).iter().all(|line| !line.starts_with("Bcc") && !line.contains("script")), "{mail}");
        let html = mail.split_once("text/html").expect("a part").1;
        for forbidden in ["<script", "\"'", "<x>", "onload='", "&b=\""] {
            assert!(!html.contains(forbidden), "{forbidden}: {html}");
        }
        assert!(!mail.contains("\r\n.\r\n"), "the end of a mail in SMTP");
    }

    #[test]
    fn other_scripts_are_encoded() {
        let mut words = words();
        words.subject = "Подтвердите адрес электронной почты, пожалуйста".into();
        words.before = vec!["Grüße ".repeat(40)];
        let mail = written("Bücher <no-reply@bücher.example>", "müller@bücher.example", &words);
        let head = mail.split_once("\r\n\r\n").expect("a body").0;
        assert!(head.contains("From: =?utf-8?B?QsO8Y2hlcg==?= <no-reply@xn--bcher-kva.example>"), "{head}");
        assert!(head.contains("To: müller@xn--bcher-kva.example"), "{head}");
        let subject = head.split_once("Subject: ").expect("a subject").1.split_once("\r\nMessage-ID").expect("next").0;
        let decoded: String = subject
            .split("\r\n ")
            .map(|word| {
                assert!(word.len() <= 75, "{word}");
                let inner = word.strip_prefix("=?utf-8?B?").and_then(|rest| rest.strip_suffix("?=")).expect("an encoded word");
                String::from_utf8(BASE64_STANDARD.decode(inner).expect("base64")).expect("whole characters")
            })
            .collect();
        assert_eq!(decoded, words.subject);
        assert!(mail.contains("Content-Transfer-Encoding: base64"));
        assert!(mail.lines().all(|line| line.len() <= 120), "{mail}");
    }

    #[test]
    fn lines_are_wrapped_between_words() {
        let text = "word ".repeat(40);
        let lines = wrapped(&text);
        assert!(lines.lines().count() > 2 && lines.lines().all(|line| line.len() <= WIDTH && !line.ends_with(' ')));
        assert_eq!(lines.split_whitespace().count(), 40);
        assert_eq!(wrapped(""), "\n");
        let long = "x".repeat(200);
        assert_eq!(wrapped(&format!("a {long} b")), format!("a\n{long}\nb\n"));
    }

    proptest::proptest! {
        /// Whatever the words are, the headers stay the same lines.
        #[test]
        fn the_headers_do_not_depend_on_the_words(subject in "\\PC{0,80}|[\\r\\n:<> a-z]{0,80}", text in "(?s).{0,120}") {
            let words = Words { subject, before: vec![text.clone()], link: ("Open", text.clone()), after: vec![text] };
            let mail = written("Backlot <no-reply@example.com>", "ada@example.org", &words);
            let names: Vec<_> = headers(&mail).into_iter().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
            proptest::prop_assert_eq!(names, ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]);
        }
    }
}
