//! The files of a project follow from the logs of its completed turns and from the saves of its owner. Each of these with changes creates
//! one revision. A turn overwrites no save that is newer than its base: it conflicts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Event, Project, Turn, Violations, steps::effective};
use crate::record::SavedRevision;

type Tree = BTreeMap<String, String>;

/// The author of a revision.
#[derive(Clone, Copy)]
enum Author<'a> {
    Agent(&'a Turn),
    User(&'a SavedRevision),
}

/// The number of the revision that a turn committed.
fn committed(turn: &Turn) -> Option<u32> {
    turn.log.iter().find(|event| event.kind == "files.committed").map(|event| event.number("number"))
}

/// The saves of a user have no line in common with what turns write. Therefore a turn that writes a file whose newest content was saved after
/// the base of the turn must conflict, and no other turn may.
fn check_bases(project: &Project, turns: &[&Turn], violations: &mut Violations<'_>) {
    let by_turns = turns.iter().flat_map(|turn| &turn.log).filter(|event| event.kind == "files.committed");
    let by_turns = by_turns.map(|event| (event.text("revision"), event.number("number")));
    let mut numbers: BTreeMap<&str, u32> = by_turns.chain(project.saved.iter().map(|saved| (saved.id.as_str(), saved.number))).collect();
    // The base of a turn in a project without files.
    numbers.insert("", 0);
    for turn in turns {
        let started = turn.log.iter().find(|event| event.kind == "turn.started");
        let Some(base) = started.and_then(|event| numbers.get(event.text("baseRevision")).copied()) else { continue };
        let end = committed(turn).unwrap_or(u32::MAX);
        let steps = turn.watched.prompt.steps();
        let writes = |path: &str| steps.iter().flat_map(|step| &step.calls).any(|(_, input)| input["path"] == path);
        let newer = project.saved.iter().find(|saved| base < saved.number && saved.number < end && writes(&saved.file.0));
        let id = &turn.watched.turn;
        match turn.row.state.as_str() {
            "completed" => violations.require(newer.is_none(), "a turn overwrites no newer save", || {
                format!("turn {id} with the base {base} committed revision {end} over {newer:?}")
            }),
            "conflicted" => violations.require(newer.is_some(), "a conflict has a newer save", || {
                format!("turn {id} with the base {base} is conflicted, and nobody saved its files meanwhile")
            }),
            _ => {}
        }
    }
}

pub(super) fn check(project: &Project, turns: &[&Turn], violations: &mut Violations<'_>) {
    check_bases(project, turns, violations);
    let by_turns = turns.iter().filter_map(|turn| Some((committed(turn)?, Author::Agent(turn))));
    let mut revisions: Vec<_> = by_turns.chain(project.saved.iter().map(|saved| (saved.number, Author::User(saved)))).collect();
    revisions.sort_by_key(|(number, _)| *number);
    let numbers: Vec<u32> = revisions.iter().map(|(number, _)| *number).collect();
    let counted: Vec<u32> = (1..).take(numbers.len()).collect();
    violations.require(numbers == counted && project.head == counted.last().copied().unwrap_or_default(), "revisions", || {
        format!("the newest revision of project {} is {}, its turns and saves have {numbers:?}", project.id, project.head)
    });
    violations.require(project.duplicates.is_empty(), "one revision per turn", || {
        format!("several revisions of the turns {:?}", project.duplicates)
    });
    let mut tree = Tree::new();
    for (number, author) in &revisions {
        match author {
            Author::Agent(turn) => {
                violations.require(turn.row.state == "completed", "revisions", || {
                    format!("revision {number} belongs to a turn that is {}", turn.row.state)
                });
                apply(&mut tree, &effective(&turn.log));
            }
            Author::User(saved) => {
                if let Some(resolved) = turns.iter().find(|turn| Some(&turn.watched.turn) == saved.resolves.as_ref()) {
                    apply(&mut tree, &effective(&resolved.log));
                }
                tree.insert(saved.file.0.clone(), saved.file.1.clone());
            }
        }
    }
    violations.require(tree == project.tree, "project files", || {
        format!("project {} differs from its logs: {}", project.id, difference(&tree, &project.tree))
    });
    for turn in turns.iter().filter(|turn| committed(turn).is_some()) {
        if let Some((path, content)) = turn.watched.prompt.own_file() {
            let found = project.tree.get(&path);
            violations.require(found == Some(&content), "file of the turn", || {
                format!("{path} of turn {} has the content {found:?}", turn.watched.turn)
            });
        }
    }
}

/// Applies the events of a log to a tree.
pub fn apply(tree: &mut Tree, log: &[&Event]) {
    let mut calls: BTreeMap<&str, (&str, Value)> = BTreeMap::new();
    let mut written: BTreeMap<&str, String> = BTreeMap::new();
    for event in log {
        let call = event.text("callId");
        match event.kind.as_str() {
            "tool.started" => drop(calls.insert(call, (event.text("tool"), Value::Null))),
            "tool.ready" => {
                if let Some((_, input)) = calls.get_mut(call) {
                    *input = serde_json::from_str(event.text("inputJson")).unwrap_or_default();
                }
            }
            "file.delta" => written.entry(call).or_default().push_str(event.text("text")),
            "file.closed" => {
                let (tool, input) = calls.remove(call).unwrap_or_default();
                change(tree, tool, &input, written.remove(call).unwrap_or_default());
            }
            _ => {}
        }
    }
}

fn change(tree: &mut Tree, tool: &str, input: &Value, written: String) {
    let part = |key: &str| input[key].as_str().unwrap_or_default().to_owned();
    match tool {
        "write_file" => drop(tree.insert(part("path"), written)),
        "edit_file" => {
            if let Some(file) = tree.get_mut(&part("path")) {
                *file = file.replacen(&part("old_text"), &part("new_text"), 1);
            }
        }
        "delete_file" => drop(tree.remove(&part("path"))),
        "rename_file" => {
            if let Some(file) = tree.remove(&part("path")) {
                tree.insert(part("new_path"), file);
            }
        }
        _ => {}
    }
}

fn difference(expected: &Tree, found: &Tree) -> String {
    let missing: Vec<_> = expected.keys().filter(|path| !found.contains_key(*path)).collect();
    let extra: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
    let different: Vec<_> =
        expected.iter().filter(|(path, text)| found.get(*path).is_some_and(|f| f != *text)).map(|(path, _)| path).collect();
    format!("missing {missing:?}, unexpected {extra:?}, different {different:?}")
}
