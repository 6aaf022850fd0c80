//! Removes texts that look like secrets from log lines, reports and spans: bearer tokens, keys, session cookies, passwords in URLs. This is a
//! second line of defence: code should not log secrets in the first place.

use std::borrow::Cow;

/// The replacement of a secret.
pub const REDACTED: &str = "[redacted]";
/// Prefixes of tokens, at the beginning of a word or after one of `=:/@.`.
const TOKEN_PREFIXES: [&str; 6] = ["blt_", "sk-", "sk_", "eyJ", "AIza", "ghp_"];
/// The least length of a token with its prefix. Shorter words are prose, such as `sk-learn`.
const MIN_TOKEN_LENGTH: usize = 12;
/// A value that directly follows one of these names and `=` or `:` is a secret.
const SECRET_NAMES: [&str; 8] = ["password", "secret", "api_key", "api-key", "apikey", "authorization", "cookie", "token"];
/// Authentication schemes. The next word is a credential.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
const SESSION_COOKIE: &str = "backlot_session";

/// Replaces everything that looks like a secret.
#[must_use]
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut scrubbed = String::new();
    let mut copied = 0;
    let mut context = WordContext::default();
    for (start, word) in words(text) {
        for (from, to) in context.secrets(word).into_iter().flatten() {
            scrubbed.push_str(&text[copied..start + from]);
            scrubbed.push_str(REDACTED);
            copied = start + to;
        }
        context.advance(word, &text[start + word.len()..]);
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    scrubbed.push_str(&text[copied..]);
    Cow::Owned(scrubbed)
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '{' | '}' | '[' | ']' | '\\' | '&' | '|')
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(is_delimiter).filter(|word| !word.is_empty()).map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// What the previous words imply for the current one.
#[derive(Default)]
struct WordContext {
    after_scheme: bool,
    member: QuotedMember,
}

/// The parsed part of a quoted secret, as in JSON: `"password"`, `:`, `"…"`.
#[derive(Default, PartialEq)]
enum QuotedMember {
    #[default]
    None,
    Name,
    Separator,
}

impl WordContext {
    /// The byte ranges of the secrets in a word, in order.
    fn secrets(&self, word: &str) -> [Option<(usize, usize)>; 2] {
        if REDACTED.trim_matches(is_delimiter) == word {
            return [None, None];
        }
        if (self.after_scheme && word.len() >= 8) || self.member == QuotedMember::Separator {
            return [Some((0, word.len())), None];
        }
        if let Some(at) = value_of_name(word) {
            return [Some((at, word.len())), None];
        }
        let user = user_info(word);
        let after = user.map_or(0, |(_, to)| to);
        [user, token(&word[after..]).map(|(from, to)| (after + from, after + to))]
    }

    /// Continues after a word. `rest` is the text after it.
    fn advance(&mut self, word: &str, rest: &str) {
        self.after_scheme = is_scheme(word) || value_of_name(word).is_some_and(|at| is_scheme(&word[at..]));
        let name = word.trim_end_matches([':', '=']);
        let rest = if name.len() < word.len() { rest.trim_start() } else { rest };
        let is_quote = rest.starts_with(['"', '\'']) || rest.starts_with("\\\"");
        self.member = match (is_quote, name.is_empty(), name.len() < word.len()) {
            (true, true, _) if self.member == QuotedMember::Name => QuotedMember::Separator,
            (true, false, true) if is_secret_name(name) => QuotedMember::Separator,
            (true, false, false) if is_secret_name(name) => QuotedMember::Name,
            _ => QuotedMember::None,
        };
    }
}

