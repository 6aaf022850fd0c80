//! From domain types to messages.

mod templates;

use chassis::clock::timestamp;
use prost::bytes::Bytes;
use proto::project_storage as pb;

use crate::{
    git::{DiffStat, FileChange, FileRef, Hunk, LineDiff, Oid, Span},
    model::{
        conflict::{ConflictKind, ConflictSummary},
        deletion::purge_time,
        limits::Limits,
        media,
        message::{Author, ConversationEntry, Message, Reaction, TurnOutcome},
        project::{ForkOrigin, Project},
        revision::{Actor, Label, LabelledRevision, Revision},
        turn::TurnState,
    },
    read::{
        blame::BlameRange,
        diff::{FileDiff, Lines},
        file_history::FileRevision,
        objects::ListedFile,
    },
    search::lines::Part,
};

pub(super) use templates::{report, review, template, template_version, variable};

pub(super) fn project(project: &Project) -> pb::Project {
    let (revision, number) = project.head.map(|(oid, number)| (oid.to_string(), number)).unwrap_or_default();
    pb::Project {
        id: project.id.to_string(),
        draft_id: project.draft.clone().unwrap_or_default(),
        display_name: project.name.clone(),
        owner_id: project.owner.to_string(),
        etag: project.etag(),
        head_revision: revision,
        head_number: number,
        create_time: Some(timestamp(project.created_at)),
        update_time: Some(timestamp(project.edited_at)),
        activity_time: Some(timestamp(project.updated_at)),
        metadata: project.metadata.clone(),
        delete_time: project.deleted_at.map(timestamp),
        purge_time: project.deleted_at.map(purge_time).map(timestamp),
        limits: Some(limits(project.limits())),
        forked_from: project.forked_from.map(fork_origin),
    }
}

fn fork_origin(origin: ForkOrigin) -> pb::ForkOrigin {
    let ForkOrigin { project, revision, number } = origin;
    pb::ForkOrigin {
        project_id: project.map(|id| id.to_string()).unwrap_or_default(),
        revision: revision.map(|id| id.to_string()).unwrap_or_default(),
        number,
    }
}

pub(super) fn limits(limits: Limits) -> pb::ProjectLimits {
    pb::ProjectLimits {
        file_bytes: limits.file_bytes,
        asset_bytes: limits.asset_bytes,
        files: limits.files,
        project_bytes: limits.project_bytes,
        folder_entries: limits.folder_entries,
        files_per_save: limits.files_per_save,
    }
}

/// The parents that an answer names. Those of the other side of an open merge are revisions of the other project.
fn parents(revision: &Revision) -> &[Oid] {
    if revision.is_on_branch() && revision.actor == Actor::Merge { &[] } else { &revision.parents }
}

pub(super) fn revision(revision: &Revision) -> pb::Revision {
    pb::Revision {
        id: revision.id.to_string(),
        number: revision.number,
        parent_ids: parents(revision).iter().map(Oid::to_string).collect(),
        message: revision.message.clone(),
        actor: match revision.actor {
            Actor::Person => pb::Actor::User,
            Actor::Agent => pb::Actor::Agent,
            Actor::Import => pb::Actor::Import,
            Actor::Template => pb::Actor::Template,
            Actor::Merge => pb::Actor::Merge,
        }
        .into(),
        user_id: revision.user.to_string(),
        turn_id: revision.turn.map(|turn| turn.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(revision.created_at)),
        diff_stat: Some(diff_stat(revision.stat)),
        labels: Vec::new(),
        undoes: revision.undoes.map(|oid| oid.to_string()).unwrap_or_default(),
        file_count: revision.totals.map(|totals| totals.files),
        size_bytes: revision.totals.map(|totals| totals.bytes),
    }
}

pub(super) fn conflict_kind(kind: ConflictKind) -> pb::ConflictKind {
    match kind {
        ConflictKind::Turn => pb::ConflictKind::Turn,
        ConflictKind::Revert => pb::ConflictKind::Revert,
        ConflictKind::MergeBack => pb::ConflictKind::MergeBack,
    }
}

