//! The files that a turn changes, as a client shows them: one entry for each path, which later entries replace.

use std::collections::{BTreeMap, HashMap};

use proto::agent_streaming::FileOperation;
use serde::Serialize;

/// The reason of a change that was begun but neither made nor refused.
const UNFINISHED: &str = "UNFINISHED";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// The file is being changed.
    Streaming,
    /// The change is staged. It is part of the project when the turn completes.
    Applied,
    /// The change was not made, or the turn ended without it.
    Failed,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct File {
    pub(crate) path: String,
    /// `write` creates a file or replaces its content; the log does not distinguish them.
    pub(crate) op: &'static str,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u32>,
    /// Its old path, after a rename.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// Its new path, after a rename.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What happens to files that the superseded step has added.
#[derive(Debug, Clone, Copy)]
pub(super) enum NewFiles {
    /// The client drops them with the step.
    Drop,
    /// They are shown as failed.
    Fail(&'static str),
}

#[derive(Debug, Default)]
pub(super) struct Files {
    current: BTreeMap<String, File>,
    /// The entries that the open step has changed, as they were before; `None` for a new entry.
    before: BTreeMap<String, Option<File>>,
    /// Path and operation by call, until the change is made or refused.
    open: HashMap<String, (String, &'static str)>,
}

impl Files {
    pub(super) fn opened(&mut self, call: &str, path: &str, operation: FileOperation) -> File {
        let op = match operation {
            FileOperation::Edit => "update",
            FileOperation::Delete => "delete",
            FileOperation::Rename => "rename",
            FileOperation::Write | FileOperation::Unspecified => "write",
        };
        self.open.insert(call.to_owned(), (path.to_owned(), op));
        self.put(path, op, Status::Streaming, |_| {})
    }

    pub(super) fn path_of(&self, call: &str) -> Option<&str> {
        self.open.get(call).map(|(path, _)| path.as_str())
    }

    /// The change is made. A rename changes two entries.
    pub(super) fn closed(&mut self, call: &str, path: &str, bytes: u32) -> Vec<File> {
        let Some((old, op)) = self.open.remove(call) else { return Vec::new() };
        let mut changed = Vec::new();
        if op == "rename" && old != path {
            changed.push(self.put(&old, op, Status::Applied, |file| file.to = Some(path.to_owned())));
            changed.push(self.put(path, op, Status::Applied, |file| (file.bytes, file.from) = (Some(bytes), Some(old))));
        } else {
            changed.push(self.put(path, op, Status::Applied, |file| file.bytes = Some(bytes)));
        }
        changed
    }

    pub(super) fn rejected(&mut self, call: &str, reason: &str) -> Option<File> {
        let (path, op) = self.open.remove(call)?;
        Some(self.put(&path, op, Status::Failed, |file| file.reason = Some(reason.to_owned())))
    }

    /// Keeps the changes of the open step. Returns those that are unfinished, as failed.
    pub(super) fn keep(&mut self) -> Vec<File> {
        let open: Vec<_> = std::mem::take(&mut self.open).into_values().collect();
        let fail = |(path, op): (String, _)| self.put(&path, op, Status::Failed, |file| file.reason = Some(UNFINISHED.to_owned()));
        let failed = open.into_iter().map(fail).collect();
        self.before.clear();
        failed
    }

    /// Undoes the open step. Returns the entries that change.
    pub(super) fn restore(&mut self, new: NewFiles) -> Vec<File> {
        self.open.clear();
        let mut changed = Vec::new();
        for (path, before) in std::mem::take(&mut self.before) {
            match (before, self.current.remove(&path), new) {
                (Some(file), ..) => {
                    self.current.insert(path, file.clone());
                    changed.push(file);
                }
                (None, Some(file), NewFiles::Fail(reason)) => changed.push(failed(file, reason)),
                (None, ..) => {}
            }
        }
        changed
    }

    /// Marks all files as failed. Returns those that had not failed before.
    pub(super) fn fail_all(&mut self, reason: &str) -> Vec<File> {
        let files = std::mem::take(&mut self.current).into_values().filter(|file| file.status != Status::Failed);
        files.map(|file| failed(file, reason)).collect()
    }

    fn put(&mut self, path: &str, op: &'static str, status: Status, more: impl FnOnce(&mut File)) -> File {
        let mut file = File { path: path.to_owned(), op, status, bytes: None, from: None, to: None, reason: None };
        more(&mut file);
        let old = self.current.insert(path.to_owned(), file.clone());
        self.before.entry(path.to_owned()).or_insert(old);
        file
    }
}

fn failed(file: File, reason: &str) -> File {
    File { status: Status::Failed, reason: Some(reason.to_owned()), ..file }
}
