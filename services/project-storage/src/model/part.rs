//! The parts of a message, as they are stored: what an answer did, in order.

use serde::{Deserialize, Serialize};

use crate::git::{FileChange, Oid};

/// Files of one message.
const MAX_FILES: usize = 100;
/// Bytes of the paths of one message.
const FILE_BYTES: usize = 32 * 1024;

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part {
    Text {
        text: String,
        /// It was longer.
        truncated: bool,
    },
    ToolCall(ToolCall),
    File(ChangedFile),
    /// The usage of the turn.
    Usage(Tokens),
    /// How many parts are left out here.
    Omitted {
        count: u32,
    },
    /// A later release wrote it.
    #[serde(other)]
    Unknown,
}

/// A tool call of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToolCall {
    pub(crate) id: String,
    pub(crate) tool: String,
    /// JSON, unless it is cut or incomplete.
    pub(crate) arguments: String,
    pub(crate) state: CallState,
    pub(crate) result: String,
    /// Empty unless the call failed.
    pub(crate) error_reason: String,
    /// A text was longer.
    pub(crate) truncated: bool,
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallState {
    Succeeded,
    Failed,
    Unfinished,
    /// A later release wrote it.
    #[serde(other)]
    Unknown,
}

/// A file that the revision of an answer changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangedFile {
    pub(crate) path: String,
    pub(crate) status: FileStatus,
    /// Where a renamed file was; else empty.
    pub(crate) old_path: String,
    pub(crate) revision: String,
}

/// How a file changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FileStatus {
    Added,
    Modified,
    Deleted,
    Renamed,
    /// A later release wrote it.
    #[serde(other)]
    Unknown,
}

/// The tokens of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) input: u32,
    pub(crate) output: u32,
    pub(crate) cached_input: u32,
    pub(crate) cache_write_input: u32,
    pub(crate) reasoning: u32,
}

/// The parts of an answer with the files of its revision, before the usage.
pub(crate) fn with_files(mut parts: Vec<Part>, changes: Vec<FileChange>, revision: Oid) -> Vec<Part> {
    let usage = parts.pop_if(|part| matches!(part, Part::Usage(_)));
    let (count, mut bytes) = (changes.len(), 0);
    let fits = |file: &ChangedFile| {
        bytes += file.path.len() + file.old_path.len();
        bytes <= FILE_BYTES
    };
    let files: Vec<_> = changes.into_iter().take(MAX_FILES).map(|change| changed_file(change, revision)).take_while(fits).collect();
    let omitted = u32::try_from(count - files.len()).unwrap_or(u32::MAX);
    parts.extend(files.into_iter().map(Part::File));
    parts.extend((omitted > 0).then_some(Part::Omitted { count: omitted }));
    parts.extend(usage);
    parts
}

fn changed_file(change: FileChange, revision: Oid) -> ChangedFile {
    let (path, status, old_path) = match change {
        FileChange::Added { path, .. } => (path, FileStatus::Added, String::new()),
        FileChange::Modified { path, .. } => (path, FileStatus::Modified, String::new()),
        FileChange::Deleted { path, .. } => (path, FileStatus::Deleted, String::new()),
        FileChange::Renamed { path, old_path, .. } => (path, FileStatus::Renamed, old_path),
    };
    ChangedFile { path, status, old_path, revision: revision.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::FileRef;

    fn oid() -> Oid {
        Oid::from_bytes(&[1; 20]).expect("an id")
    }

    fn added(path: &str) -> FileChange {
        FileChange::Added { path: path.to_owned(), new: FileRef { oid: oid(), size: 1 } }
    }

    fn usage() -> Part {
        Part::Usage(Tokens { input: 1, output: 2, cached_input: 0, cache_write_input: 0, reasoning: 0 })
    }

    #[test]
    fn files_are_before_the_usage() {
        let text = Part::Text { text: "Done".to_owned(), truncated: false };
        let file = Part::File(changed_file(added("a"), oid()));
        assert_eq!(with_files(vec![text.clone(), usage()], vec![added("a")], oid()), [text.clone(), file.clone(), usage()]);
        assert_eq!(with_files(vec![text.clone()], vec![added("a")], oid()), [text, file]);
    }

    #[test]
    fn files_beyond_the_limits_are_counted() {
        let many = with_files(vec![usage()], (0..102).map(|n| added(&n.to_string())).collect(), oid());
        assert_eq!((many.len(), &many[100..]), (102, &[Part::Omitted { count: 2 }, usage()][..]));
        let long = with_files(vec![], (0..3).map(|n| added(&format!("{n}{}", "x".repeat(FILE_BYTES / 2 - 1)))).collect(), oid());
        assert_eq!(long[2..], [Part::Omitted { count: 1 }]);
    }

    #[test]
    fn a_part_of_a_later_release_is_read_as_unknown() {
        let parts = vec![Part::Text { text: "a".to_owned(), truncated: true }, usage(), Part::Omitted { count: 3 }];
        let mut json = serde_json::to_value(&parts).expect("json");
        assert_eq!(serde_json::from_value::<Vec<Part>>(json.clone()).expect("parts"), parts);
        json[0]["type"] = "image".into();
        assert_eq!(serde_json::from_value::<Vec<Part>>(json).expect("parts")[0], Part::Unknown);
        assert_eq!(serde_json::from_value::<CallState>("denied".into()).expect("a state"), CallState::Unknown);
        assert_eq!(serde_json::from_value::<FileStatus>("copied".into()).expect("a status"), FileStatus::Unknown);
    }
}
