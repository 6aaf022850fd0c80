//! Error texts for clients: what is wrong with a request. The texts of serde and serde_json are for Rust programmers.

use proto::error::{ErrorCode, Fault, FieldViolation};
use serde::de::IgnoredAny;
use serde_path_to_error::{Path, Segment};

use crate::error::{Failure, SERVICE, fault};

/// At most so many characters of a value are in an error text.
const MAX_QUOTED: usize = 40;
/// The syntax errors of serde_json, and our texts for them.
const SYNTAX: [(&str, &str); 21] = [
    ("EOF while parsing a list", "it ends inside an array"),
    ("EOF while parsing an object", "it ends inside an object"),
    ("EOF while parsing a string", "it ends inside a string"),
    ("EOF while parsing a value", "it ends where a value is expected"),
    ("expected `:`", "a colon is expected after the name of a field"),
    ("expected `,` or `]`", "a comma or ] is expected"),
    ("expected `,` or `}`", "a comma or } is expected"),
    ("expected `\"`", "a string in double quotes is expected"),
    ("expected ident", "a value is expected; the only words are true, false and null"),
    ("expected value", "a value is expected: an object, an array, a string in double quotes, a number, true, false or null"),
    ("invalid escape", "a string has an escape that is not valid in JSON"),
    ("invalid number", "a number is not valid in JSON"),
    ("number out of range", "a number is too large"),
    ("invalid unicode code point", "a string is not UTF-8, or an escape in it is not a character"),
    ("control character (\\u0000-\\u001F) found while parsing a string", "a string contains a control character; write it as an escape"),
    ("key must be a string", "the name of a field must be a string in double quotes"),
    ("lone leading surrogate in hex escape", "an escape of a string is half of a character"),
    ("unexpected end of hex escape", "an escape of a string is half of a character"),
    ("recursion limit exceeded", "it is nested too deeply"),
    ("trailing comma", "a comma has nothing after it"),
    ("trailing characters", "something follows the value"),
];
/// The errors of the base64 decoder.
const BASE64_ERRORS: [&str; 4] = ["Invalid symbol", "Invalid last symbol", "Invalid input length", "Invalid padding"];

/// The errors of the parser of times.
const TIME_ERRORS: [&str; 6] = [
    "input contains invalid characters",
    "input is not enough for unique date and time",
    "input is out of range",
    "no possible date and time matching input",
    "premature end of input",
    "trailing input",
];

/// Where the values of a request come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Json,
    /// The query. Its values have no types, so a number is not quoted in error texts.
    Query,
}

/// The body is not JSON.
pub(super) fn syntax_failure(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let text = without_position(&text);
    let explanation = SYNTAX.iter().find(|(error, _)| *error == text).map_or("it cannot be read", |(_, explanation)| explanation);
    let description = format!("{explanation} (line {}, column {})", error.line(), error.column());
    let mut fault = fault(ErrorCode::InvalidArgument, "INVALID_JSON", format!("the body cannot be read as JSON: {description}"));
    fault.violations = vec![FieldViolation { field: String::new(), description }];
    fault.into()
}

/// The text without its position.
fn without_position(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text)
}

/// The fault of a field, from the error of serde.
pub(super) fn field_fault(path: &Path, text: &str, source: Source) -> Fault {
    let text = if source == Source::Json { without_position(text) } else { text };
    let mut field = field_path(path);
    let named = ["unknown field", "duplicate field", "missing field"].iter().find_map(|kind| {
        let name = text.strip_prefix(kind)?.strip_prefix(" `")?.split('`').next()?;
        Some((*kind, name))
    });
    let description = match named {
        Some((kind, name)) => {
            // The path ends at the field or at its parent, depending on where serde stopped.
            if field != name && !field.ends_with(&format!(".{name}")) {
                field = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
            }
            match kind {
                "unknown field" => "is not a field of this request".to_owned(),
                "duplicate field" => "must be given once".to_owned(),
                _ => "must be given".to_owned(),
            }
        }
        None => describe_value(text, source),
    };
    Fault::invalid(SERVICE, vec![FieldViolation { field, description }])
}

/// The failure of a body that is JSON but not an object.
pub(super) fn not_an_object(bytes: &[u8]) -> Option<Failure> {
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

/// The value of a parameter or a header, quoted for an error text.
pub(crate) fn quoted_value(text: &str) -> String {
    shorten(&format!("{text:?}"), Source::Query)
}

/// Describes the expected and the actual value.
fn describe_value(text: &str, source: Source) -> String {
    if let Some((got, expected)) = text.strip_prefix("unknown variant `").and_then(|rest| rest.rsplit_once("`, expected ")) {
        return format!("must be {}; got {}", choice(expected, '`'), shorten(&format!("{got:?}"), source));
    }
    // serde can read a struct from a list of its values. Here a message must be an object.
    if let Some((_, wanted)) = text.strip_prefix("invalid length ").and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("must be {}; got an array", expected(wanted));
    }
    let mismatch = ["invalid type: ", "invalid value: "].iter().find_map(|kind| text.strip_prefix(kind));
    if let Some((got, wanted)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("must be {}; got {}", expected(wanted), found(got, source));
    }
    if BASE64_ERRORS.iter().any(|error| text.starts_with(error)) {
        return "must be base64".to_owned();
    }
    if TIME_ERRORS.contains(&text) {
        return "must be a time of RFC 3339, such as 2026-11-28T12:00:00Z".to_owned();
    }
    text.to_owned()
}

/// What serde expects, in the terms of JSON.
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

/// The quoted names of a list, without the unspecified value.
fn choice(list: &str, quote: char) -> String {
    let names: Vec<&str> = list.split(quote).skip(1).step_by(2).filter(|name| !name.ends_with("_UNSPECIFIED")).collect();
    if let [name] = names[..] { name.to_owned() } else { format!("one of {}", names.join(", ")) }
}

/// What serde found, in the terms of JSON.
fn found(got: &str, source: Source) -> String {
    match got {
        "sequence" => return "an array".to_owned(),
        "map" => return "an object".to_owned(),
        "null" | "unit value" | "Option value" => return "null".to_owned(),
        _ => {}
    }
    if let Some(text) = got.strip_prefix("string ") {
        return shorten(text, source);
    }
    let kinds = ["integer `", "floating point `", "boolean `", "character `"];
    let scalar = kinds.iter().find_map(|kind| got.strip_prefix(kind)?.strip_suffix('`'));
    scalar.unwrap_or(got).to_owned()
}

/// A quoted text, shortened.
fn shorten(quoted: &str, source: Source) -> String {
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted);
    if source == Source::Query && inner.len() <= MAX_QUOTED && inner.parse::<f64>().is_ok_and(f64::is_finite) {
        return inner.to_owned();
    }
    let short: String = inner.chars().take(MAX_QUOTED).collect();
    let mark = if short.len() < inner.len() { "…" } else { "" };
    format!("\"{short}{mark}\"")
}

/// A path such as `changes[3].write`. Parts without a name are left out.
fn field_path(path: &Path) -> String {
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
