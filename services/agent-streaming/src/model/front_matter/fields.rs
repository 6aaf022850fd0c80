//! The fields of a front matter: those of YAML, or what can be read line by line of a text that is not YAML.

use std::collections::BTreeMap;

use serde_yaml_ng::{Mapping, Value};

use super::scalar;

/// The largest front matter in bytes that is read as YAML.
const MAX_YAML: usize = 32 * 1024;
/// The fields that say which tools a reader of the text has.
pub(super) const TOOLS: &str = "tools";
pub(super) const DENIED_TOOLS: &str = "disallowedTools";
/// The key that merges another mapping.
const MERGE: &str = "<<";

/// The fields of a front matter.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields {
    pub values: BTreeMap<String, Value>,
    /// Whether it may say more of tools than these fields.
    pub is_doubtful: bool,
}

impl Fields {
    /// Never fails: text that is not YAML is read line by line, up to [`MAX_YAML`].
    pub(super) fn read(text: &str, notes: &mut Vec<String>) -> Self {
        match yaml(text) {
            Ok(fields) => fields,
            Err(problem) => {
                notes.push(format!("its front matter {problem}; each line `field: value` counts, and each line `- item` below a field"));
                let kept = &text[..text.floor_char_boundary(MAX_YAML)];
                let fields = lines(kept);
                Self { is_doubtful: fields.is_doubtful || kept.len() < text.len(), ..fields }
            }
        }
    }
}

/// The fields of YAML without anchors: a short text with many references would be a large value. They are doubtful if a key is not a text, or if one
/// mapping is merged into another.
fn yaml(text: &str) -> Result<Fields, String> {
    if text.len() > MAX_YAML {
        return Err(format!("has more than {MAX_YAML} bytes"));
    }
    if has_anchor(text) {
        return Err("has anchors".to_owned());
    }
    if !text.lines().any(|line| is_content(line.trim())) {
        return Ok(Fields::default());
    }
    // A map of Rust would take the last of two values of a field.
    let fields: Mapping = serde_yaml_ng::from_str(text).map_err(|error| format!("is not YAML ({error})"))?;
    let is_doubtful = fields.keys().any(|name| scalar(name).is_none_or(|name| name == MERGE));
    Ok(Fields { values: fields.into_iter().filter_map(|(name, value)| Some((scalar(&name)?, value))).collect(), is_doubtful })
}

/// Whether a text may have an anchor. Its mark is at the beginning of a value, and a name of letters, digits, `_` and `-` follows it.
fn has_anchor(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins = |before: &str| before.chars().next_back().is_none_or(|c| !c.is_alphanumeric());
    text.match_indices('&').any(|(at, mark)| text[at + mark.len()..].starts_with(is_name) && begins(&text[..at]))
}

fn is_content(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// The lines of one field.
struct Raw<'a> {
    name: &'a str,
    /// What stands after the name.
    value: &'a str,
    /// The lines up to the next field, without those that are empty.
    below: Vec<&'a str>,
}

fn lines(text: &str) -> Fields {
    let mut found: Vec<Raw<'_>> = Vec::new();
    for line in text.lines() {
        if let Some((name, value)) = start(line) {
            found.push(Raw { name, value, below: Vec::new() });
        } else if let Some(field) = found.last_mut() {
            field.below.extend(Some(line.trim()).filter(|line| is_content(line)));
        }
    }
    let known = |name: &str| found.iter().filter(|field| field.name == name).count();
    let is_doubtful = text.lines().any(is_other_form)
        || text.matches(DENIED_TOOLS).count() > known(DENIED_TOOLS)
        || text.lines().filter(|line| names_tools(line)).count() > known(TOOLS);
    let mut fields = Fields { is_doubtful, ..Fields::default() };
    for field in found {
        let other = fields.values.insert(field.name.to_owned(), field.value());
        fields.is_doubtful |= is_of_tools(field.name) && (other.is_some() || !field.is_plain());
    }
    fields
}

/// Whether a line may name a field in a form that is not read here: a mapping in braces, a key of its own, an escape, or a directive.
fn is_other_form(line: &str) -> bool {
    let line = line.trim();
    let key = line.split_once(':').map_or(line, |(key, _)| key);
    line.starts_with(['{', '%']) || line == "?" || line.starts_with("? ") || (key.starts_with('"') && key.contains('\\'))
}

/// Whether the first key of a line is the field of tools, whatever stands before it.
fn names_tools(line: &str) -> bool {
    let Some((key, _)) = line.split_once(':') else { return false };
    let name = key.trim_end().trim_end_matches(['"', '\'']);
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    name.strip_suffix(TOOLS).is_some_and(|before| !before.ends_with(is_part))
}

fn is_of_tools(name: &str) -> bool {
    [TOOLS, DENIED_TOOLS].contains(&name)
}

/// The name and the value of a line `field: value`. The fields of tools may be indented or in quotes.
fn start(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let bare = name.trim().trim_matches(['"', '\'']);
    if is_of_tools(bare) {
        return Some((bare, value.trim()));
    }
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    is_name.then(|| (name, value.trim()))
}

impl Raw<'_> {
    /// The items below, or else the text after the name. That of the fields of tools goes on below.
    fn value(&self) -> Value {
        let items: Option<Vec<&str>> = self.below.iter().map(|line| item(line)).collect();
        match items {
            Some(items) if self.value.is_empty() && !items.is_empty() => {
                Value::Sequence(items.into_iter().map(|item| Value::String(item.trim_matches(['"', '\'']).to_owned())).collect())
            }
            _ if is_of_tools(self.name) => Value::String(self.text()),
            _ => Value::String(self.value.trim_matches('"').to_owned()),
        }
    }

    /// All lines as one text, without comments.
    fn text(&self) -> String {
        let lines = std::iter::once(&self.value).chain(&self.below).map(|line| line.split_once(" #").map_or(*line, |(text, _)| text));
        lines.collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// Whether no word can mean more in YAML than itself.
    fn is_plain(&self) -> bool {
        self.text().split(|c: char| c.is_whitespace() || ",[]()\"'".contains(c)).all(is_plain_word)
    }
}

/// The text of a line `- item`.
fn item(line: &str) -> Option<&str> {
    let item = line.strip_prefix('-').filter(|item| item.is_empty() || item.starts_with([' ', '\t']))?;
    Some(item.split_once(" #").map_or(item, |(item, _)| item).trim())
}

/// Whether a word is no alias, no mark of another value and no part of a mapping.
fn is_plain_word(word: &str) -> bool {
    let is_alias = word.strip_prefix('*').is_some_and(|name| name.starts_with(|c: char| c.is_alphanumeric()));
    !is_alias && !word.starts_with(['&', '!', '|', '>', '%', '@', '`', '?']) && !word.contains(['{', '}']) && !word.ends_with(':')
}
