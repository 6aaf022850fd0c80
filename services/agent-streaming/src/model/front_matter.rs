//! The front matter of a Markdown file: an agent, a skill, or the guidance of a project.

mod fields;
mod rules;

use proto::text::is_direction;
use serde_yaml_ng::Value;

use self::fields::{DENIED_TOOLS, Fields, TOOLS};
pub(crate) use self::rules::{ToolRules, is_all};

/// The longest description in characters. Other products put whole conversations there.
pub(crate) const MAX_DESCRIPTION: usize = 1_024;

/// The known fields. Each text is one [`line`].
#[derive(Debug, Default)]
pub(crate) struct FrontMatter {
    pub name: Option<String>,
    pub description: Option<String>,
    pub category: Option<String>,
    pub tags: Vec<String>,
    pub tools: ToolRules,
    pub model: Option<String>,
    pub examples: Vec<String>,
}

/// Why a text has no front matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoFrontMatter {
    #[error("does not begin with front matter between two lines of ---")]
    Absent,
    /// It begins like a front matter, but where that ends is not known.
    #[error("its front matter is not between two lines of ---")]
    Broken,
}

/// A text whose lines end with `\n`, without a byte order mark.
pub(crate) fn normalized(text: &str) -> String {
    text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n")
}

/// Splits a file into its front matter and the text after it, without surrounding white space. Line ends become `\n`.
///
/// # Errors
/// It has no front matter.
pub(crate) fn split(text: &str) -> Result<(String, String), NoFrontMatter> {
    let text = normalized(text);
    let text = text.trim_start_matches(is_space);
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let after = first.strip_prefix("---").filter(|after| after.is_empty() || after.starts_with(is_space)).ok_or(NoFrontMatter::Absent)?;
    if !after.trim_matches(is_space).is_empty() {
        return Err(NoFrontMatter::Broken);
    }
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        let next = end + line.len();
        if line.trim_end_matches(is_space) == "---" {
            return Ok((rest[..end].to_owned(), rest[next..].trim().to_owned()));
        }
        end = next;
    }
    Err(NoFrontMatter::Broken)
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Checks that a text has no control characters but tabs and line ends. The database cannot store all of them.
///
/// # Errors
/// It has some.
pub(crate) fn check_characters(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err("has control characters".to_owned());
    }
    Ok(())
}

/// A text with single spaces in place of all white space, control characters, and characters that change the direction of the text.
pub(crate) fn line(text: &str) -> String {
    text.split(|c| is_space(c) || is_direction(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A description cut to [`MAX_DESCRIPTION`].
pub(crate) fn cut_description(description: String, notes: &mut Vec<String>) -> String {
    let kept: String = description.chars().take(MAX_DESCRIPTION).collect();
    if kept.len() < description.len() {
        notes.push(format!("its description is cut after {MAX_DESCRIPTION} characters"));
    }
    kept
}

impl FrontMatter {
    /// Never fails: text that is not YAML is read line by line. Other fields are ignored.
    pub(crate) fn read(text: &str, notes: &mut Vec<String>) -> Self {
        let Fields { mut values, is_doubtful } = Fields::read(text, notes);
        let tools = ToolRules::of(values.remove(TOOLS).as_ref(), values.remove(DENIED_TOOLS).as_ref(), is_doubtful);
        let mut take = |name: &str| values.remove(name).filter(|value| !value.is_null());
        let mut text = |name: &str| take(name).and_then(|value| scalar(&value)).map(|text| line(&text));
        let (name, description) = (text("name"), text("description"));
        let (category, model) = (text("category"), text("model"));
        let tags = take("tags").map(|value| list(&value, true)).unwrap_or_default();
        let examples = take("examples").map(|value| list(&value, false)).unwrap_or_default();
        take("version");
        let ignored: Vec<&str> = values.keys().map(String::as_str).collect();
        if !ignored.is_empty() {
            notes.push(format!("ignores {}", ignored.join(", ")));
        }
        Self { name, description, category, tags, tools, model, examples }
    }
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

/// The texts of a list, each on one line. A text is a list of one, or of its parts between commas.
fn list(value: &Value, splits: bool) -> Vec<String> {
    let texts: Vec<String> = match value {
        Value::Sequence(items) => items.iter().filter_map(scalar).collect(),
        Value::String(text) if splits => {
            let text = text.trim().trim_start_matches('[').trim_end_matches(']');
            text.split(',').map(|part| part.trim().trim_matches(['"', '\'']).to_owned()).collect()
        }
        other => scalar(other).into_iter().collect(),
    };
    texts.iter().map(|text| line(text)).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests;
