//! The three-way merge of trees: a change whose base is no longer the head is applied to the head. A path that one side changed is
//! taken from that side. A file that both sides edited is merged line by line, if the mode says so. An edit of a file that the
//! other side moved is applied at the new path. A file that one side moved, and that the other one removed or moved elsewhere, is a conflict
//! at its new paths, as in git. Everything else is a conflict. The result never has conflict markers.
//!
//! Whoever takes all paths in conflict from one side gets exactly that side's files at these paths, and loses no file of that side. Therefore the old
//! path of a moved file is in conflict if its new one is, and so is whatever a side has in the way of these paths.
//!
//! The module does no I/O: a [`MergePlan`] names the files whose contents it needs.

mod target;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use prost::bytes::Bytes;
use proto::path::fold;

use self::target::Target;
use crate::git::{self, Content, Difference, FileChange, FileRef, Folder, Oid, Renames, diff, merge_text};

/// Lines that one merge compares at most, of all versions of all files together. The largest project has about as many.
const MAX_LINES: usize = 1_000_000;
/// What the comparison of one file's path counts, in bytes of content that take as long.
const PATH_BYTES: usize = 64;

/// What happens to a path that both sides changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeMode {
    /// The path is a conflict.
    Paths,
    /// The lines of both sides are merged.
    Lines,
}

/// The three trees of a merge.
#[derive(Debug)]
pub(crate) struct Merge {
    /// The tree that the change began with.
    pub(crate) base: Arc<Folder>,
    /// The base with the change.
    pub(crate) result: Arc<Folder>,
    pub(crate) head: Arc<Folder>,
    /// A file with more bytes is not merged line by line, and is not the result of such a merge.
    pub(crate) text_bytes: u32,
    /// The change replaces the whole tree, so every other change of the head conflicts with it.
    pub(crate) is_snapshot: bool,
}

/// How the two sides of a merge differ from its base.
#[derive(Debug)]
pub(crate) struct Sides {
    /// What the change does.
    ours: Vec<Difference>,
    /// What the head has done.
    theirs: Vec<Difference>,
}

/// The new paths of the files that a side moved, by their old paths.
pub(crate) type Moves = HashMap<String, String>;

/// The part of a merge that needs no contents of files.
#[derive(Debug, Default)]
pub(crate) struct MergePlan {
    /// The changes to the head by path; `None` removes the file.
    changes: BTreeMap<String, Option<FileRef>>,
    /// Files that both sides edited.
    edits: Vec<FileVersions>,
    /// Paths that cannot be merged.
    conflicts: BTreeSet<String>,
    /// The old paths of the files that each side moved, by their new paths: the change, and the head. The likeliest is first.
    old_paths: [BTreeMap<String, Vec<String>>; 2],
}

/// A file that both sides edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileVersions {
    pub(crate) path: String,
    pub(crate) base: FileRef,
    pub(crate) result: FileRef,
    pub(crate) head: FileRef,
}

/// The path of a file that both sides edited, and its merged content; `None` if it cannot be merged.
pub(crate) type MergedFile = (String, Option<Content>);

/// The result of a merge.
#[derive(Debug)]
pub(crate) struct MergeResult {
    /// The head with the part of the change that does not conflict.
    pub(crate) tree: Folder,
    /// The paths in conflict, sorted: both sides changed them, or they cannot exist beside each other.
    pub(crate) conflicts: Vec<String>,
    /// The old paths of the files that the change and the head moved to paths in conflict, by these paths.
    pub(crate) moves: [HashMap<String, String>; 2],
    /// The contents of merged files. Neither side has them.
    pub(crate) contents: HashMap<Oid, Bytes>,
}

impl Merge {
    pub(crate) fn sides(&self) -> Sides {
        Sides { ours: diff(&self.base, &self.result), theirs: diff(&self.base, &self.head) }
    }

    /// The cost of the work on the paths, in bytes of content that take as long.
    pub(crate) fn cost(&self) -> usize {
        [&self.base, &self.result, &self.head].iter().map(|tree| tree.files() as usize * PATH_BYTES).sum()
    }

