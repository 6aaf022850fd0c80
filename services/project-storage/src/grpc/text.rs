//! The text fields of the requests: how long each may be, and which characters it may have.

use std::ops::RangeInclusive;

use proto::error::Violations;

use crate::model::limits::{MESSAGE_BYTES, NAME_CHARACTERS, PROMPT_BYTES, QUERY_CHARACTERS, REASON_CHARACTERS, SUMMARY_CHARACTERS};

/// Characters of the description of a template and of a review.
const REVIEW_CHARACTERS: usize = 2000;
/// Characters of a report of a template.
const REPORT_CHARACTERS: usize = 500;
/// Characters of the category of a template.
const CATEGORY_CHARACTERS: usize = 40;
/// Characters of a tag of a template.
pub(super) const TAG_CHARACTERS: usize = 30;
/// Characters of the words to search templates for.
const WORDS_CHARACTERS: usize = 200;

/// The rule of a text field.
pub(super) struct TextField {
    name: &'static str,
    length: Length,
    characters: Characters,
}

/// How long a text may be; both ends are included.
enum Length {
    Bytes(RangeInclusive<usize>),
    Characters(RangeInclusive<usize>),
}

/// Which characters a text may have.
enum Characters {
    Any,
    /// The database cannot store NUL.
    NoNul,
    /// No control characters except line breaks and tabs.
    Text,
    /// No control characters, and none that change the direction of the text.
    Plain,
    /// As [`Characters::Plain`], no `/`, and not `.` or `..`.
    PathPart,
    /// No line break.
    OneLine,
    /// `A-Z`, `0-9` and `_`.
    Reason,
}

pub(super) const NAME: TextField = field("display_name", Length::Characters(1..=NAME_CHARACTERS), Characters::Plain);
pub(super) const OPTIONAL_NAME: TextField = field("display_name", Length::Characters(0..=NAME_CHARACTERS), Characters::Plain);
pub(super) const LABEL: TextField = field("label", Length::Characters(1..=NAME_CHARACTERS), Characters::PathPart);
pub(super) const MESSAGE: TextField = field("message", Length::Characters(0..=SUMMARY_CHARACTERS), Characters::Text);
pub(super) const QUERY: TextField = field("query", Length::Characters(1..=QUERY_CHARACTERS), Characters::OneLine);
pub(super) const OPTIONAL_QUERY: TextField = field("query", Length::Characters(0..=QUERY_CHARACTERS), Characters::OneLine);
pub(super) const TITLE: TextField = field("title", Length::Characters(1..=NAME_CHARACTERS), Characters::Plain);
pub(super) const DESCRIPTION: TextField = field("description", Length::Characters(0..=REVIEW_CHARACTERS), Characters::Text);
pub(super) const CATEGORY: TextField = field("category", Length::Characters(0..=CATEGORY_CHARACTERS), Characters::Plain);
pub(super) const TAG: TextField = field("tag", Length::Characters(0..=TAG_CHARACTERS), Characters::Plain);
pub(super) const WORDS: TextField = field("query", Length::Characters(0..=WORDS_CHARACTERS), Characters::OneLine);
pub(super) const REVIEW: TextField = field("text", Length::Characters(0..=REVIEW_CHARACTERS), Characters::Text);
pub(super) const REPORT: TextField = field("reason", Length::Characters(1..=REPORT_CHARACTERS), Characters::Text);
pub(super) const REQUEST_ID: TextField = field("request_id", Length::Characters(0..=255), Characters::Text);
pub(super) const IF_MATCH: TextField = field("if_match", Length::Bytes(0..=1024), Characters::Any);
pub(super) const PROMPT: TextField = field("prompt", Length::Bytes(1..=PROMPT_BYTES), Characters::NoNul);
pub(super) const TEXT: TextField = field("text", Length::Bytes(1..=PROMPT_BYTES), Characters::NoNul);
pub(super) const REASON: TextField = field("reason", Length::Characters(0..=REASON_CHARACTERS), Characters::Text);
pub(super) const ANSWER: TextField = field("answer", Length::Bytes(0..=MESSAGE_BYTES), Characters::Any);
pub(super) const PARTIAL_ANSWER: TextField = field("partial_answer", Length::Bytes(0..=MESSAGE_BYTES), Characters::Any);
pub(super) const FAILURE_REASON: TextField = field("failure_reason", Length::Bytes(0..=64), Characters::Reason);

const fn field(name: &'static str, length: Length, characters: Characters) -> TextField {
    TextField { name, length, characters }
}

impl TextField {
    /// Records what is wrong with a text.
    pub(super) fn check(&self, violations: &mut Violations, text: &str) {
        match &self.length {
            Length::Bytes(bounds) => violations.length(self.name, text, bounds.clone()),
            Length::Characters(bounds) if bounds.contains(&text.chars().count()) => {}
            Length::Characters(bounds) => {
                let range = if *bounds.start() == 0 { "at most".to_owned() } else { format!("{} to", bounds.start()) };
                violations.add(self.name, format!("must be {range} {} characters", bounds.end()));
            }
        }
        let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        let is_reason = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        match self.characters {
            Characters::NoNul if text.contains('\0') => violations.add(self.name, "must not hold NUL"),
            Characters::Text if !text.chars().all(is_text) => violations.add(self.name, "must not hold control characters"),
            Characters::OneLine if text.contains(['\n', '\r', '\0']) => violations.add(self.name, "must not hold a line break or NUL"),
            Characters::Reason if !text.chars().all(is_reason) => violations.add(self.name, "may have `A-Z`, `0-9` and `_` only"),
            Characters::PathPart if text.contains('/') => violations.add(self.name, "must not hold `/`"),
            // A URL cannot have these as a part of its path.
            Characters::PathPart if text == "." || text == ".." => violations.add(self.name, "must not be `.` or `..`"),
            Characters::Plain | Characters::PathPart => violations.no_misleading_characters(self.name, text),
            Characters::Any | Characters::NoNul | Characters::Text | Characters::OneLine | Characters::Reason => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(field: &TextField, text: &str) -> Vec<String> {
        let mut violations = Violations::default();
        field.check(&mut violations, text);
        let fault = violations.check("service").err();
        fault.map(|fault| fault.violations.into_iter().map(|violation| violation.description).collect()).unwrap_or_default()
    }

    #[test]
    fn a_violation_names_the_rule() {
        for (field, text, expected) in [
            (NAME, "a".repeat(120), &[][..]),
            (NAME, String::new(), &["must be 1 to 120 characters"]),
            (OPTIONAL_NAME, String::new(), &[]),
            (OPTIONAL_NAME, "ü".repeat(121), &["must be at most 120 characters"]),
            (REQUEST_ID, "ü".repeat(255), &[]),
            (REQUEST_ID, "a".repeat(256), &["must be at most 255 characters"]),
            (MESSAGE, "a\n\tb\r".to_owned(), &[]),
            (MESSAGE, "a\u{7}b".to_owned(), &["must not hold control characters"]),
            (IF_MATCH, "ü".repeat(513), &["must be at most 1024 bytes"]),
            (PROMPT, "a\0".to_owned(), &["must not hold NUL"]),
            (PROMPT, String::new(), &["must be 1 to 32768 bytes"]),
            (FAILURE_REASON, "A_1".to_owned(), &[]),
            (FAILURE_REASON, "a".repeat(65), &["must be at most 64 bytes", "may have `A-Z`, `0-9` and `_` only"]),
        ] {
            assert_eq!(problems(&field, &text), expected, "{}: {text:?}", field.name);
        }
    }
}
