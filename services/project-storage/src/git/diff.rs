//! Differences between two trees.

use std::{collections::HashMap, sync::Arc};

use super::{
    folder::{Entry, FileRef, Folder},
    object::Oid,
};

/// A path whose file differs; `None` if that tree has no file there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: String,
    pub old: Option<FileRef>,
    pub new: Option<FileRef>,
}

/// The numbers of files that differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiffStat {
    pub added: u32,
    pub modified: u32,
    pub deleted: u32,
    pub renamed: u32,
}

/// Every file that differs, sorted by path. Folders with equal ids are skipped.
pub fn diff(old: &Folder, new: &Folder) -> Vec<Difference> {
    let mut out = Vec::new();
    diff_folders(&mut String::new(), old, new, &mut out);
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

fn diff_folders(prefix: &mut String, old: &Folder, new: &Folder, out: &mut Vec<Difference>) {
    if old.oid().is_some() && old.oid() == new.oid() {
        return;
    }
    for (name, entry) in old.entries() {
        diff_entries(prefix, name, Some(entry), new.entries().get(name), out);
    }
    for (name, entry) in new.entries().iter().filter(|(name, _)| !old.entries().contains_key(*name)) {
        diff_entries(prefix, name, None, Some(entry), out);
    }
}

fn diff_entries(prefix: &mut String, name: &str, old: Option<&Entry>, new: Option<&Entry>, out: &mut Vec<Difference>) {
    let length = prefix.len();
    prefix.push_str(name);
    let (old_file, old_folder) = split(old);
    let (new_file, new_folder) = split(new);
    if old_file != new_file {
        out.push(Difference { path: prefix.clone(), old: old_file, new: new_file });
    }
    let same = matches!((old_folder, new_folder), (Some(a), Some(b)) if Arc::ptr_eq(a, b));
    if !same && (old_folder.is_some() || new_folder.is_some()) {
        let empty = Folder::default();
        prefix.push('/');
        diff_folders(prefix, old_folder.map_or(&empty, |f| f), new_folder.map_or(&empty, |f| f), out);
    }
    prefix.truncate(length);
}

fn split(entry: Option<&Entry>) -> (Option<FileRef>, Option<&Arc<Folder>>) {
    match entry {
        Some(Entry::File(file)) => (Some(*file), None),
        Some(Entry::Folder(folder)) => (None, Some(folder)),
        None => (None, None),
    }
}

/// Counts differences. A deleted and an added file with the same content count as one rename.
pub fn stat(differences: &[Difference]) -> DiffStat {
    let mut stat = DiffStat::default();
    let mut deleted: HashMap<Oid, u32> = HashMap::new();
    for difference in differences {
        match (difference.old, difference.new) {
            (Some(old), None) => {
                stat.deleted += 1;
                *deleted.entry(old.oid).or_default() += 1;
            }
            (Some(_), Some(_)) => stat.modified += 1,
            (None, _) => stat.added += 1,
        }
    }
    for added in differences.iter().filter(|d| d.old.is_none()).filter_map(|d| d.new) {
        if let Some(left) = deleted.get_mut(&added.oid).filter(|left| **left > 0) {
            *left -= 1;
            stat.added -= 1;
            stat.deleted -= 1;
            stat.renamed += 1;
        }
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::object::blob_id;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn file(content: &str) -> FileRef {
        FileRef { oid: blob_id(content.as_bytes()).expect("id"), size: 1 }
    }

    fn tree(files: &[(&str, &str)]) -> Folder {
        let mut root = Folder::default();
        files.iter().for_each(|(path, content)| root.put(path, file(content)).expect("no clash"));
        root
    }

    #[test]
    fn a_move_counts_as_a_rename() {
        let old = tree(&[("a", "1"), ("b/c", "2"), ("d", "3"), ("e", "4"), ("same", "1")]);
        let new = tree(&[("a2", "1"), ("b", "5"), ("d", "6"), ("f", "7"), ("same", "1")]);
        let differences = diff(&old, &new);
        let paths: Vec<_> = differences.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["a", "a2", "b", "b/c", "d", "e", "f"]);
        assert_eq!(stat(&differences), DiffStat { added: 2, modified: 1, deleted: 2, renamed: 1 });
    }

    proptest! {
        #[test]
        fn applying_a_diff_makes_the_other_tree(
            old in proptest::collection::btree_map("[a-c](/[a-c]){0,2}", "[x-z]", 0..20),
            new in proptest::collection::btree_map("[a-c](/[a-c]){0,2}", "[x-z]", 0..20),
        ) {
            let build = |files: &BTreeMap<String, String>| {
                let mut root = Folder::default();
                for (path, content) in files { let _ = root.put(path, file(content)); }
                root
            };
            let (old, new) = (build(&old), build(&new));
            let mut result = old.clone();
            let differences = diff(&old, &new);
            for d in &differences { if d.new.is_none() { result.remove(&d.path); } }
            for d in &differences { if let Some(file) = d.new { result.put(&d.path, file).expect("no clash"); } }
            prop_assert_eq!(result.walk_files(), new.walk_files());
            prop_assert!(diff(&new, &result).is_empty());
        }
    }
}
