//! What differs between two revisions.

use std::collections::HashMap;

use chassis::{context::Context, share::Share};
use prost::bytes::Bytes;
use proto::id::{ProjectId, TurnId, UserId};

use crate::{
    blocking,
    error::Error,
    git::{DiffStat, FileChange, FileRef, LineDiff, Oid, line_diff},
    model::{
        path::FilePath,
        project::{Member, Role, Target},
        revision::Revision,
    },
    read::{changes, commits, history, load::LoadSlots, member, objects::Objects},
};

/// Bytes of a file above which its lines are not compared.
const MAX_FILE_BYTES: u32 = 1024 * 1024;
/// Bytes of the files that one page compares line by line, both sides together. A page has one file at the least. With hunks of one line
/// each, a page of this size is still smaller than 4 MiB, the default limit of gRPC clients.
const MAX_PAGE_BYTES: u64 = 896 * 1024;
/// Lines of the hunks of one page. A file with more has no hunks.
const MAX_PAGE_LINES: u32 = 50_000;

/// Which two revisions are compared, and for whom.
pub(crate) struct Query {
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    pub(crate) newer: Newer,
    /// The older revision; `None` for the one [`commits::before`] the newer one.
    pub(crate) base: Option<Oid>,
    /// Only the file with this path on one of the two sides.
    pub(crate) path: Option<FilePath>,
    /// Unchanged lines around a change; `None` compares no lines.
    pub(crate) context_lines: Option<u32>,
}

/// The newer of two revisions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Newer {
    Head,
    Revision(Oid),
    /// What this turn made.
    Turn(TurnId),
}

/// Which part of a diff is wanted: at most `size` files after a path.
pub(crate) struct Part {
    pub(crate) size: usize,
    pub(crate) after: Option<String>,
}

/// A page of a diff.
pub(crate) struct Diff {
    /// `None` is a project without files.
    pub(crate) newer: Option<Revision>,
    /// `None` is no files, or a revision that the project does not have.
    pub(crate) base: Option<Revision>,
    pub(crate) files: Vec<FileDiff>,
    /// The last path, if more files follow.
    pub(crate) next: Option<String>,
    /// Of all files.
    pub(crate) stat: DiffStat,
}

/// A file that differs.
pub(crate) struct FileDiff {
    pub(crate) change: FileChange,
    pub(crate) lines: Lines,
}

/// The lines of a file that differ.
pub(crate) enum Lines {
    /// Nobody asked for them.
    NotCompared,
    Compared(LineDiff),
    /// One of the two sides is not text.
    Binary,
    /// One of the two sides has too many bytes.
    TooLarge,
    /// The hunks have more than [`MAX_PAGE_LINES`] lines.
    TooMany {
        added: u32,
        deleted: u32,
    },
}

/// Compares two revisions.
///
/// # Errors
/// [`Error::RevisionNotFound`] for a revision that the project does not have, and for a turn that made none; [`Error::TurnNotFound`] for a
/// turn that the project does not have.
pub(crate) async fn diff(objects: &Objects, slots: &LoadSlots, context: &Context, query: Query, part: Part) -> Result<Diff, Error> {
    let member = member::find(&objects.pool, query.user, &Target::Id(query.project), Role::Viewer).await?;
    let newer = newer(objects, &member, query.newer).await?;
    let base = match (query.base, &newer) {
        (Some(id), _) => history::resolve(&objects.pool, &member, Some(id)).await?,
        (None, Some(newer)) => commits::before(objects, &member.project, newer).await?,
        (None, None) => None,
    };
    let slot = slots.take(context).await?;
    let trees = [&base, &newer].map(|revision| revision.as_ref().map_or(Oid::EMPTY_TREE, |revision| revision.tree));
    let (changes, slot) = changes::between(objects, member.project.store, (trees[0], trees[1]), slot).await?;
    let (page, mut next) = select(&changes, &query, &part);
    let mut files = match query.context_lines {
        Some(lines) => compare(objects, &member, page, (lines, slot)).await?,
        None => page.into_iter().map(|change| FileDiff { change, lines: Lines::NotCompared }).collect(),
    };
    let count = count_within(&files);
    if count < files.len() {
        files.truncate(count);
        next = files.last().map(|file| file.change.path().to_owned());
    }
    // A revision of another project, with which the merge began, is not named: nobody could ask for it.
    let base = base.filter(|base| query.base.is_some() || !base.is_on_branch());
    Ok(Diff { newer, base, files, next, stat: FileChange::stat(&changes) })
}

async fn newer(objects: &Objects, member: &Member, newer: Newer) -> Result<Option<Revision>, Error> {
    match newer {
        Newer::Head => Ok(member.head.clone()),
        Newer::Revision(id) => history::resolve(&objects.pool, member, Some(id)).await,
        Newer::Turn(turn) => Ok(Some(commits::of_turn(objects, member, turn).await?)),
    }
}

/// The changes of a page, and its last path if more follow.
fn select(changes: &[FileChange], query: &Query, part: &Part) -> (Vec<FileChange>, Option<String>) {
    let is_wanted = |change: &&FileChange| {
        query.path.as_ref().is_none_or(|path| change.paths().any(|of| of == path.as_str()))
            && part.after.as_ref().is_none_or(|after| change.path() > after.as_str())
    };
    let wanted: Vec<&FileChange> = changes.iter().filter(is_wanted).collect();
    let count = page_length(&wanted, part.size, query.context_lines.is_some());
    let next = (count < wanted.len()).then(|| wanted[count - 1].path().to_owned());
    (wanted.into_iter().take(count).cloned().collect(), next)
}

