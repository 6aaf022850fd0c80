//! What is wrong with a request, in words for its sender. serde and serde_json say it in words for programmers.

use proto::error::{ErrorCode, Fault, FieldViolation};
use serde::de::IgnoredAny;
use serde_path_to_error::{Path, Segment};

use crate::error::{Failure, SERVICE, fault};

/// Characters of a value that come back in the answer.
const SHOWN: usize = 40;
/// What serde_json says of a text that is not JSON, and what that means.
const SYNTAX: [(&str, &str); 21] = [
    ("EOF while parsing a list", "it ends inside an array"),
    ("EOF while parsing an object", "it ends inside an object"),
    ("EOF while parsing a string", "it ends inside a string"),
    ("EOF while parsing a value", "it ends where a value is expected"),
    ("expected `:`", "a colon is expected after the name of a field"),
    ("expected `,` or `]`", "a comma or ] is expected"),
    ("expected `,` or `}`", "a comma or } is expected"),
    ("expected `\"`", "a string in double quotes is expected"),
    ("expected ident", "a value is expected; of words there are only true, false and null"),
    ("expected value", "a value is expected: an object, an array, a string in double quotes, a number, true, false or null"),
    ("invalid escape", "a string has an escape that JSON does not have"),
    ("invalid number", "a number is not written as JSON has it"),
    ("number out of range", "a number is too large"),
    ("invalid unicode code point", "a string is not UTF-8, or an escape in it names no character"),
    ("control character (\\u0000-\\u001F) found while parsing a string", "a string holds a control character; write it as an escape"),
    ("key must be a string", "the name of a field must be a string in double quotes"),
    ("lone leading surrogate in hex escape", "an escape of a string is half of a character"),
    ("unexpected end of hex escape", "an escape of a string is half of a character"),
    ("recursion limit exceeded", "it is nested too deeply"),
    ("trailing comma", "a comma has nothing after it"),
    ("trailing characters", "something follows the value"),
];
/// What base64's reader says.
const NO_BASE64: [&str; 4] = ["Invalid symbol", "Invalid last symbol", "Invalid input length", "Invalid padding"];

/// How the values of a request are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Json,
    /// Parameters have no types, so a number there is in no quotes.
    Text,
}

/// The body is not JSON.
pub(super) fn syntax(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let text = plain(&text);
    let words = SYNTAX.iter().find(|(said, _)| *said == text).map_or("it cannot be read", |(_, words)| words);
    let description = format!("{words} (line {}, column {})", error.line(), error.column());
    let mut fault = fault(ErrorCode::InvalidArgument, "INVALID_JSON", format!("the body cannot be read as JSON: {description}"));
    fault.violations = vec![FieldViolation { field: String::new(), description }];
    fault.into()
}

/// The text without its place.
fn plain(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text)
}

/// What is wrong with which field, from the words of serde.
pub(super) fn field(path: &Path, text: &str, source: Source) -> Fault {
    let text = if source == Source::Json { plain(text) } else { text };
    let mut field = spelled(path);
    let named = ["unknown field", "duplicate field", "missing field"].iter().find_map(|kind| {
        let name = text.strip_prefix(kind)?.strip_prefix(" `")?.split('`').next()?;
        Some((*kind, name))
    });
    let description = match named {
        Some((kind, name)) => {
            // The path ends at the field or at what holds it, depending on how far serde had come.
            if field != name && !field.ends_with(&format!(".{name}")) {
                field = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
            }
            match kind {
                "unknown field" => "is not a field of this request".to_owned(),
                "duplicate field" => "must be given once".to_owned(),
                _ => "must be given".to_owned(),
            }
        }
        None => value(text, source),
    };
    Fault::invalid(SERVICE, vec![FieldViolation { field, description }])
}

/// What a body is that is JSON but no object, if it is that.
pub(super) fn no_object(bytes: &[u8]) -> Option<Failure> {
    let got = match bytes.trim_ascii_start().first()? {
        b'{' => return None,
        b'[' => "an array",
        b'"' => "a string",
        b'n' => "null",
        b't' | b'f' => "a boolean",
        _ => "a number",
    };
    serde_json::from_slice::<IgnoredAny>(bytes).ok()?;
    let description = format!("the body must be a JSON object; got {got}");
    Some(Fault::invalid(SERVICE, vec![FieldViolation { field: String::new(), description }]).into())
}

/// A parameter's or a header's value as an answer shows it.
pub(crate) fn got(text: &str) -> String {
    shown(&format!("{text:?}"), Source::Text)
}

/// What a value must be, and what it is.
fn value(text: &str, source: Source) -> String {
    if let Some((got, expected)) = text.strip_prefix("unknown variant `").and_then(|rest| rest.rsplit_once("`, expected ")) {
        return format!("must be {}; got {}", choice(expected, '`'), shown(&format!("{got:?}"), source));
    }
    // A struct of ours could be read from a list of its values; JSON has objects for that.
    if let Some((_, wanted)) = text.strip_prefix("invalid length ").and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("must be {}; got an array", expected(wanted));
    }
    let mismatch = ["invalid type: ", "invalid value: "].iter().find_map(|kind| text.strip_prefix(kind));
    if let Some((got, wanted)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("must be {}; got {}", expected(wanted), found(got, source));
    }
    if NO_BASE64.iter().any(|said| text.starts_with(said)) {
        return "must be base64".to_owned();
    }
    text.to_owned()
}

/// What serde expects, as JSON calls it.
fn expected(wanted: &str) -> String {
    match wanted {
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        _ if wanted.starts_with("struct ") => "a JSON object".to_owned(),
        _ if wanted.starts_with("expected one of: [") || wanted.starts_with("one of: [") => choice(wanted, '"'),
        _ => wanted.to_owned(),
    }
}

/// The names of a list that stand between such quotes. A value that says nothing needs no mention.
fn choice(list: &str, quote: char) -> String {
    let names: Vec<&str> = list.split(quote).skip(1).step_by(2).filter(|name| !name.ends_with("_UNSPECIFIED")).collect();
    if let [name] = names[..] { name.to_owned() } else { format!("one of {}", names.join(", ")) }
}

/// What serde found, as JSON calls it.
fn found(got: &str, source: Source) -> String {
    match got {
        "sequence" => return "an array".to_owned(),
        "map" => return "an object".to_owned(),
        "null" | "unit value" | "Option value" => return "null".to_owned(),
        _ => {}
    }
    if let Some(text) = got.strip_prefix("string ") {
        return shown(text, source);
    }
    let kinds = ["integer `", "floating point `", "boolean `", "character `"];
    let scalar = kinds.iter().find_map(|kind| got.strip_prefix(kind)?.strip_suffix('`'));
    scalar.unwrap_or(got).to_owned()
}

/// A text in its quotes, shortened.
fn shown(quoted: &str, source: Source) -> String {
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted);
    if source == Source::Text && inner.len() <= SHOWN && inner.parse::<f64>().is_ok_and(f64::is_finite) {
        return inner.to_owned();
    }
    let short: String = inner.chars().take(SHOWN).collect();
    let mark = if short.len() < inner.len() { "…" } else { "" };
    format!("\"{short}{mark}\"")
}

/// `changes[3].write`; a part that serde could not name is left out.
fn spelled(path: &Path) -> String {
    let mut field = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => field.push_str(&format!("[{index}]")),
            Segment::Map { key } => {
                if !field.is_empty() {
                    field.push('.');
                }
                field.push_str(key);
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    field
}