fn is_scheme(word: &str) -> bool {
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Whether the value of a field with this name is a secret.
#[must_use]
pub fn is_secret_name(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.contains(SESSION_COOKIE)
        || SECRET_NAMES.iter().any(|name| word == *name || word.strip_suffix(name).is_some_and(|head| head.ends_with(['_', '-', '.', '?'])))
}

/// The offset of the value in `password=…`, `x-api-key:…` or `__Host-backlot_session=…`.
fn value_of_name(word: &str) -> Option<usize> {
    let at = word.find(['=', ':'])?;
    let value = at + 1;
    (value < word.len() && !word[value..].starts_with("//") && is_secret_name(&word[..at])).then_some(value)
}

/// The range of `user:password` in a URL.
fn user_info(word: &str) -> Option<(usize, usize)> {
    let start = word.find("://")? + 3;
    let authority = word[start..].split(['/', '?', '#']).next()?;
    let at = authority.rfind('@')?;
    authority[..at].contains(':').then_some((start, start + at))
}

/// The range of a token with a known prefix.
fn token(word: &str) -> Option<(usize, usize)> {
    let from = TOKEN_PREFIXES.iter().filter_map(|prefix| position_of_prefix(word, prefix)).min()?;
    let end = word[from..]
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '~' | '+')))
        .map_or(word.len(), |n| from + n);
    (end - from >= MIN_TOKEN_LENGTH).then_some((from, end))
}

/// The position of a prefix at the beginning of a word or after a separator.
fn position_of_prefix(word: &str, prefix: &str) -> Option<usize> {
    word.match_indices(prefix).map(|(at, _)| at).find(|&at| at == 0 || matches!(word.as_bytes()[at - 1], b'=' | b':' | b'/' | b'@' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced() {
        for (text, scrubbed) in [
            ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer [redacted]"),
            ("authorization=Bearer abcdefghijkl x", "authorization=[redacted] [redacted] x"),
            ("key blt_pat_abcdefghijkl, then", "key [redacted], then"),
            ("sk-ant-api03-abcdefgh", "[redacted]"),
            ("x-api-key:sk-ant-api03-abcdefgh", "x-api-key:[redacted]"),
            ("at https://h/p?key=AIzaabcdefghijkl&x=1", "at https://h/p?key=[redacted]&x=1"),
            ("jwt (eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln)", "jwt ([redacted])"),
            ("cookie __Host-backlot_session=s3cr3t; a=b", "cookie __Host-backlot_session=[redacted]; a=b"),
            ("backlot_session_0a1b2c3d=s3cr3t", "backlot_session_0a1b2c3d=[redacted]"),
            ("connect postgres://me:hunter2@db:5432/x failed", "connect postgres://[redacted]@db:5432/x failed"),
            ("redis://:hunter2@r/0", "redis://[redacted]@r/0"),
            (r#"{"email":"a@b","password":"hunter2"}"#, r#"{"email":"a@b","password":"[redacted]"}"#),
            (r#"{"password": "hunter2"}"#, r#"{"password": "[redacted]"}"#),
            (r#"Row { password: "hunter2" }"#, r#"Row { password: "[redacted]" }"#),
            (r#"{\"password\":\"hunter2\"}"#, r#"{\"password\":\"[redacted]\"}"#),
            ("password=hunter2 user=me", "password=[redacted] user=me"),
            ("refresh_token=abc", "refresh_token=[redacted]"),
        ] {
            assert_eq!(scrub(text), scrubbed);
            assert_eq!(scrub(scrubbed), scrubbed, "scrubbing twice changes nothing");
        }
    }

    #[test]
    fn prose_is_unchanged() {
        for text in [
            "password: must have 8 characters",
            "'password' must have 8 characters, \"token\" too",
            "the bearer is late",
            "tokens=123 input_tokens=9",
            "http://user@host/path and http://127.0.0.1:8080/x@y:z",
            "sk-learn, risk-averse-and-long-words, mask_value_of_something",
            "select sessions took 1.2 s",
            "",
            "ünïcödé “quotes”",
        ] {
            assert!(matches!(scrub(text), Cow::Borrowed(_)), "{text}");
        }
    }
}
