//! What becomes of a change whose base is not the head any more. Paths that one side touched are taken from it, files that both
//! touched are merged line by line where that was asked for, and a file that one side moved and the other edited is edited
//! where it went. What remains is a conflict, and nothing with marks in it is ever made. Pure: a plan says which contents it
//! needs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use prost::bytes::Bytes;

use crate::git::{self, Clash, Content, Difference, Entry, FileRef, Folder, Oid, diff, merge_text};

/// LineMerge that one merge compares, of all three versions of all files together. The largest project has about as many.
const MAX_LINES: usize = 1_000_000;

/// How far a merge goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeMode {
    /// A path that both sides touched is a conflict.
    Paths,
    /// Their lines are compared.
    Lines,
}

/// Three trees: where the change began, what it makes of that, and where the project is now.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    pub(crate) base: &'a Arc<Folder>,
    pub(crate) result: &'a Folder,
    pub(crate) head: &'a Arc<Folder>,
    /// The change stands for the whole tree, so whatever happened elsewhere is in its way.
    pub(crate) whole: bool,
}

/// A merge as far as it can be told without opening a file.
#[derive(Debug, Default)]
pub(crate) struct MergePlan {
    /// What the change brings to the head, by path; `None` goes away.
    take: BTreeMap<String, Option<FileRef>>,
    /// Files that both sides edited.
    texts: Vec<FileVersions>,
    /// Paths that both sides touched and that have no lines in common.
    conflicts: BTreeSet<String>,
    /// Where an edit of one side follows the other side's move: to, from.
    moved: BTreeMap<String, String>,
}

/// A file that both sides edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileVersions {
    pub(crate) path: String,
    pub(crate) base: FileRef,
    pub(crate) result: FileRef,
    pub(crate) head: FileRef,
}

/// What the lines of a file came to; `None` where they overlap.
pub(crate) type LineMerge = (String, Option<Content>);

/// A merge that is done.
#[derive(Debug)]
pub(crate) struct MergeResult {
    /// The head with all of the change that does not conflict.
    pub(crate) tree: Folder,
    /// Paths that both sides changed, or that cannot stand beside each other; sorted.
    pub(crate) conflicts: Vec<String>,
    /// Files that neither side had, by path.
    pub(crate) contents: Vec<(String, Content)>,
}

impl Merge<'_> {
    /// What can be told from the trees.
    pub(crate) fn plan(&self, mode: MergeMode) -> MergePlan {
        let ours = diff(self.base, self.result);
        let theirs = diff(self.base, self.head);
        let mut plan = MergePlan { take: ours.iter().map(|d| (d.path.clone(), d.new)).collect(), ..MergePlan::default() };
        if self.whole {
            let unwanted = theirs.iter().filter(|d| self.result.file(&d.path) != d.new);
            plan.conflicts = unwanted.map(|d| d.path.clone()).collect();
            if !plan.conflicts.is_empty() {
                plan.take.clear();
            }
            return plan;
        }
        let changed: HashMap<&str, &Difference> = theirs.iter().map(|d| (d.path.as_str(), d)).collect();
        let (our_moves, their_moves) = (moves(&ours), moves(&theirs));
        for our in &ours {
            // The same change on both sides is no conflict.
            let Some(their) = changed.get(our.path.as_str()).filter(|their| their.new != our.new) else { continue };
            // Where an edit goes whose file the other side moved, if nothing stands there.
            let moved = |moves: &HashMap<&str, &str>, other: &Folder| {
                moves.get(our.path.as_str()).filter(|to| other.file(to).is_none()).map(|to| (*to).to_owned())
            };
            let edit = match (our.new, their.new) {
                (None, Some(edited)) => moved(&our_moves, self.head).zip(Some(edited)),
                (Some(edited), None) => moved(&their_moves, self.result).zip(Some(edited)),
                _ => None,
            };
            match (our.old, our.new, their.new) {
                _ if mode == MergeMode::Paths => plan.refuse(our),
                (Some(base), Some(result), Some(head)) => {
                    plan.take.remove(&our.path);
                    plan.texts.push(FileVersions { path: our.path.clone(), base, result, head });
                }
                _ => match edit {
                    Some((to, edited)) => plan.follow(&our.path, to, edited),
                    None => plan.refuse(our),
                },
            }
        }
        plan
    }
}