/// How many of the first files have at most [`MAX_PAGE_LINES`] lines in their hunks, at least one.
fn count_within(files: &[FileDiff]) -> usize {
    let mut lines = 0;
    let fits = |file: &FileDiff| {
        lines += if let Lines::Compared(diff) = &file.lines { diff.lines } else { 0 };
        lines <= MAX_PAGE_LINES
    };
    files.iter().map(fits).position(|fits| !fits).unwrap_or(files.len()).max(1).min(files.len())
}

/// How many of the changes, from the first, are one page.
fn page_length(changes: &[&FileChange], size: usize, with_lines: bool) -> usize {
    let mut bytes = 0;
    let mut fits = |change: &&&FileChange| {
        bytes += if with_lines { compared_bytes(change) } else { 0 };
        bytes <= MAX_PAGE_BYTES
    };
    let fitting = changes.iter().take(size).take_while(|change| fits(change)).count();
    fitting.max(1).min(changes.len())
}

/// Bytes that are read to compare the lines of a file.
fn compared_bytes(change: &FileChange) -> u64 {
    if is_too_large(change) { 0 } else { sides(change).map(|file| u64::from(file.size)).sum() }
}

fn is_too_large(change: &FileChange) -> bool {
    sides(change).any(|file| file.size > MAX_FILE_BYTES)
}

fn sides(change: &FileChange) -> impl Iterator<Item = FileRef> {
    [change.old_file(), change.new_file()].into_iter().flatten()
}

/// Compares the lines of files.
async fn compare(
    objects: &Objects,
    member: &Member,
    changes: Vec<FileChange>,
    (context_lines, slot): (u32, Share),
) -> Result<Vec<FileDiff>, Error> {
    let files: Vec<FileRef> = changes.iter().filter(|change| !is_too_large(change)).flat_map(sides).collect();
    let contents = objects.contents(member.project.store, &files).await?;
    let compare = move || {
        let files = changes.into_iter().map(|change| compare_file(change, &contents, context_lines)).collect();
        drop(slot);
        files
    };
    Ok(blocking::on_thread(compare).await)
}

fn compare_file(change: FileChange, contents: &HashMap<Oid, Bytes>, context: u32) -> FileDiff {
    let text = |side: Option<FileRef>| side.and_then(|file| contents.get(&file.oid)).map_or(&[][..], |bytes| &bytes[..]);
    let lines = if is_too_large(&change) {
        Lines::TooLarge
    } else {
        match line_diff(text(change.old_file()), text(change.new_file()), context) {
            None => Lines::Binary,
            Some(LineDiff { added, deleted, lines, .. }) if lines > MAX_PAGE_LINES => Lines::TooMany { added, deleted },
            Some(diff) => Lines::Compared(diff),
        }
    };
    FileDiff { change, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_it_has_too_many_lines() {
        let change = || FileChange::Added { path: "a".into(), new: FileRef { oid: Oid::EMPTY_TREE, size: 1 } };
        for (lines, expected) in [(&[][..], 0), (&[1, 2], 2), (&[MAX_PAGE_LINES, 1], 1), (&[MAX_PAGE_LINES - 1, 1, 1], 2)] {
            let file =
                |lines: &u32| FileDiff { change: change(), lines: Lines::Compared(LineDiff { lines: *lines, ..LineDiff::default() }) };
            assert_eq!(count_within(&lines.iter().map(file).collect::<Vec<_>>()), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_file_with_too_many_lines_has_no_hunks() {
        let (old, new) = ("a\n".repeat(30_000), "b\n".repeat(30_000));
        let file = |text: &str| FileRef { oid: crate::git::blob_id(text.as_bytes()).expect("id"), size: 1 };
        let contents = [&old, &new].into_iter().map(|text| (file(text).oid, Bytes::from(text.clone()))).collect();
        let change = FileChange::Modified { path: "a".into(), old: file(&old), new: file(&new) };
        let diff = compare_file(change, &contents, 3);
        assert!(matches!(diff.lines, Lines::TooMany { added: 30_000, deleted: 30_000 }));
    }

    #[test]
    fn a_page_ends_before_it_compares_too_much() {
        let change = |size: u32| FileChange::Added { path: size.to_string(), new: FileRef { oid: Oid::EMPTY_TREE, size } };
        let half = u32::try_from(MAX_PAGE_BYTES / 2).expect("a size");
        for (sizes, size, with_lines, expected) in [
            (vec![], 50, true, 0),
            (vec![1, 1, 1], 2, true, 2),
            (vec![half, half, 1], 50, true, 2),
            (vec![half, half, 1], 50, false, 3),
            (vec![MAX_FILE_BYTES, 1], 50, true, 1),
            // A file that is not compared costs nothing.
            (vec![MAX_FILE_BYTES + 1, 1], 50, true, 2),
        ] {
            let changes: Vec<_> = sizes.iter().map(|size| change(*size)).collect();
            let changes: Vec<_> = changes.iter().collect();
            assert_eq!(page_length(&changes, size, with_lines), expected, "{sizes:?}");
        }
    }
}