    /// The search for the moves of both sides. `None` if the plan needs no moves: no file is gone from both, and no file of the change
    /// meets another one of the head.
    pub(crate) fn renames(&self, Sides { ours, theirs }: &Sides) -> Option<[Renames; 2]> {
        let removed: BTreeSet<&str> = theirs.iter().filter(|their| their.new.is_none()).map(|their| their.path.as_str()).collect();
        let is_gone = || ours.iter().any(|our| our.new.is_none() && removed.contains(our.path.as_str()));
        let is_needed = !self.is_snapshot && (is_gone() || self.is_blocked(ours));
        is_needed.then(|| [ours, theirs].map(|side| Renames::new(side.clone())))
    }

    /// Whether the head has another file where the change has one, or has one that clashes with it.
    fn is_blocked(&self, ours: &[Difference]) -> bool {
        let mut tree = Folder::clone(&self.head);
        for our in ours.iter().filter(|our| our.new.is_none() && self.head.file(&our.path) == our.old) {
            tree.remove(&our.path);
        }
        ours.iter().any(|our| {
            let Some(new) = our.new else { return false };
            (our.old.is_none() && self.head.file(&our.path).is_some_and(|head| head != new)) || tree.put(&our.path, new).is_err()
        })
    }

    /// Plans the merge. `moves` are those of both sides, if [`Merge::renames`] asks for them.
    pub(crate) fn plan(&self, mode: MergeMode, Sides { ours, theirs }: &Sides, moves: &[Moves; 2]) -> MergePlan {
        let mut plan = MergePlan { changes: ours.iter().map(|d| (d.path.clone(), d.new)).collect(), ..MergePlan::default() };
        if self.is_snapshot {
            let others = theirs.iter().filter(|d| self.result.file(&d.path) != d.new);
            plan.conflicts = others.map(|d| d.path.clone()).collect();
            if !plan.conflicts.is_empty() {
                plan.changes.clear();
            }
            return plan;
        }
        let changed: HashMap<&str, &Difference> = theirs.iter().map(|d| (d.path.as_str(), d)).collect();
        let removed = ours.iter().filter(|our| our.new.is_none() && our.old.is_some_and(|old| old.size > 0));
        plan.add_diverging_moves(removed.map(|our| our.path.as_str()), &changed, moves);
        let (our_moves, their_moves) = (unchanged_moves(ours), unchanged_moves(theirs));
        for (side, (differences, unchanged)) in [(ours, &our_moves), (theirs, &their_moves)].into_iter().enumerate() {
            plan.add_old_paths(side, moves[side].iter().map(|(old, new)| (old.as_str(), new.as_str())));
            plan.add_old_paths(side, unchanged.iter().map(|(old, new)| (*old, *new)));
            plan.add_old_paths(side, respelled(differences).into_iter());
        }
        for our in ours {
            // The same change on both sides is no conflict.
            let Some(their) = changed.get(our.path.as_str()).filter(|their| their.new != our.new) else { continue };
            // The path that the file was moved to, if the other side has no file there.
            let moved_to = |moves: &HashMap<&str, &str>, other: &Folder| {
                moves.get(our.path.as_str()).filter(|to| other.file(to).is_none()).map(|to| (*to).to_owned())
            };
            let moved_edit = match (our.new, their.new) {
                (None, Some(edited)) => moved_to(&our_moves, &self.head).zip(Some(edited)),
                (Some(edited), None) => moved_to(&their_moves, &self.result).zip(Some(edited)),
                _ => None,
            };
            match (our.old, our.new, their.new) {
                _ if mode == MergeMode::Paths => plan.add_conflict(our),
                (Some(base), Some(result), Some(head)) if [base, result, head].iter().all(|file| file.size <= self.text_bytes) => {
                    plan.changes.remove(&our.path);
                    plan.edits.push(FileVersions { path: our.path.clone(), base, result, head });
                }
                _ => match moved_edit {
                    Some((to, edited)) => plan.apply_moved_edit(&our.path, to, edited),
                    None => plan.add_conflict(our),
                },
            }
        }
        plan
    }
}

