//! Removes secrets from a provider's errors, because some providers repeat the key that they refuse.

use std::sync::Arc;

use super::ProviderError;

const REDACTED: &str = "[redacted]";
/// A shorter secret is not removed inside of a word, because it may be a part of an ordinary word.
const LONG_SECRET_BYTES: usize = 16;

#[derive(Clone)]
pub(super) struct Redaction(Arc<[String]>);

impl Redaction {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(secrets.into_iter().filter(|secret| !secret.is_empty()).map(str::to_owned).collect())
    }

    pub(super) fn apply(&self, mut error: ProviderError) -> ProviderError {
        for secret in self.0.iter() {
            error.message = redact(&error.message, secret);
        }
        error
    }
}

fn redact(text: &str, secret: &str) -> String {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let (mut clean, mut copied) = (String::new(), 0);
    for (at, _) in text.match_indices(secret) {
        let end = at + secret.len();
        let inside_word = is_word(text[..at].chars().next_back()) || is_word(text[end..].chars().next());
        if secret.len() >= LONG_SECRET_BYTES || !inside_word {
            clean.push_str(&text[copied..at]);
            clean.push_str(REDACTED);
            copied = end;
        }
    }
    clean.push_str(&text[copied..]);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_removed_and_ordinary_words_stay() {
        for (text, secret, clean) in [
            ("Incorrect key sk-key.", "sk-key", "Incorrect key [redacted]."),
            ("no key k: unknown token", "k", "no key [redacted]: unknown token"),
            ("the latest test of testing", "test", "the latest [redacted] of testing"),
            ("key=abc,abcd", "abc", "key=[redacted],abcd"),
            ("xxsk-0123456789abcdefxx", "sk-0123456789abcdef", "xx[redacted]xx"),
            ("é\u{e9}k", "k", "éék"),
            ("nothing", "", "nothing"),
        ] {
            let error = ProviderError::new(super::super::ErrorClass::Authentication, text);
            assert_eq!(Redaction::new([secret]).apply(error).message, clean, "{text} without {secret}");
        }
    }
}
