//! Which versions match.

use std::fmt;

use super::{
    MAX_RANGE_LENGTH, Version,
    comparator::{self, Comparator, Conditions, Operator, TooLarge},
    identifier,
    partial::Partial,
    reading::Reading,
};

/// Alternatives, each of which is a list of conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub(super) alternatives: Vec<Conditions>,
    pub(super) prereleases: bool,
}

impl Range {
    /// Reads a range. `None` if npm would refuse it.
    #[must_use]
    pub fn parse(text: &str, reading: Reading) -> Option<Self> {
        if text.len() > MAX_RANGE_LENGTH {
            return None;
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut alternatives = Vec::new();
        for part in text.split("||") {
            let conditions = conditions(part.trim(), reading)?;
            if !conditions.is_empty() {
                alternatives.push(conditions);
            }
        }
        if alternatives.is_empty() {
            return None;
        }
        Some(Self { alternatives: simplified(alternatives), prereleases: reading.prereleases })
    }

    /// Whether the version matches. A pre-release matches only beside a condition with a pre-release of the same three numbers.
    #[must_use]
    pub fn accepts(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|conditions| {
            let is_named = |condition: &Comparator| {
                matches!(condition, Comparator::Of(_, limit) if limit.is_prerelease() && limit.numbers() == version.numbers())
            };
            conditions.iter().all(|condition| condition.accepts(version))
                && (!version.is_prerelease() || self.prereleases || conditions.iter().any(is_named))
        })
    }

    /// The number of its conditions.
    pub(crate) fn size(&self) -> usize {
        self.alternatives.iter().map(Vec::len).sum()
    }

    /// About how many comparisons it takes to intersect both.
    pub(crate) fn cost(&self, other: &Self) -> usize {
        let own = |range: &Self| range.alternatives.iter().map(|list| list.len() * list.len()).sum::<usize>();
        own(self) + own(other) + self.size() * other.size()
    }

    /// Whether every release matches, as for `*`.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.alternatives.iter().any(|conditions| conditions[..] == [Comparator::Any])
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, conditions) in self.alternatives.iter().enumerate() {
            let texts: Vec<_> = conditions.iter().map(Comparator::to_string).collect();
            write!(f, "{}{}", if at == 0 { "" } else { "||" }, texts.join(" "))?;
        }
        Ok(())
    }
}

/// Drops alternatives that cannot match, and all but one that accepts everything.
fn simplified(mut alternatives: Vec<Conditions>) -> Vec<Conditions> {
    let is_nothing = |conditions: &Conditions| conditions[0] == Comparator::nothing();
    if alternatives.iter().all(is_nothing) {
        alternatives.truncate(1);
        return alternatives;
    }
    alternatives.retain(|conditions| !is_nothing(conditions));
    match alternatives.iter().position(|conditions| conditions[..] == [Comparator::Any]) {
        Some(at) => vec![alternatives.swap_remove(at)],
        None => alternatives,
    }
}

/// The conditions of one alternative. Empty if a loose reading ignores all of its words, `None` if it is wrong.
fn conditions(text: &str, reading: Reading) -> Option<Conditions> {
    let text = without_builds(text);
    let text = match hyphen(&text, reading) {
        Some(words) => words.ok()?,
        None => text,
    };
    let mut conditions = Vec::new();
    for word in joined(&text).split(' ') {
        conditions.extend(self::word(word, reading)?);
    }
    let mut unique = Vec::new();
    for condition in conditions.into_iter().map(|condition| condition.normalised(reading)) {
        if condition == Comparator::nothing() {
            return Some(vec![condition]);
        }
        if !unique.contains(&condition) {
            unique.push(condition);
        }
    }
    if unique.len() > 1 {
        unique.retain(|condition| *condition != Comparator::Any);
    }
    Some(unique)
}

fn hyphen(text: &str, reading: Reading) -> Option<Result<String, TooLarge>> {
    let (from_text, to_text) = text.split_once(" - ")?;
    let (from, to) = (Partial::parse(from_text, reading.loose)?, Partial::parse(to_text, reading.loose)?);
    Some(comparator::hyphen((from_text, &from), (to_text, &to), reading))
}

/// The conditions of one word.
fn word(word: &str, reading: Reading) -> Option<Conditions> {
    let checked = |conditions: Result<Conditions, TooLarge>| conditions.ok();
    if let Some(partial) = word.strip_prefix('^').and_then(|rest| Partial::parse(rest, reading.loose)) {
        return checked(comparator::caret(&partial, reading));
    }
    let after_tilde = word.strip_prefix("~>").or_else(|| word.strip_prefix('~'));
    if let Some(partial) = after_tilde.and_then(|rest| Partial::parse(rest, reading.loose)) {
        return checked(comparator::tilde(&partial, reading));
    }
    let (operator, rest) = comparator::operator(word);
    match Partial::parse(rest, reading.loose) {
        Some(partial) if partial.has_wrong_order() => ignored(reading),
        Some(partial) if partial.has_wild() => checked(comparator::wild(operator, &partial, reading)),
        Some(partial) if !reading.loose && !partial.has_strict_prefix() => None,
        Some(partial) => Some(vec![Comparator::Of(operator.unwrap_or(Operator::Equal), partial.version()?)]),
        // An operator alone accepts everything.
        None if rest.is_empty() && operator.is_none() => Some(vec![Comparator::Any]),
        None => ignored(reading),
    }
}

/// A loose reading drops a word that is no condition.
fn ignored(reading: Reading) -> Option<Conditions> {
    reading.loose.then(Vec::new)
}

/// Removes `+build`.
fn without_builds(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut parts = text.split('+');
    clean.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let mut end = part.bytes().position(|byte| !is_part(byte)).unwrap_or(part.len());
        while end > 0 && !part[..end].split('.').all(identifier::is_identifier) {
            end -= 1;
        }
        if end == 0 {
            clean.push('+');
        }
        clean.push_str(&part[end..]);
    }
    clean
}

/// Removes the spaces between an operator and its version: `> 1.2` → `>1.2`, `~ 1` → `~1`.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(' ') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        joined.push_str(before);
        // Signs that belong to the version stay as they are.
        let (signs, number) = after.split_at(after.len() - after.trim_start_matches(['v', '=', ' ']).len());
        if ends_with_sign(&joined) && number.starts_with(|c: char| c.is_ascii_digit() || "xX*".contains(c)) {
            joined.push_str(signs);
            rest = number;
            continue;
        }
        if !joined.ends_with(['~', '^']) && !joined.ends_with("~>") {
            joined.push(' ');
        }
        rest = after;
    }
    joined + rest
}

/// Whether the text ends with an operator and nothing after it. The second sign in `<==` and `==` belongs to a version.
fn ends_with_sign(text: &str) -> bool {
    let signs = &text[text.trim_end_matches(['<', '>', '=', 'v']).len()..];
    let last = &signs[signs.rfind(['<', '>']).unwrap_or(0)..];
    ["<", ">", "<=", ">=", "="].contains(&last)
}
