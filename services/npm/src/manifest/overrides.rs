//! `overrides`: rules for dependencies of other packages.

use serde_json::{Map, Value};

use super::FILE;
use crate::{
    error::{Error, shown},
    name,
};

/// The most levels of rules.
const MAX_LEVELS: usize = 16;
/// The most rules.
const MAX_RULES: usize = 200;
/// The most bytes of a specifier or a range.
const MAX_BYTES: usize = 256;

/// A rule: dependencies on this package get another specifier, and below this package further rules hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideRule {
    /// The key as it is written: a name, or a name with a range (`name@1`).
    pub key: String,
    /// The package.
    pub name: String,
    /// Which of its versions are meant. `*` without a range.
    pub range: String,
    /// The specifier that replaces others, `$name` for that of the project, or the range itself if nothing is replaced.
    pub value: String,
    /// Rules for the dependencies of the package.
    pub rules: Vec<OverrideRule>,
}

pub(super) fn read(object: &Map<String, Value>) -> Result<Vec<OverrideRule>, Error> {
    match object.get("overrides") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(entries)) => rules(entries, "overrides", &mut MAX_RULES.clone()),
        Some(other) => Err(Error::field(FILE, "overrides", other, "is not an object")),
    }
}

fn rules(entries: &Map<String, Value>, field: &str, left: &mut usize) -> Result<Vec<OverrideRule>, Error> {
    if field.matches(LEVEL).count() >= MAX_LEVELS {
        return Err(Error::too_large(&format!("{FILE}: overrides"), MAX_LEVELS as u64, "levels"));
    }
    entries.iter().filter(|(key, _)| *key != ".").map(|(key, value)| rule(key, value, field, left)).collect()
}

/// What separates the levels in the name of a field.
const LEVEL: char = '.';

fn rule(key: &str, value: &Value, field: &str, left: &mut usize) -> Result<OverrideRule, Error> {
    // A dot in a name must not count as a level.
    let field = format!("{field}{LEVEL}{}", shown(&key.replace(LEVEL, "·")));
    *left = left.checked_sub(1).ok_or_else(|| Error::too_large(&format!("{FILE}: overrides"), MAX_RULES as u64, "rules"))?;
    let end = key.get(1..).and_then(|rest| rest.find('@')).map_or(key.len(), |at| at + 1);
    let (name, range) = (&key[..end], key[end..].trim_start_matches('@'));
    if !name::is_valid(name) {
        return Err(Error::field(FILE, &field, value, "has no valid name"));
    }
    if range.len() > MAX_BYTES || value.as_str().is_some_and(|value| value.len() > MAX_BYTES) {
        return Err(Error::field(FILE, &field, value, &format!("has a range of more than {MAX_BYTES} bytes")));
    }
    let range = if range.is_empty() { "*" } else { range };
    let (own, rules) = match value {
        Value::String(text) => (Some(text.as_str()), Vec::new()),
        Value::Object(entries) => (own_value(entries, &field)?, rules(entries, &field, left)?),
        other => return Err(Error::field(FILE, &field, other, "is neither a text nor an object")),
    };
    let value = match own {
        None => range,
        Some("") => "*",
        Some(text) => text,
    };
    Ok(OverrideRule { key: key.to_owned(), name: name.to_owned(), range: range.to_owned(), value: value.to_owned(), rules })
}

fn own_value<'a>(entries: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, Error> {
    match entries.get(".") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Error::field(FILE, field, other, "is not a text")),
    }
}
