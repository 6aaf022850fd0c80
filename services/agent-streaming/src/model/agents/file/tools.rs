//! The tools of an agent.

use crate::{
    model::front_matter::{ToolRules, is_all},
    workspace::tools::catalogue::NAMES,
};

/// Names of our tools in other coding agents.
const ALIASES: &[(&str, &str)] = &[
    ("ls", "list_files"),
    ("glob", "list_files"),
    ("read", "read_file"),
    ("grep", "search"),
    ("write", "write_file"),
    ("edit", "edit_file"),
    ("multiedit", "edit_file"),
];
/// What an agent gets that has tools, of which none is known here, and the most that rules give that cannot be read.
pub(crate) const READING: [&str; 3] = ["list_files", "read_file", "search"];

/// The names of the tools in the order of the catalogue: all of them without a list, else the known ones, without those that are denied.
pub(crate) fn known(rules: &ToolRules, notes: &mut Vec<String>) -> Vec<String> {
    let denied = names(&rules.denied);
    let unknown: Vec<&str> = denied.iter().map(String::as_str).filter(|name| !NAMES.iter().any(|tool| denies(name, tool))).collect();
    if !unknown.is_empty() {
        notes.push(format!("denies tools that Backlot does not have: {}", unknown.join(", ")));
    }
    let mut known = rules.allowed.as_ref().map_or_else(|| NAMES.to_vec(), |listed| of_list(listed, notes));
    known.retain(|tool| !denied.iter().any(|name| denies(name, tool)));
    if rules.is_unreadable {
        notes.push(format!("its tools or disallowedTools cannot be read; it gets at most {}", READING.join(", ")));
        known.retain(|tool| READING.contains(tool));
    }
    known.into_iter().map(str::to_owned).collect()
}

/// The names in some texts in lower case, without the parameters that some products write behind them, as in `Bash(npm:*)`.
fn names(texts: &[String]) -> Vec<String> {
    let words = |text: &String| {
        let mut depth = 0_usize;
        let is_outside = |c: &char| {
            let before = depth;
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            before == 0 && depth == 0
        };
        let text: String = text.chars().filter(is_outside).collect();
        let words = text.split(|c: char| c.is_whitespace() || ",[]\"'".contains(c)).filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect::<Vec<_>>()
    };
    texts.iter().flat_map(words).collect()
}

fn find(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name || ALIASES.contains(&(name, *known)))
}

/// Whether a name, in which `*` stands for any characters, denies a tool.
fn denies(name: &str, tool: &str) -> bool {
    is_all(name) || matches(name, tool) || ALIASES.iter().any(|(alias, known)| *known == tool && matches(name, alias))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let rest = rest.trim_start_matches('*');
            name.strip_prefix(start).is_some_and(|end| (0..=end.len()).any(|at| matches(rest, &end[at..])))
        }
    }
}

fn of_list(listed: &[String], notes: &mut Vec<String>) -> Vec<&'static str> {
    if listed.is_empty() {
        return Vec::new();
    }
    let listed = names(listed);
    if listed.iter().any(|name| is_all(name)) {
        return NAMES.to_vec();
    }
    let unknown: Vec<&str> = listed.iter().map(String::as_str).filter(|name| find(name).is_none()).collect();
    if !unknown.is_empty() {
        notes.push(format!("ignores the tools {}", unknown.join(", ")));
    }
    let known: Vec<&str> = listed.iter().filter_map(|name| find(name)).collect();
    if known.is_empty() {
        notes.push(format!("has none of the tools of Backlot; it gets {}", READING.join(", ")));
        return READING.to_vec();
    }
    NAMES.into_iter().filter(|name| known.contains(name)).collect()
}