pub(super) fn conflict(conflict: ConflictSummary) -> pb::Conflict {
    let id = |oid: Option<Oid>| oid.map(|oid| oid.to_string()).unwrap_or_default();
    pb::Conflict {
        id: conflict.id.to_string(),
        kind: conflict_kind(conflict.kind).into(),
        base_revision: id(conflict.base),
        head_revision: id(conflict.ours),
        turn_revision: conflict.theirs.to_string(),
        path_count: conflict.path_count,
        paths: conflict.paths,
        user_id: conflict.user.to_string(),
        create_time: Some(timestamp(conflict.created_at)),
        expire_time: Some(timestamp(conflict.expires_at)),
    }
}

pub(super) fn labelled_revision(found: LabelledRevision) -> pb::Revision {
    pb::Revision { labels: found.labels, ..revision(&found.revision) }
}

pub(super) fn label(label: Label) -> pb::Label {
    pb::Label {
        name: label.name,
        revision: label.revision.to_string(),
        user_id: label.user.to_string(),
        create_time: Some(timestamp(label.created_at)),
    }
}

pub(super) fn diff_stat(stat: DiffStat) -> pb::DiffStat {
    let DiffStat { added, modified, deleted, renamed } = stat;
    pb::DiffStat { added, modified, deleted, renamed }
}

pub(super) fn file_diff(diff: FileDiff) -> pb::FileDiff {
    let FileDiff { change, lines } = diff;
    let (old, new) = (change.old_file(), change.new_file());
    let etag = |file: Option<FileRef>| file.map(|file| file.oid.etag()).unwrap_or_default();
    let mut wire = pb::FileDiff {
        path: change.path().to_owned(),
        old_etag: etag(old),
        etag: etag(new),
        old_size_bytes: old.map_or(0, |file| file.size),
        size_bytes: new.map_or(0, |file| file.size),
        binary: matches!(lines, Lines::Binary),
        too_large: matches!(lines, Lines::TooLarge | Lines::TooMany { .. }),
        ..pb::FileDiff::default()
    };
    let (status, moved) = file_status(change);
    wire.set_status(status);
    (wire.old_path, wire.similarity) = moved;
    match lines {
        Lines::Compared(LineDiff { added, deleted, hunks, .. }) => {
            (wire.added_lines, wire.deleted_lines) = (added, deleted);
            wire.hunks = hunks.into_iter().map(hunk).collect();
        }
        Lines::TooMany { added, deleted } => (wire.added_lines, wire.deleted_lines) = (added, deleted),
        Lines::NotCompared | Lines::Binary | Lines::TooLarge => {}
    }
    wire
}

/// The status of a change, and the old path and the similarity of a file that moved.
fn file_status(change: FileChange) -> (pb::FileStatus, (String, u32)) {
    match change {
        FileChange::Added { .. } => (pb::FileStatus::Added, Default::default()),
        FileChange::Modified { .. } => (pb::FileStatus::Modified, Default::default()),
        FileChange::Deleted { .. } => (pb::FileStatus::Deleted, Default::default()),
        FileChange::Renamed { old_path, similarity, .. } => (pb::FileStatus::Renamed, (old_path, similarity)),
    }
}

pub(super) fn file_revision(found: FileRevision) -> pb::FileRevision {
    let FileRevision { revision, change } = found;
    let new = change.new_file();
    let path = change.path().to_owned();
    let (status, (old_path, similarity)) = file_status(change);
    pb::FileRevision {
        revision: Some(labelled_revision(revision)),
        path,
        old_path,
        status: status.into(),
        similarity,
        etag: new.map(|file| file.oid.etag()).unwrap_or_default(),
        size_bytes: new.map_or(0, |file| file.size),
    }
}

pub(super) fn blame_range(range: BlameRange) -> pb::BlameRange {
    let BlameRange { span: Span { result, at, lines }, revision, path, boundary } = range;
    pb::BlameRange {
        start_line: result + 1,
        line_count: lines,
        revision: revision.to_string(),
        path,
        original_start_line: at + 1,
        boundary,
    }
}

/// A revision that made lines. The counts of files of a commit beside the log are not known.
pub(super) fn blamed_revision(blamed: &Revision) -> pb::Revision {
    pb::Revision { diff_stat: None, ..revision(blamed) }
}

fn hunk(hunk: Hunk) -> pb::DiffHunk {
    let Hunk { old_start, old_lines, new_start, new_lines, text } = hunk;
    pb::DiffHunk { old_start, old_lines, new_start, new_lines, text }
}