/// The moves among changes.
pub(crate) fn moves(changes: Vec<FileChange>) -> Moves {
    let moved = changes.into_iter().filter_map(|change| match change {
        FileChange::Renamed { old_path, path, .. } => Some((old_path, path)),
        _ => None,
    });
    moved.collect()
}

/// The files that moved without a change: old path, new path. A move is one deleted and one added file with the same content. Empty files are not
/// considered, and neither is a content with several deleted or added files.
fn unchanged_moves(differences: &[Difference]) -> HashMap<&str, &str> {
    let mut sides: HashMap<Oid, (Vec<&str>, Vec<&str>)> = HashMap::new();
    for difference in differences {
        match (difference.old, difference.new) {
            (Some(old), None) if old.size > 0 => sides.entry(old.oid).or_default().0.push(&difference.path),
            (None, Some(new)) if new.size > 0 => sides.entry(new.oid).or_default().1.push(&difference.path),
            _ => {}
        }
    }
    let single = |(from, to): (Vec<_>, Vec<_>)| match (from.as_slice(), to.as_slice()) {
        ([from], [to]) => Some((*from, *to)),
        _ => None,
    };
    sides.into_values().filter_map(single).collect()
}

/// The files whose paths a side changed only in case, whatever it did to their contents: old path, new path.
fn respelled(differences: &[Difference]) -> Vec<(&str, &str)> {
    let removed: HashMap<String, &str> =
        differences.iter().filter(|difference| difference.new.is_none()).map(|old| (fold(&old.path), old.path.as_str())).collect();
    if removed.is_empty() {
        return Vec::new();
    }
    let added = differences.iter().filter(|difference| difference.old.is_none());
    added.filter_map(|new| Some((*removed.get(&fold(&new.path))?, new.path.as_str()))).collect()
}

