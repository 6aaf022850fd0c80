//! The tools of an agent.

use crate::workspace::tools::catalogue::NAMES;

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
/// What an agent gets that has tools, of which none is known here.
const READING: [&str; 3] = ["list_files", "read_file", "search"];

/// The names of the tools in the order of the catalogue: all of them without a list, else the known ones, without those that are denied.
pub(crate) fn known(listed: Option<Vec<String>>, denied: &[String], notes: &mut Vec<String>) -> Vec<String> {
    let denied: Vec<&str> = denied.iter().filter_map(|name| find(&plain(name))).collect();
    let mut known = listed.map_or_else(|| NAMES.to_vec(), |listed| of_list(&listed, notes));
    known.retain(|name| !denied.contains(name));
    known.into_iter().map(str::to_owned).collect()
}

/// A name in lower case, without the parameters that some products write behind it, as in `Bash(npm:*)`.
fn plain(name: &str) -> String {
    name.split('(').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn find(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name || ALIASES.contains(&(name, *known)))
}

fn of_list(listed: &[String], notes: &mut Vec<String>) -> Vec<&'static str> {
    let listed: Vec<String> = listed.iter().map(|name| plain(name)).filter(|name| !name.is_empty()).collect();
    if listed.iter().any(|name| name == "*" || name == "all") {
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
