//! What a model means by the arguments of a call. [`repair`] makes of them what the tool's schema asks for, where only one reading
//! is possible; what it gives goes into the log, so that every owner of the turn and every viewer sees the same call. [`check`]
//! says what is wrong with the rest.

mod shape;
mod text;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use self::shape::Parameters;
use super::paths;
use crate::{turn::event, workspace::overlay::Refusal};

/// How much of refused arguments a refusal shows.
const SHOWN_CHARS: usize = 200;
/// What is kept of a text that is refused and too long for the log. Escaped it is at most six times as long.
const KEPT_BYTES: usize = 1_024;

/// The arguments as the tool wants them, where that is beyond doubt; else as they are. Pure, and the same when done again.
pub(crate) fn repair(tool: &str, input: Value) -> Value {
    let map = match input {
        Value::Object(map) => Ok(map),
        Value::String(raw) => text::object(&raw).map_err(|_| Value::String(raw)),
        other => Err(other),
    };
    let repaired = match (map, Parameters::of(tool)) {
        (Ok(map), Some(parameters)) => {
            let mut map = parameters.retyped(parameters.renamed(unwrapped(&parameters, map)));
            for name in shape::PATHS {
                if let Some(Value::String(path)) = map.get_mut(name) {
                    *path = paths::certain(path).into_owned();
                }
            }
            Value::Object(map)
        }
        (Ok(map), None) => Value::Object(map),
        (Err(other), _) => other,
    };
    if tool == "write_file" { bounded(repaired) } else { repaired }
}

/// The arguments inside of a single key that is none of the tool's own.
fn unwrapped(parameters: &Parameters, map: Map<String, Value>) -> Map<String, Value> {
    let only = map.iter().next().filter(|(key, _)| map.len() == 1 && shape::WRAPPERS.contains(&key.as_str()) && !parameters.has(key));
    let inner = only.and_then(|(_, inner)| match inner {
        Value::Object(inner) => Some(inner.clone()),
        Value::String(inner) => text::object(inner).ok(),
        _ => None,
    });
    inner.unwrap_or(map)
}

/// Of a file's content the log has only the text, in deltas: what else of the arguments is long is cut, so that one event holds it
/// beside whatever the provider wants back. What is refused is refused with the same words by every owner.
fn bounded(input: Value) -> Value {
    let fits = |value: &Value| value.to_string().len() <= event::READY_BYTES;
    match input {
        Value::Object(mut map) => {
            let content = map.get("content").filter(|content| content.is_string()).is_some().then(|| map.shift_remove("content")).flatten();
            let mut rest = Value::Object(map);
            if !fits(&rest) {
                rest = hollow(&rest);
            }
            if let (Value::Object(map), Some(content)) = (&mut rest, content) {
                map.insert("content".to_owned(), content);
            }
            rest
        }
        Value::String(raw) if !fits(&Value::String(raw.clone())) => {
            Value::String(format!("{} [cut here, of {} bytes]", &raw[..raw.floor_char_boundary(KEPT_BYTES)], raw.len()))
        }
        other => other,
    }
}

/// The path and the kind of the content.
fn hollow(input: &Value) -> Value {
    let mut map = Map::new();
    if let Some(path) = input.get("path") {
        let path = path.as_str().map(|path| json!(path[..path.floor_char_boundary(KEPT_BYTES)]));
        map.insert("path".to_owned(), path.unwrap_or_default());
    }
    match input.get("content") {
        Some(Value::Array(_)) => drop(map.insert("content".to_owned(), json!([]))),
        Some(Value::Object(_)) => drop(map.insert("content".to_owned(), json!({}))),
        _ => {}
    }
    Value::Object(map)
}

/// Whether the arguments are what the tool takes.
pub(super) fn check(tool: &str, input: &Value) -> Result<(), Refusal> {
    let Some(parameters) = Parameters::of(tool) else { return Ok(()) };
    let problem = match input {
        Value::Object(map) => parameters.problem(map),
        Value::String(raw) => Some(not_whole(text::object(raw).err().as_deref())),
        _ => Some(not_whole(None)),
    };
    let Some(problem) = problem else { return Ok(()) };
    let read = match input {
        Value::String(raw) => raw.clone(),
        other => other.to_string(),
    };
    let message = format!("{problem}; {tool} takes {}, and this was read: {}", parameters.described(), clipped(&read));
    Err(Refusal::new("INVALID_ARGUMENTS", message))
}

fn not_whole(problem: Option<&str>) -> String {
    let problem = problem.map_or_else(String::new, |problem| format!(" ({problem})"));
    format!("the arguments are not one whole JSON object{problem}")
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{} [and {} more bytes]", &text[..at], text.len() - at),
        None => text.to_owned(),
    }
}

/// The arguments of a call in the tool's own type.
pub(super) fn typed<T: DeserializeOwned>(input: &Value) -> Result<T, Refusal> {
    T::deserialize(input).map_err(|e| Refusal::new("INVALID_ARGUMENTS", e.to_string()))
}

#[cfg(test)]
mod tests;