impl MergePlan {
    fn add_old_paths<'a>(&mut self, side: usize, moves: impl Iterator<Item = (&'a str, &'a str)>) {
        for (old, new) in moves {
            let known = self.old_paths[side].entry(new.to_owned()).or_default();
            if !known.iter().any(|known| known == old) {
                known.push(old.to_owned());
            }
        }
    }

    /// The moves of each side whose new paths are in conflict: old paths by new ones.
    fn conflicting_moves(&mut self) -> [HashMap<String, String>; 2] {
        let conflicts = &self.conflicts;
        std::mem::take(&mut self.old_paths).map(|moves| {
            let conflicting = moves.into_iter().filter(|(new, _)| conflicts.contains(new));
            conflicting.filter_map(|(new, old)| Some((new, old.into_iter().next()?))).collect()
        })
    }

    fn add_conflict(&mut self, difference: &Difference) {
        self.changes.remove(&difference.path);
        self.conflicts.insert(difference.path.clone());
    }

    /// Makes the new paths of a file conflicts, if one side moved it, and the other one, which has `changed` it, moved it elsewhere or
    /// removed it.
    fn add_diverging_moves<'a>(
        &mut self,
        removed: impl Iterator<Item = &'a str>,
        changed: &HashMap<&str, &Difference>,
        [ours, theirs]: &[Moves; 2],
    ) {
        for path in removed.filter(|path| changed.get(path).is_some_and(|their| their.new.is_none())) {
            let targets = [ours.get(path), theirs.get(path)];
            if targets[0] != targets[1] {
                self.conflicts.extend(targets.into_iter().flatten().cloned());
            }
        }
    }

    /// Applies the edit of a moved file at its new path.
    fn apply_moved_edit(&mut self, from: &str, to: String, edited: FileRef) {
        self.changes.insert(from.to_owned(), None);
        self.changes.insert(to, Some(edited));
    }

    /// Makes edits conflicts, from the first one on whose three versions are more than so many bytes together with those before it.
    pub(crate) fn limit_edits(&mut self, max_bytes: u64) {
        let mut bytes = 0_u64;
        let (kept, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.edits).into_iter().partition(|edit| {
            bytes += [edit.base, edit.result, edit.head].iter().map(|file| u64::from(file.size)).sum::<u64>();
            bytes <= max_bytes
        });
        self.edits = kept;
        self.conflicts.extend(over.into_iter().map(|edit| edit.path));
    }

    /// The files that both sides edited. Their contents go through [`merge_files`] to [`MergePlan::finish`].
    pub(crate) fn edits(&self) -> &[FileVersions] {
        &self.edits
    }

    /// Applies the change and the merged files to the head.
    pub(crate) fn finish(mut self, head: &Folder, result: &Folder, merged: Vec<MergedFile>) -> MergeResult {
        let mut contents = HashMap::new();
        for (path, content) in merged {
            match content {
                Some(content) => {
                    self.changes.insert(path, Some(content.file));
                    contents.insert(content.file.oid, content.bytes);
                }
                None => {
                    self.conflicts.insert(path);
                }
            }
        }
        let mut tree = head.clone();
        for path in self.changes.iter().filter(|(_, file)| file.is_none()).map(|(path, _)| path) {
            tree.remove(path);
        }
        let mut target = Target::new(tree);
        let files = self.changes.iter().filter_map(|(path, file)| Some((path.as_str(), (*file)?)));
        self.conflicts.extend(target.put(files.filter(|(path, file)| head.file(path) != Some(*file))));
        self.complete_conflicts(&target.tree, [head, result]);
        let moves = self.conflicting_moves();
        MergeResult { tree: target.tree, conflicts: self.conflicts.into_iter().collect(), moves, contents }
    }

    /// Adds the paths about which a resolution has to decide as well, whichever side it takes: the old paths of files whose new paths are
    /// in conflict, and the files of the merged tree that clash with those of a side.
    fn complete_conflicts(&mut self, tree: &Folder, sides: [&Folder; 2]) {
        let mut targets = sides.map(|side| (side, Target::new(tree.clone())));
        let mut added: Vec<String> = self.conflicts.iter().cloned().collect();
        while !added.is_empty() {
            let moves = &self.old_paths;
            let old_paths = added.iter().flat_map(|path| moves.iter().filter_map(move |side| side.get(path))).flatten();
            let mut found: Vec<String> = old_paths.filter(|old| sides.iter().any(|side| side.file(old).is_some())).cloned().collect();
            for (side, target) in &mut targets {
                found.extend(target.put(added.iter().filter_map(|path| Some((path.as_str(), side.file(path)?)))));
            }
            found.retain(|path| self.conflicts.insert(path.clone()));
            added = found;
        }
    }
}

/// Merges files line by line. `contents` has every version of them. A file that would take the merge beyond [`MAX_LINES`] is not
/// merged, because texts can be made so that their comparison takes long. Neither is one whose result has more than `text_bytes` bytes: a
/// person can shorten it.
pub(crate) fn merge_files(edits: &[FileVersions], contents: &HashMap<Oid, Bytes>, text_bytes: u32) -> Vec<MergedFile> {
    let mut left = MAX_LINES;
    let mut merge = |edit: &FileVersions| {
        let version = |file: &FileRef| contents.get(&file.oid);
        let versions = [version(&edit.base)?, version(&edit.result)?, version(&edit.head)?];
        left = left.checked_sub(versions.iter().map(|bytes| line_count(bytes)).sum())?;
        let [base, result, head] = versions;
        let bytes = merge_text(base, result, head)?;
        // Content that cannot be stored is a conflict.
        let oid = git::blob_id(&bytes).ok()?;
        let size = u32::try_from(bytes.len()).ok().filter(|size| *size <= text_bytes)?;
        Some(Content { bytes: bytes.into(), file: FileRef { oid, size } })
    };
    edits.iter().map(|edit| (edit.path.clone(), merge(edit))).collect()
}

fn line_count(bytes: &[u8]) -> usize {
    1 + bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests;
