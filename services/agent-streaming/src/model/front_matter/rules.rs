//! What a front matter says of tools. What cannot be read is said, so that a reader of these rules allows less rather than more.

use serde_yaml_ng::{Mapping, Value};

use super::scalar;

/// The rules of the fields `tools` and `disallowedTools`. The names are as the file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToolRules {
    /// The tools that are allowed. `None` if all that are not denied are.
    pub allowed: Option<Vec<String>>,
    pub denied: Vec<String>,
    /// Whether a part of the rules cannot be read.
    pub is_unreadable: bool,
}

impl ToolRules {
    /// Rules that cannot be read at all.
    pub(crate) fn unreadable() -> Self {
        Self { is_unreadable: true, ..Self::default() }
    }

    /// The rules of the values of the two fields.
    pub(super) fn of(tools: Option<&Value>, denied: Option<&Value>, is_unreadable: bool) -> Self {
        let mut rules = Self { is_unreadable, ..Self::default() };
        match tools {
            None => {}
            Some(Value::Mapping(entries)) => rules.add_switches(entries),
            Some(value) => {
                rules.allowed = names(value);
                rules.is_unreadable |= rules.allowed.is_none();
            }
        }
        if let Some(value) = denied {
            let denied = names(value);
            rules.is_unreadable |= denied.is_none();
            rules.denied.extend(denied.unwrap_or_default());
        }
        // What follows a parenthesis that does not end is no name.
        rules.is_unreadable |= rules.denied.iter().any(|name| name.matches('(').count() != name.matches(')').count());
        rules
    }

    /// Adds a mapping, such as `{write: true, bash: false}`. If nothing is switched on, all that is not switched off is allowed.
    fn add_switches(&mut self, entries: &Mapping) {
        let (mut on, mut off) = (Vec::new(), Vec::new());
        for (name, value) in entries {
            match (scalar(name), switch(value)) {
                (Some(name), Some(true)) => on.push(name),
                (Some(name), Some(false)) => off.push(name),
                _ => self.is_unreadable = true,
            }
        }
        let is_closed = entries.is_empty() || off.iter().any(|name| is_all(name));
        off.retain(|name| !is_all(name));
        self.allowed = (is_closed || !on.is_empty()).then_some(on);
        self.denied.extend(off);
    }

    /// Whether they leave out a tool.
    pub(crate) fn narrows(&self) -> bool {
        *self != Self::default()
    }
}

/// Whether a name means every tool.
pub(crate) fn is_all(name: &str) -> bool {
    name == "*" || name.eq_ignore_ascii_case("all")
}

/// Whether a tool is switched on. `None` for a value that is no switch.
fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(true),
        Value::Bool(value) => Some(*value),
        Value::String(text) => match text.as_str() {
            "true" | "yes" | "on" | "allow" => Some(true),
            "false" | "no" | "off" | "deny" | "ask" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// The names of a list, or those of a text as one. `None` for what is neither.
fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Sequence(items) => items.iter().map(scalar).collect(),
        Value::String(text) if text.trim() == "[]" => Some(Vec::new()),
        Value::String(_) if is_blank(value) => None,
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        _ => None,
    }
}
