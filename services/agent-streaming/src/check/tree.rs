//! The files of a tree, and whether it is checked.

use std::collections::{BTreeMap, HashMap};

use chassis::git_id;
use proto::{compile::TreeFile, layout};

/// A file: the id of its content, and its bytes.
type Blob = (String, u64);

/// The files of a tree, without their contents.
#[derive(Debug, Default)]
pub(crate) struct SourceTree {
    files: BTreeMap<String, Blob>,
}

impl SourceTree {
    /// Files with the ids of their contents and their sizes in bytes.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, String, u64)>) -> Self {
        Self { files: files.into_iter().map(|(path, id, size)| (path, (id, size))).collect() }
    }

    /// Whether the tree has a file that can be checked.
    pub(crate) fn is_checked(&self) -> bool {
        layout::is_checked(self.files.keys().map(String::as_str))
    }

    /// The id of the tree, which equal trees share. `None` if no tree of git can have these files.
    pub(crate) fn id(&self) -> Option<String> {
        git_id::tree_id(self.files.iter().map(|(path, (id, _))| (path.as_str(), id.as_str())))
    }

    /// Path, id and bytes of each file.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.files.iter().map(|(path, (id, size))| (path.as_str(), id.as_str(), *size))
    }

    pub(crate) fn list(&self) -> Vec<TreeFile> {
        self.files.iter().map(|(path, (id, size))| TreeFile { path: path.clone(), blob_id: id.clone(), size: *size }).collect()
    }

    /// The bytes of each content.
    pub(crate) fn sizes(&self) -> HashMap<String, u64> {
        self.files.values().cloned().collect()
    }

    /// A path of each content.
    pub(crate) fn paths(&self) -> HashMap<&str, &str> {
        self.files.iter().map(|(path, (id, _))| (id.as_str(), path.as_str())).collect()
    }
}