/// A revision of which only the id is known.
pub(super) fn revision_id(id: Oid) -> pb::Revision {
    pb::Revision { id: id.to_string(), ..pb::Revision::default() }
}

pub(super) fn message(message: Message) -> pb::Message {
    pb::Message {
        id: message.id.to_string(),
        turn_id: message.turn.to_string(),
        role: match message.author {
            Author::Person => pb::MessageRole::User,
            Author::Agent => pb::MessageRole::Assistant,
        }
        .into(),
        text: message.text,
        partial: message.partial,
        revision: message.revision.map(|oid| oid.to_string()).unwrap_or_default(),
        user_id: message.user.to_string(),
        create_time: Some(timestamp(message.created_at)),
        edit_time: message.state.edited_at.map(timestamp),
        delete_time: message.state.deleted_at.map(timestamp),
        helpful_count: message.state.helpful,
        not_helpful_count: message.state.not_helpful,
        reaction: message.state.reaction.map(reaction),
        ..pb::Message::default()
    }
}

fn reaction(reaction: Reaction) -> pb::Reaction {
    let kind = if reaction.is_helpful { pb::ReactionKind::Helpful } else { pb::ReactionKind::NotHelpful };
    pb::Reaction { kind: kind.into(), reason: reaction.reason }
}

/// The parts of a hit.
pub(super) fn parts(parts: Vec<Part>) -> Vec<pb::TextPart> {
    parts.into_iter().map(|Part { text, is_match }| pb::TextPart { text, r#match: is_match }).collect()
}

/// A message with its parts and the outcome of its turn.
pub(super) fn conversation_entry(entry: ConversationEntry) -> pb::Message {
    let ConversationEntry { message: found, outcome } = entry;
    let parts = super::parts::encode(&found);
    let Some(outcome) = outcome else { return pb::Message { parts, ..message(found) } };
    pb::Message {
        parts,
        turn_outcome: turn_outcome(&outcome).into(),
        conflict_paths: outcome.conflict_paths,
        failure_reason: outcome.failure_reason,
        ..message(found)
    }
}

fn turn_outcome(outcome: &TurnOutcome) -> pb::TurnOutcome {
    match outcome.state {
        TurnState::Open => pb::TurnOutcome::Open,
        TurnState::Committed => pb::TurnOutcome::Committed,
        TurnState::Unchanged => pb::TurnOutcome::Unchanged,
        TurnState::Conflicted if outcome.is_resolved => pb::TurnOutcome::Resolved,
        TurnState::Conflicted => pb::TurnOutcome::Conflicted,
        TurnState::Failed => pb::TurnOutcome::Failed,
        TurnState::Cancelled => pb::TurnOutcome::Cancelled,
    }
}

/// An entry of a tree; `file` is `None` for a folder.
pub(super) fn entry(path: String, file: Option<FileRef>) -> pb::FileEntry {
    let kind = if file.is_some() { pb::FileKind::File } else { pb::FileKind::Folder };
    pb::FileEntry {
        media_type: file.map(|_| media::by_name(&path)).unwrap_or_default(),
        path,
        kind: kind.into(),
        size_bytes: file.map_or(0, |file| file.size),
        etag: file.map(|file| file.oid.etag()).unwrap_or_default(),
    }
}

pub(super) fn file(listed: ListedFile) -> pb::File {
    let ListedFile { path, file, content: bytes } = listed;
    let media_type = media::by_content(&path, bytes.as_deref());
    pb::File { path, content: bytes.map(content), size_bytes: file.size, etag: file.oid.etag(), media_type }
}

/// The files of a commit, without contents.
pub(super) fn files(files: Vec<(String, FileRef)>) -> Vec<pb::FileEntry> {
    files.into_iter().map(|(path, file)| entry(path, Some(file))).collect()
}

/// The id of a revision; empty for none.
pub(super) fn optional_id(revision: Option<&Revision>) -> String {
    revision.map(|revision| revision.id.to_string()).unwrap_or_default()
}

/// The content of a file: text if it is UTF-8, otherwise bytes.
pub(super) fn content(bytes: Bytes) -> pb::FileContent {
    let data = match std::str::from_utf8(&bytes) {
        Ok(text) => pb::file_content::Data::Text(text.to_owned()),
        Err(_) => pb::file_content::Data::Binary(bytes),
    };
    pb::FileContent { data: Some(data) }
}