/// Files that went away at one path and came at another, from and to. An empty file is like any other, and of two that are
/// alike nobody can say which went where.
fn moves(differences: &[Difference]) -> HashMap<&str, &str> {
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

impl MergePlan {
    fn refuse(&mut self, difference: &Difference) {
        self.take.remove(&difference.path);
        self.conflicts.insert(difference.path.clone());
    }

    fn follow(&mut self, from: &str, to: String, edited: FileRef) {
        self.take.insert(from.to_owned(), None);
        self.take.insert(to.clone(), Some(edited));
        self.moved.insert(to, from.to_owned());
    }

    /// The files whose contents [`MergePlan::finish`] needs.
    pub(crate) fn texts(&self) -> &[FileVersions] {
        &self.texts
    }

    /// Puts the change onto the head, with what the texts came to.
    pub(crate) fn finish(mut self, head: &Folder, result: &Folder, lines: Vec<LineMerge>) -> MergeResult {
        let mut contents = Vec::new();
        for (path, content) in lines {
            match content {
                Some(content) => {
                    self.take.insert(path.clone(), Some(content.file));
                    contents.push((path, content));
                }
                None => {
                    self.conflicts.insert(path);
                }
            }
        }
        let mut tree = head.clone();
        for path in self.take.iter().filter(|(_, file)| file.is_none()).map(|(path, _)| path) {
            tree.remove(path);
        }
        let came = self.take.iter().filter_map(|(path, file)| Some((path, (*file)?)));
        for (path, file) in came.filter(|(path, file)| head.file(path) != Some(*file)) {
            if let Err(clash) = tree.put(path, file) {
                self.conflicts.insert(path.clone());
                self.conflicts.extend(in_the_way(&tree, &clash));
            }
        }
        // Whoever decides for the other side of a conflict must be able to decide about what is in its way as well.
        let mut other = tree.clone();
        let wanted: Vec<_> = self.conflicts.iter().filter_map(|path| Some((path.clone(), result.file(path)?))).collect();
        for (path, file) in wanted {
            if let Err(clash) = other.put(&path, file) {
                self.conflicts.extend(in_the_way(&other, &clash));
            }
        }
        // An edit that has nowhere to go is shown where it was made.
        let homeless: Vec<String> = self.conflicts.iter().filter_map(|to| self.moved.get(to).cloned()).collect();
        self.conflicts.extend(homeless);
        MergeResult { tree, conflicts: self.conflicts.into_iter().collect(), contents }
    }
}

/// The files that keep another one from its path.
fn in_the_way(tree: &Folder, clash: &Clash) -> Vec<String> {
    let (Clash::IsFile(path) | Clash::IsFolder(path) | Clash::CaseClash(path)) = clash;
    match tree.get(path) {
        Some(Entry::Folder(folder)) => folder.walk_files().into_iter().map(|(below, _)| format!("{path}/{below}")).collect(),
        _ => vec![path.clone()],
    }
}

/// Merges the lines of files; `contents` has every version of them. A file that would take the merge beyond [`MAX_LINES`] is a
/// conflict: texts that were made for it take the comparison long.
pub(crate) fn lines(texts: &[FileVersions], contents: &HashMap<Oid, Bytes>) -> Vec<LineMerge> {
    let mut left = MAX_LINES;
    let mut merged = |text: &FileVersions| {
        let version = |file: &FileRef| contents.get(&file.oid);
        let versions = [version(&text.base)?, version(&text.result)?, version(&text.head)?];
        left = left.checked_sub(versions.iter().map(|bytes| line_count(bytes)).sum())?;
        let [base, result, head] = versions;
        let bytes = merge_text(base, result, head)?;
        // What cannot be stored is for people to look at.
        let oid = git::blob_id(&bytes).ok()?;
        let size = u32::try_from(bytes.len()).ok()?;
        Some(Content { bytes: bytes.into(), file: FileRef { oid, size } })
    };
    texts.iter().map(|text| (text.path.clone(), merged(text))).collect()
}

fn line_count(bytes: &[u8]) -> usize {
    1 + bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests;
