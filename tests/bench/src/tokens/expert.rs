//! The model: an expert that knows which files a task changes. It reads those that the prompt does not have, changes them in one step, and says so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use test_support::model_server::{Answer, Request, Script, Stop};

use super::prompt::file;

/// The answer after the changes.
pub(super) const ANSWER: &str = "It is done as you asked.";

/// A change of one file.
#[derive(Debug, Clone)]
struct Change {
    path: String,
    /// The file as a prompt has it.
    shown: String,
    old: String,
    new: String,
}

/// What the expert does in the current turn.
#[derive(Debug, Default, Clone)]
pub(super) struct Expert(Arc<Mutex<Vec<Change>>>);

impl Expert {
    pub(super) fn script(&self) -> Script {
        let changes = Arc::clone(&self.0);
        Script::with(move |_, request| Some(answer(&changes.lock().unwrap_or_else(PoisonError::into_inner), request)))
    }

    /// Takes on a task. Returns the files as they are after it. Each change adds a space to a line, which is right in every language.
    pub(super) fn take(&self, files: &BTreeMap<String, String>, edited: &[String]) -> Result<BTreeMap<String, String>> {
        let mut changes = Vec::new();
        let mut changed = BTreeMap::new();
        for path in edited {
            let text = files.get(path).with_context(|| format!("there is no {path}"))?;
            let once = |line: &&str| !line.trim().is_empty() && text.matches(*line).count() == 1;
            let old = text.lines().filter(once).max_by_key(|line| line.len()).with_context(|| format!("{path} has no line of its own"))?;
            let new = format!("{old} ");
            changed.insert(path.clone(), text.replacen(old, &new, 1));
            changes.push(Change { path: path.clone(), shown: file(path, text), old: old.to_owned(), new });
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = changes;
        Ok(changed)
    }
}

fn answer(changes: &[Change], request: &Request) -> Answer {
    let prompt = request.prompt();
    let called = calls_of(request);
    let has_called = |name: &str, path: &str| called.iter().any(|(tool, of)| tool == name && of == path);
    let unread: Vec<_> =
        changes.iter().filter(|change| !prompt.contains(change.shown.trim_end()) && !has_called("read_file", &change.path)).collect();
    if called.iter().any(|(tool, _)| tool == "edit_file") {
        return Answer::default().text(ANSWER);
    }
    let calls = match unread.is_empty() {
        false => unread.iter().map(|change| ("read_file", json!({ "path": change.path }))).collect::<Vec<_>>(),
        true => changes
            .iter()
            .map(|change| ("edit_file", json!({ "path": change.path, "old_text": change.old, "new_text": change.new })))
            .collect(),
    };
    calls.into_iter().fold(Answer::default(), |answer, (tool, input)| answer.tool(tool, input)).stop(Stop::ToolUse)
}

/// The calls since the last message of the person: tool and path.
fn calls_of(request: &Request) -> Vec<(String, String)> {
    let is_call = |block: &&Value| block["type"] == "tool_use";
    let since = super::prompt::steps(&request.body);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    since.iter().filter(is_call).map(|call| (text(&call["name"]), text(&call["input"]["path"]))).collect()
}
