//! Converts the names and types of arguments to the schema of the tool.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::catalogue;

/// Keys that some models wrap all arguments in.
pub(super) const WRAPPERS: [&str; 6] = ["input", "arguments", "args", "parameters", "params", "tool_input"];
/// Parameters that are paths.
pub(super) const PATHS: [&str; 2] = ["path", "new_path"];
/// Names of the parameters in other products.
const ALIASES: [(&str, &[&str]); 8] = [
    ("path", &["file_path", "filepath", "file", "file_name", "filename", "old_path"]),
    ("new_path", &["new_file_path", "new_filepath", "destination"]),
    ("content", &["contents", "file_content", "file_contents", "file_text"]),
    ("old_text", &["old_string", "old_str", "old_content"]),
    ("new_text", &["new_string", "new_str", "new_content"]),
    ("query", &["search_query", "search_text"]),
    ("start_line", &["line_start", "from_line"]),
    ("end_line", &["line_end", "to_line"]),
];
/// Larger integers are not exact as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The parameters of a tool.
pub(super) struct Parameters(&'static Value);

impl Parameters {
    pub(super) fn of(tool: &str) -> Option<Self> {
        catalogue::schema(tool).map(Self)
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &'static Value)> {
        self.0["properties"].as_object().into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0["properties"].get(name).is_some()
    }

    fn is_required(&self, name: &str) -> bool {
        self.0["required"].as_array().into_iter().flatten().any(|required| required == name)
    }

    /// "path (string), start_line (integer, optional)".
    pub(super) fn described(&self) -> String {
        let one = |(name, schema): (&str, &Value)| {
            let optional = if self.is_required(name) { "" } else { ", optional" };
            format!("{name} ({}{optional})", schema["type"].as_str().unwrap_or_default())
        };
        self.all().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Renames keys: a missing parameter gets the value of its alias, if there is exactly one.
    pub(super) fn renamed(&self, mut map: Map<String, Value>) -> Map<String, Value> {
        for (name, _) in self.all() {
            if map.contains_key(name) {
                continue;
            }
            let near: Vec<String> = map.keys().filter(|key| !self.has(key) && is_alias(key, name)).cloned().collect();
            if let [key] = &near[..]
                && let Some(value) = map.shift_remove(key)
            {
                map.insert(name.to_owned(), value);
            }
        }
        map
    }

    /// Converts values to the types of their parameters where that is unambiguous.
    pub(super) fn retyped(&self, mut map: Map<String, Value>) -> Map<String, Value> {
        map.retain(|name, value| !(value.is_null() && self.has(name) && !self.is_required(name)));
        for (name, schema) in self.all() {
            let is_json = map.get("path").and_then(Value::as_str).is_some_and(|path| path.to_ascii_lowercase().ends_with(".json"));
            let Some(value) = map.get_mut(name) else { continue };
            let better = match schema["type"].as_str() {
                Some("integer") => whole(value).map(Value::from),
                _ if PATHS.contains(&name) => None,
                _ if name == "content" && is_json && value.is_object() => pretty(value).map(Value::String),
                _ => plain(value).map(Value::String),
            };
            match better {
                Some(better) => *value = better,
                // An empty string for an optional number means that it is absent.
                None if value == "" && schema["type"] == "integer" => drop(map.shift_remove(name)),
                None => {}
            }
        }
        map
    }

    /// The first problem of the arguments.
    pub(super) fn problem(&self, map: &Map<String, Value>) -> Option<String> {
        self.all().find_map(|(name, schema)| {
            let Some(value) = map.get(name) else {
                return self.is_required(name).then(|| format!("missing field `{name}`"));
            };
            match schema["type"].as_str() {
                Some("integer") if value.is_u64() || (value.is_null() && !self.is_required(name)) => None,
                Some("integer") => Some(format!("{name} is {}, and must be a whole number from 1", kind(value))),
                _ if value.is_string() || (value.is_null() && !self.is_required(name)) => None,
                _ => Some(format!("invalid type: {name} is {}, and must be a string", kind(value))),
            }
        })
    }
}

/// Whether a key is an alias or another spelling of a parameter.
fn is_alias(key: &str, name: &str) -> bool {
    let key = snake(key);
    key == name || ALIASES.iter().any(|(known, others)| *known == name && others.contains(&key.as_str()))
}

/// Converts `oldText`, `OldText` and `old-text` to `old_text`.
fn snake(key: &str) -> String {
    let mut snake = String::new();
    for c in key.trim().chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.push(if c == '-' || c == ' ' { '_' } else { c.to_ascii_lowercase() });
    }
    snake
}

fn whole(value: &Value) -> Option<u64> {
    let float = |number: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and within")]
        let whole = number as u64;
        (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(whole)
    };
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(float)),
        Value::String(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(float)),
        _ => None,
    }
}

/// The text of a boolean or an integer. The original text of a float is unknown.
fn plain(value: &Value) -> Option<String> {
    (value.is_boolean() || value.is_i64() || value.is_u64()).then(|| value.to_string())
}

/// The text of a JSON file whose content was given as an object. `None` if it contains floats, because their original text is unknown.
fn pretty(value: &Value) -> Option<String> {
    fn exact(value: &Value) -> bool {
        match value {
            Value::Number(number) => !number.is_f64(),
            Value::Array(values) => values.iter().all(exact),
            Value::Object(map) => map.values().all(exact),
            _ => true,
        }
    }
    exact(value).then(|| format!("{value:#}\n"))
}

fn kind(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        Value::String(text) => format!("{:?}", super::clipped(text)).into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}
