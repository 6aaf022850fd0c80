//! Parses the text of arguments that are not strict JSON. Incomplete text is never completed.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// The largest depth of JSON texts inside of JSON strings.
const MAX_DEPTH: usize = 3;

/// Parses a text to an object. Accepts unescaped line breaks and tabs, trailing commas, code fences, and objects inside of JSON strings.
/// Empty text and `null` are an empty object.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, String> {
    let mut text = text.to_owned();
    for _ in 0..MAX_DEPTH {
        let bare = unfenced(&text);
        if bare.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_str(&strict(bare)) {
            Ok(Arguments::Object(map)) => return Ok(map),
            Ok(Arguments::None) => return Ok(Map::new()),
            Ok(Arguments::Text(inner)) => text = inner,
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(format!("a JSON text nested more than {MAX_DEPTH} times in JSON strings"))
}

/// The text inside of a code fence, or the text itself.
fn unfenced(text: &str) -> &str {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let inside = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    inside.map_or(text, |text| text.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).trim())
}

/// Converts a text to strict JSON: escapes control characters in strings, and removes trailing commas.
fn strict(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            // A trailing comma is removed only after a value; elsewhere it is another mistake.
            ',' if !inside && text[at + 1..].trim_start().starts_with(['}', ']']) && !json.trim_end().ends_with(['{', '[', ':', ',']) => {
                continue;
            }
            '\0'..='\u{1f}' if inside && !escaped => {
                json.push_str(&format!("\\u{:04x}", u32::from(c)));
                continue;
            }
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && c == '\\' && !escaped;
        json.push(c);
    }
    json
}

/// A parsed text of arguments.
enum Arguments {
    Object(Map<String, Value>),
    Text(String),
    None,
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Arguments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Arguments, A::Error> {
                crate::model::json::first_wins(access).map(Arguments::Object)
            }

            fn visit_str<E>(self, text: &str) -> Result<Arguments, E> {
                Ok(Arguments::Text(text.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Arguments, E> {
                Ok(Arguments::None)
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unambiguous_texts_are_parsed() {
        let whole = json!({"path": "a.js", "content": "x\ny"});
        for text in [
            r#"{"path":"a.js","content":"x\ny"}"#,
            "{\"path\":\"a.js\",\"content\":\"x\ny\"}",
            r#"{"path":"a.js","content":"x\ny",}"#,
            "{\"path\":\"a.js\",\"content\":\"x\\ny\" , \n }",
            "\u{feff} {\"path\":\"a.js\",\"content\":\"x\\ny\"}\n",
            "```json\n{\"path\":\"a.js\",\"content\":\"x\\ny\"}\n```",
            "```\n{\"path\":\"a.js\",\"content\":\"x\\ny\"}```\n",
            r#""{\"path\":\"a.js\",\"content\":\"x\\ny\"}""#,
            r#""\"{\\\"path\\\":\\\"a.js\\\",\\\"content\\\":\\\"x\\\\ny\\\"}\"""#,
            r#"{"path":"a.js","path":"b.js","content":"x\ny","content":"z"}"#,
        ] {
            assert_eq!(object(text).map(Value::Object), Ok(whole.clone()), "{text}");
        }
        for none in ["", " \n", "null", "\"\"", "{}", "```\n```"] {
            assert_eq!(object(none), Ok(Map::new()), "{none:?}");
        }
        let inside = object("{\"content\":\"a, ] \\\" , } \t\\\\\"}").map(Value::Object);
        assert_eq!(inside, Ok(json!({"content": "a, ] \" , } \t\\"})), "strings are unchanged");
    }

    #[test]
    fn incomplete_and_other_texts_are_refused() {
        for text in [
            r#"{"path":"a.js","content":"x"#,
            r#"{"path":"a.js","content":"x""#,
            r#"{"path":"a.js","content":"x","#,
            r#"{"path":"a.js","#,
            "```json\n{\"path\":\"a.js\"}",
            r#""{\"path\":\"a.js\"}"#,
            r#""{\"path\":\"a.js\"""#,
            r#"{"path":"a.js"} {}"#,
            r#"{"path":"a.js"} and so on"#,
            r#"{"path":'a.js'}"#,
            r#"{"path":"a.js\d"}"#,
            r#"{"path":"a.js\ud83d"}"#,
            "{\"path\":\"a.js\\\n\"}",
            "[1]",
            "7",
            "true",
            "{,}",
            "{\"path\":,}",
        ] {
            assert!(object(text).is_err(), "{text}");
        }
    }
}
