//! The front matter of a Markdown file: an agent, a skill, or the guidance of a project.

use std::collections::BTreeMap;

use serde_yaml_ng::Value;

/// The fields that Backlot reads besides the name. Everything else is ignored.
const FIELDS: [&str; 9] = ["name", "description", "category", "tags", "tools", "disallowedTools", "model", "examples", "version"];
/// The largest front matter in bytes that is read as YAML.
const MAX_YAML: usize = 32 * 1024;

/// The known fields.
#[derive(Debug, Default)]
pub(crate) struct FrontMatter {
    pub name: Option<String>,
    pub description: Option<String>,
    pub category: Option<String>,
    pub tags: Vec<String>,
    /// `None` if the field is absent.
    pub tools: Option<Vec<String>>,
    /// Tools that the agent must not have.
    pub denied_tools: Vec<String>,
    pub model: Option<String>,
    pub examples: Vec<String>,
}

/// Splits a file into its front matter and the text after it, without surrounding white space. Line ends become `\n`.
///
/// # Errors
/// It has no front matter, or control characters.
pub(crate) fn split(text: &str) -> Result<(String, String), String> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err("has control characters".to_owned());
    }
    let rest = text.trim_start().strip_prefix("---\n").ok_or("does not begin with front matter between two lines of ---")?;
    let (front, body) = rest
        .split_once("\n---\n")
        .or_else(|| Some((rest.strip_suffix("\n---")?, "")))
        .ok_or("its front matter does not end with a line of ---")?;
    Ok((front.to_owned(), body.trim().to_owned()))
}

/// A text with single spaces in place of all white space and control characters.
pub(crate) fn line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

impl FrontMatter {
    /// Never fails: text that is not YAML is read line by line.
    pub(crate) fn read(text: &str, notes: &mut Vec<String>) -> Self {
        let mut fields = yaml(text).unwrap_or_else(|problem| {
            notes.push(format!("its front matter {problem}; each line `field: value` counts"));
            lines(text)
        });
        let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
        let tools = take("tools");
        let denied = take("disallowedTools").map(|value| list(&value, true)).unwrap_or_default();
        let (tools, denied_by_tools) = tools.as_ref().map_or((None, Vec::new()), allowed_and_denied);
        let front = Self {
            name: take("name").and_then(|value| scalar(&value)),
            description: take("description").and_then(|value| scalar(&value)),
            category: take("category").and_then(|value| scalar(&value)),
            tags: take("tags").map(|value| list(&value, true)).unwrap_or_default(),
            tools,
            denied_tools: [denied, denied_by_tools].concat(),
            model: take("model").and_then(|value| scalar(&value)),
            examples: take("examples").map(|value| list(&value, false)).unwrap_or_default(),
        };
        take("version");
        let ignored: Vec<&str> = fields.keys().map(String::as_str).filter(|name| !FIELDS.contains(name)).collect();
        if !ignored.is_empty() {
            notes.push(format!("ignores {}", ignored.join(", ")));
        }
        front
    }
}

/// The fields of YAML without anchors: a short text with many references would be a large value.
fn yaml(text: &str) -> Result<BTreeMap<String, Value>, String> {
    if text.len() > MAX_YAML {
        return Err(format!("has more than {MAX_YAML} bytes"));
    }
    let is_anchor = |word: &str| word.strip_prefix('&').is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if text.split(|c: char| c.is_whitespace() || "[{,".contains(c)).any(is_anchor) {
        return Err("has anchors".to_owned());
    }
    serde_yaml_ng::from_str(text).map_err(|error| format!("is not YAML ({error})"))
}

/// The tools that an agent may have, `None` if all that are not denied, and those that are denied: a list has the first, and a mapping, as in
/// `tools: {write: true, bash: false}`, has both.
fn allowed_and_denied(tools: &Value) -> (Option<Vec<String>>, Vec<String>) {
    let Value::Mapping(entries) = tools else { return (Some(list(tools, true)), Vec::new()) };
    let of = |is_allowed: bool| {
        let entries = entries.iter().filter(|(_, value)| (value.as_bool() != Some(false)) == is_allowed);
        entries.filter_map(|(name, _)| scalar(name)).collect::<Vec<_>>()
    };
    let (allowed, denied) = (of(true), of(false));
    (if allowed.is_empty() { None } else { Some(allowed) }, denied)
}

/// The lines `field: value`. Lines that continue a field are dropped.
fn lines(text: &str) -> BTreeMap<String, Value> {
    let fields = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        is_name.then(|| (name.to_owned(), Value::String(value.trim().trim_matches('"').to_owned())))
    });
    fields.collect()
}

/// A text, a number or a Boolean value as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// The texts of a list. A text is a list of one, or of its parts between commas outside of parentheses.
fn list(value: &Value, splits: bool) -> Vec<String> {
    match value {
        Value::Sequence(items) => items.iter().filter_map(scalar).collect(),
        Value::String(text) if splits => {
            let text = text.trim().trim_start_matches('[').trim_end_matches(']');
            let mut depth = 0_usize;
            let is_comma = |c: char| {
                depth = match c {
                    '(' => depth + 1,
                    ')' => depth.saturating_sub(1),
                    _ => depth,
                };
                c == ',' && depth == 0
            };
            text.split(is_comma).map(|part| part.trim().trim_matches(['"', '\'']).to_owned()).collect()
        }
        other => scalar(other).into_iter().collect(),
    }
}
