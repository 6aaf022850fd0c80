//! Pre-release identifiers.

use std::fmt;

use super::MAX_NUMBER;

/// Numbers are lower than words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identifier {
    Number(u64),
    Word(Box<str>),
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => word.fmt(f),
        }
    }
}

/// Whether the text can be an identifier of a build or a pre-release.
pub(super) fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Reads identifiers that dots separate. Only a loose reading accepts a number with leading zeros.
pub(super) fn identifiers(text: &str, loose: bool) -> Option<Vec<Identifier>> {
    text.split('.').map(|part| identifier(part, loose)).collect()
}

fn identifier(text: &str, loose: bool) -> Option<Identifier> {
    if !is_identifier(text) {
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Identifier::Word(text.into()));
    }
    if !loose && text.len() > 1 && text.starts_with('0') {
        return None;
    }
    let number = text.parse().ok().filter(|number| *number < MAX_NUMBER);
    Some(number.map_or_else(|| Identifier::Word(text.into()), Identifier::Number))
}
