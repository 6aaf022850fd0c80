//! What no log line and no report may carry: bearer tokens, keys, session cookies, passwords in URLs. A second line of
//! defence: whoever writes a line should not hold the secret in the first place.

use std::borrow::Cow;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";
/// A word that begins like this, or holds this after a `=`, `:` or `/`, is a credential.
const TOKENS: [&str; 6] = ["blt_", "sk-", "sk_", "eyJ", "AIza", "ghp_"];
/// Shorter than this after a token's first letters is prose, such as `sk-learn`.
const SHORTEST_TOKEN: usize = 12;
/// The value that follows one of these names and a `=` or `:` without a space is a secret.
const NAMES: [&str; 8] = ["password", "secret", "api_key", "api-key", "apikey", "authorization", "cookie", "token"];
/// The word after one of these is a credential.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
const SESSION_COOKIE: &str = "backlot_session";

/// The text without what looks like a secret.
#[must_use]
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut copied = 0;
    let mut context = Before::default();
    for (start, word) in words(text) {
        for (from, to) in context.secrets(word).into_iter().flatten() {
            clean.push_str(&text[copied..start + from]);
            clean.push_str(REDACTED);
            copied = start + to;
        }
        context.follow(word, &text[start + word.len()..]);
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[copied..]);
    Cow::Owned(clean)
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '{' | '}' | '[' | ']' | '\\' | '&' | '|')
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(is_delimiter).filter(|word| !word.is_empty()).map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// What the words before this one say about it.
#[derive(Default)]
struct Before {
    scheme: bool,
    quoted: Quoted,
}

/// How far a secret in the form of JSON has come: `"password"`, `:`, `"…"`.
#[derive(Default, PartialEq)]
enum Quoted {
    #[default]
    Nothing,
    Name,
    Separator,
}

impl Before {
    /// The secret parts of a word, in order.
    fn secrets(&self, word: &str) -> [Option<(usize, usize)>; 2] {
        if REDACTED.trim_matches(is_delimiter) == word {
            return [None, None];
        }
        if (self.scheme && word.len() >= 8) || self.quoted == Quoted::Separator {
            return [Some((0, word.len())), None];
        }
        if let Some(at) = value_of_name(word) {
            return [Some((at, word.len())), None];
        }
        let user = user_info(word);
        let after = user.map_or(0, |(_, to)| to);
        [user, token(&word[after..]).map(|(from, to)| (after + from, after + to))]
    }

    /// `rest` is what comes after the word.
    fn follow(&mut self, word: &str, rest: &str) {
        self.scheme = is_scheme(word) || value_of_name(word).is_some_and(|at| is_scheme(&word[at..]));
        let name = word.trim_end_matches([':', '=']);
        let rest = if name.len() < word.len() { rest.trim_start() } else { rest };
        let opens = rest.starts_with(['"', '\'']) || rest.starts_with("\\\"");
        self.quoted = match (opens, name.is_empty(), name.len() < word.len()) {
            (true, true, _) if self.quoted == Quoted::Name => Quoted::Separator,
            (true, false, true) if is_secret_name(name) => Quoted::Separator,
            (true, false, false) if is_secret_name(name) => Quoted::Name,
            _ => Quoted::Nothing,
        };
    }
}

fn is_scheme(word: &str) -> bool {
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Whether a field of this name holds a secret.
#[must_use]
pub fn is_secret_name(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.contains(SESSION_COOKIE)
        || NAMES.iter().any(|name| word == *name || word.strip_suffix(name).is_some_and(|head| head.ends_with(['_', '-', '.', '?'])))
}

/// Where the value begins in `password=…`, `x-api-key:…` or `__Host-backlot_session=…`.
fn value_of_name(word: &str) -> Option<usize> {
    let at = word.find(['=', ':'])?;
    let value = at + 1;
    (value < word.len() && !word[value..].starts_with("//") && is_secret_name(&word[..at])).then_some(value)
}

/// `user:password` of a URL.
fn user_info(word: &str) -> Option<(usize, usize)> {
    let start = word.find("://")? + 3;
    let authority = word[start..].split(['/', '?', '#']).next()?;
    let at = authority.rfind('@')?;
    authority[..at].contains(':').then_some((start, start + at))
}

fn token(word: &str) -> Option<(usize, usize)> {
    let from = TOKENS.iter().filter_map(|prefix| begins_at(word, prefix)).min()?;
    let end = word[from..]
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '~' | '+')))
        .map_or(word.len(), |n| from + n);
    (end - from >= SHORTEST_TOKEN).then_some((from, end))
}

/// Where the prefix stands at the beginning of a word or after a separator.
fn begins_at(word: &str, prefix: &str) -> Option<usize> {
    word.match_indices(prefix).map(|(at, _)| at).find(|&at| at == 0 || matches!(word.as_bytes()[at - 1], b'=' | b':' | b'/' | b'@' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go() {
        for (text, clean) in [
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
            assert_eq!(scrub(text), clean);
            assert_eq!(scrub(clean), clean, "once is enough");
        }
    }

    #[test]
    fn prose_stays() {
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
