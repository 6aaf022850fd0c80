//! The files of a project follow from the logs of its completed turns and from the person's saves. Each of these that changed something
//! made one revision.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Broken, Event, Project, Turn, steps::live};
use crate::record::Saved;

type Tree = BTreeMap<String, String>;

/// Who made a revision.
#[derive(Clone, Copy)]
enum Maker<'a> {
    Agent(&'a Turn),
    Person(&'a Saved),
}

pub(super) fn check(project: &Project, turns: &[&Turn], broken: &mut Broken<'_>) {
    let committed = |turn: &Turn| turn.log.iter().find(|event| event.kind == "files.committed").map(|event| event.number("number"));
    let by_turns = turns.iter().filter_map(|turn| Some((committed(turn)?, Maker::Agent(turn))));
    let mut revisions: Vec<_> = by_turns.chain(project.saved.iter().map(|saved| (saved.number, Maker::Person(saved)))).collect();
    revisions.sort_by_key(|(number, _)| *number);
    let numbers: Vec<u32> = revisions.iter().map(|(number, _)| *number).collect();
    let counted: Vec<u32> = (1..).take(numbers.len()).collect();
    broken.unless(numbers == counted && project.head == counted.last().copied().unwrap_or_default(), "revisions", || {
        format!("project {} has {} revisions, its turns and people tell of {numbers:?}", project.id, project.head)
    });
    broken.unless(project.doubled.is_empty(), "one revision a turn", || format!("more than one by {:?}", project.doubled));
    let mut tree = Tree::new();
    for (number, maker) in &revisions {
        match maker {
            Maker::Agent(turn) => {
                broken.unless(turn.row.state == "completed", "revisions", || {
                    format!("revision {number} is of a turn that {}", turn.row.state)
                });
                tell(&mut tree, &live(&turn.log));
            }
            Maker::Person(saved) => {
                if let Some(settled) = turns.iter().find(|turn| Some(&turn.watched.turn) == saved.settles.as_ref()) {
                    tell(&mut tree, &live(&settled.log));
                }
                tree.insert(saved.file.0.clone(), saved.file.1.clone());
            }
        }
    }
    broken.unless(tree == project.tree, "the tree", || {
        format!("of project {} is not what its logs tell: {}", project.id, difference(&tree, &project.tree))
    });
    for turn in turns.iter().filter(|turn| committed(turn).is_some()) {
        if let Some((path, content)) = turn.watched.ask.own_file() {
            let found = project.tree.get(&path);
            broken.unless(found == Some(&content), "the file", || format!("{path} of turn {} holds {found:?}", turn.watched.turn));
        }
    }
}

/// Does what a log tells to a tree.
pub fn tell(tree: &mut Tree, log: &[&Event]) {
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

fn difference(told: &Tree, found: &Tree) -> String {
    let missing: Vec<_> = told.keys().filter(|path| !found.contains_key(*path)).collect();
    let extra: Vec<_> = found.keys().filter(|path| !told.contains_key(*path)).collect();
    let other: Vec<_> = told.iter().filter(|(path, text)| found.get(*path).is_some_and(|f| f != *text)).map(|(path, _)| path).collect();
    format!("missing {missing:?}, too many {extra:?}, different {other:?}")
}
