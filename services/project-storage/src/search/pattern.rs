//! What a search looks for.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

/// Bytes of a compiled pattern. The time of a search grows with it.
const MAX_COMPILED_BYTES: usize = 256 * 1024;

/// How a query is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Syntax {
    /// The query is a regular expression, not a plain text.
    pub(crate) is_regex: bool,
    pub(crate) is_case_sensitive: bool,
    /// A match has no word character before or after it.
    pub(crate) is_whole_word: bool,
}

/// Why a query cannot be searched for, as a continuation of the name of its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPattern {
    #[error("must be a regular expression: {0}")]
    Syntax(String),
    #[error("is a regular expression that would be too large; {MAX_COMPILED_BYTES} bytes are allowed after its compilation")]
    TooLarge,
}

/// A compiled query. A search takes time in proportion to the text.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    is_regex: bool,
}

impl Pattern {
    pub(crate) fn new(query: &str, syntax: Syntax) -> Result<Self, InvalidPattern> {
        let query = if syntax.is_regex {
            // By itself, so that what is put around it cannot make it valid.
            build(query, syntax)?;
            query.to_owned()
        } else {
            regex::escape(query)
        };
        let whole = if syntax.is_whole_word { format!(r"\b{{start-half}}(?:{query})\b{{end-half}}") } else { query };
        Ok(Self { regex: build(&whole, syntax)?, is_regex: syntax.is_regex })
    }

    /// Whether the query is a regular expression, which may depend on the ends of a line.
    pub(super) fn is_regex(&self) -> bool {
        self.is_regex
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The matches in a text, from left to right. They do not overlap.
    pub(super) fn matches(&self, text: &str) -> impl Iterator<Item = Range<usize>> {
        self.regex.find_iter(text).map(|found| found.range())
    }
}

fn build(pattern: &str, syntax: Syntax) -> Result<Regex, InvalidPattern> {
    let built = RegexBuilder::new(pattern).case_insensitive(!syntax.is_case_sensitive).size_limit(MAX_COMPILED_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => InvalidPattern::TooLarge,
        // The text shows the whole expression; its last line says what is wrong.
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            InvalidPattern::Syntax(last.strip_prefix("error: ").unwrap_or(last).to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, syntax: Syntax, text: &str) -> Vec<String> {
        let pattern = Pattern::new(query, syntax).expect("a pattern");
        pattern.matches(text).map(|range| text[range].to_owned()).collect()
    }

    #[test]
    fn a_query_is_read_by_its_syntax() {
        let plain = Syntax::default();
        let regex = Syntax { is_regex: true, ..plain };
        let exact = |syntax| Syntax { is_case_sensitive: true, ..syntax };
        let word = |syntax| Syntax { is_whole_word: true, ..syntax };
        for (query, syntax, text, expected) in [
            ("a.c", plain, "abc A.C a.c", &["A.C", "a.c"][..]),
            ("a.c", exact(plain), "abc A.C a.c", &["a.c"]),
            ("a.c", regex, "abc A.C", &["abc", "A.C"]),
            ("cat", word(plain), "cat concat cat_ (cat)", &["cat", "cat"]),
            ("$x", word(plain), "$x $xy a$x", &["$x"]),
            ("cat|dog", word(regex), "cats dog", &["dog"]),
            ("ä", plain, "Ä ä a", &["Ä", "ä"]),
            (r"\w+@\w+\.\w{2,}", regex, "to ann@example.org!", &["ann@example.org"]),
            ("^b", regex, "ab", &[]),
        ] {
            assert_eq!(found(query, syntax, text), expected, "{query} {syntax:?}");
        }
    }

    #[test]
    fn an_invalid_expression_says_what_is_wrong() {
        let new = |query: &str, is_whole_word| Pattern::new(query, Syntax { is_regex: true, is_whole_word, ..Syntax::default() }).map(drop);
        for is_whole_word in [false, true] {
            assert_eq!(new("a(", is_whole_word), Err(InvalidPattern::Syntax("unclosed group".to_owned())));
            assert_eq!(new("a)|(b", is_whole_word), Err(InvalidPattern::Syntax("unopened group".to_owned())));
            assert!(matches!(new(r"(a)\1", is_whole_word), Err(InvalidPattern::Syntax(text)) if text.starts_with("backreferences")));
            for large in [r"\w{100}", "(((a{100}){100}){100}){100}", "[ab]*a[ab]{9999}"] {
                assert_eq!(new(large, is_whole_word), Err(InvalidPattern::TooLarge), "{large}");
            }
        }
    }
}
