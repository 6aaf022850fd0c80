//! Lists of dependencies in a `package.json`.

use serde_json::{Map, Value};

use super::FILE;
use crate::{error::Error, name, semver::MAX_RANGE_LENGTH};

/// The most entries of one list.
const MAX_ENTRIES: usize = 2_000;

/// A list of names and specifiers. A missing one is empty, and so is an array, which npm ignores.
pub(super) fn list(object: &Map<String, Value>, field: &str) -> Result<Vec<(String, String)>, Error> {
    let entries = match object.get(field) {
        None | Some(Value::Null | Value::Array(_)) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => return Err(Error::field(FILE, field, other, "is not an object")),
    };
    if entries.len() > MAX_ENTRIES {
        return Err(Error::too_large(&format!("{FILE}: {field}"), MAX_ENTRIES as u64, "entries"));
    }
    entries.iter().map(|(key, value)| Ok((key.clone(), specifier(&format!("{field}.{key}"), key, value)?))).collect()
}

fn specifier(field: &str, key: &str, value: &Value) -> Result<String, Error> {
    let Value::String(text) = value else { return Err(Error::field(FILE, field, value, "is not a text")) };
    if !name::is_valid(key) {
        return Err(Error::field(FILE, field, text, "has no valid name"));
    }
    if text.len() > MAX_RANGE_LENGTH {
        return Err(Error::field(FILE, field, text, &format!("is longer than {MAX_RANGE_LENGTH} bytes")));
    }
    Ok(text.clone())
}

pub(super) fn optional_peers(object: &Map<String, Value>) -> Vec<String> {
    let peers = object.get("peerDependenciesMeta").and_then(Value::as_object);
    peers.into_iter().flatten().filter(|(_, meta)| meta["optional"] == true).map(|(name, _)| name.clone()).collect()
}

/// The names in `bundleDependencies` or `bundledDependencies`. `true` means all dependencies.
pub(super) fn bundled(object: &Map<String, Value>, dependencies: &[(String, String)]) -> Vec<String> {
    match object.get("bundleDependencies").or_else(|| object.get("bundledDependencies")) {
        Some(Value::Bool(true)) => dependencies.iter().map(|(name, _)| name.clone()).collect(),
        Some(Value::Array(_)) => {
            texts(object, if object.contains_key("bundleDependencies") { "bundleDependencies" } else { "bundledDependencies" })
        }
        _ => Vec::new(),
    }
}

/// A list of texts, or one text.
pub(super) fn texts(object: &Map<String, Value>, field: &str) -> Vec<String> {
    match object.get(field) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn engines(object: &Map<String, Value>) -> Vec<(String, String)> {
    let engines = object.get("engines").and_then(Value::as_object);
    engines.into_iter().flatten().filter_map(|(name, range)| Some((name.clone(), range.as_str()?.to_owned()))).collect()
}
