//! Repairs and checks the arguments of a call. [`repair`] converts arguments to the tool's schema if their meaning is unambiguous. The
//! result goes into the log, so that every worker and every viewer has the same call. [`check`] refuses arguments that are still invalid.

mod shape;
mod text;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use self::shape::Parameters;
use super::paths;
use crate::{turn::event, workspace::overlay::Refusal};

/// How much of the arguments a refusal shows.
const SHOWN_CHARS: usize = 200;
/// How much of refused arguments is kept that are too long for the log. Escaped text is at most six times as long.
const KEPT_BYTES: usize = 1_024;

/// Converts arguments to the schema of the tool if their meaning is unambiguous. Otherwise returns them unchanged. Idempotent.
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

/// The arguments inside a wrapper: a single key that is not a parameter of the tool.
fn unwrapped(parameters: &Parameters, map: Map<String, Value>) -> Map<String, Value> {
    let only = map.iter().next().filter(|(key, _)| map.len() == 1 && shape::WRAPPERS.contains(&key.as_str()) && !parameters.has(key));
    let inner = only.and_then(|(_, inner)| match inner {
        Value::Object(inner) => Some(inner.clone()),
        Value::String(inner) => text::object(inner).ok(),
        _ => None,
    });
    inner.unwrap_or(map)
}

/// Limits the arguments of `write_file`: everything but the content, which the log has in deltas, must fit into one event together with
/// the opaque value of the provider. Cut arguments are still refused, with the same message by every worker.
fn bounded(input: Value) -> Value {
    let fits = |value: &Value| value.to_string().len() <= event::READY_BYTES;
    match input {
        Value::Object(mut map) => {
            let content = map.get("content").filter(|content| content.is_string()).is_some().then(|| map.shift_remove("content")).flatten();
            let mut rest = Value::Object(map);
            if !fits(&rest) {
                rest = without_long_values(&rest);
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

/// Keeps only the cut path and the type of the content.
fn without_long_values(input: &Value) -> Value {
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

/// Checks the arguments against the schema of the tool.
pub(super) fn check(tool: &str, input: &Value) -> Result<(), Refusal> {
    let Some(parameters) = Parameters::of(tool) else { return Ok(()) };
    let problem = match input {
        Value::Object(map) => parameters.problem(map),
        Value::String(raw) => Some(not_an_object(text::object(raw).err().as_deref())),
        _ => Some(not_an_object(None)),
    };
    let Some(problem) = problem else { return Ok(()) };
    let read = match input {
        Value::String(raw) => raw.clone(),
        other => other.to_string(),
    };
    let message = format!("{problem}; {tool} takes {}, but the arguments are: {}", parameters.described(), clipped(&read));
    Err(Refusal::new("INVALID_ARGUMENTS", message))
}

fn not_an_object(problem: Option<&str>) -> String {
    let problem = problem.map_or_else(String::new, |problem| format!(" ({problem})"));
    format!("the arguments are not one complete JSON object{problem}")
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{} [and {} more bytes]", &text[..at], text.len() - at),
        None => text.to_owned(),
    }
}

/// Deserializes the arguments of a call.
pub(super) fn typed<T: DeserializeOwned>(input: &Value) -> Result<T, Refusal> {
    T::deserialize(input).map_err(|e| Refusal::new("INVALID_ARGUMENTS", e.to_string()))
}

#[cfg(test)]
mod tests;
