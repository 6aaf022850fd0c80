//! The tree that a merge puts files into.

use std::collections::BTreeSet;

use crate::git::{Clash, Entry, FileRef, Folder};

/// A tree that gets files, some of which clash with what it has.
pub(super) struct Target {
    pub(super) tree: Folder,
    /// The entries that files clashed with. Their files are listed once, because thousands of files may clash with one folder.
    clashes: BTreeSet<String>,
}

impl Target {
    pub(super) fn new(tree: Folder) -> Self {
        Self { tree, clashes: BTreeSet::new() }
    }

    /// Puts files. Returns the paths of those that clash, and of the files that they clash with, unless an earlier call has returned these.
    pub(super) fn put<'a>(&mut self, files: impl Iterator<Item = (&'a str, FileRef)>) -> Vec<String> {
        let (mut paths, mut clashes) = (Vec::new(), BTreeSet::new());
        for (path, file) in files {
            if let Err(Clash::IsFile(other) | Clash::IsFolder(other) | Clash::Case(other)) = self.tree.put(path, file) {
                paths.push(path.to_owned());
                clashes.insert(other);
            }
        }
        for clash in clashes {
            if !self.clashes.contains(&clash) {
                paths.extend(self.files_at(&clash));
                self.clashes.insert(clash);
            }
        }
        paths
    }

    /// The file at a path, or the files of the folder there.
    fn files_at(&self, path: &str) -> Vec<String> {
        match self.tree.get(path) {
            Some(Entry::Folder(folder)) => folder.walk_files().into_iter().map(|(below, _)| format!("{path}/{below}")).collect(),
            _ => vec![path.to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;

    #[test]
    fn the_files_of_a_folder_are_listed_once() {
        let file = FileRef { oid: Oid::EMPTY_TREE, size: 1 };
        let paths = |folder: &str| (0..4900).map(|n| format!("{folder}/{n}")).collect::<Vec<_>>();
        let mut target = Target::new(Folder::default());
        assert_eq!(target.put(paths("src").iter().map(|path| (path.as_str(), file))), Vec::<String>::new());
        let mut put = |paths: &[String]| target.put(paths.iter().map(|path| (path.as_str(), file))).len();
        assert_eq!(put(&paths("SRC")), 2 * 4900, "each file of both folders");
        assert_eq!(put(&paths("SRC")), 4900, "the files of the first folder are known");
        assert_eq!(put(&["src/0/a".to_owned(), "src/0/b".to_owned()]), 3);
    }
}
