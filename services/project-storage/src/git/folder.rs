//! Trees with structural sharing: a change copies the folders of its path and shares all others. So many revisions fit into memory, and
//! the unchanged part of a tree is not encoded again.

mod partial;

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    sync::Arc,
};

use prost::bytes::Bytes;
use proto::path::fold;

pub(crate) use self::partial::UsedPath;
use super::object::{Object, Oid, tree};

/// A file in a tree: the id and the size of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRef {
    pub oid: Oid,
    pub size: u32,
}

/// The content of a file, with its id and size.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) bytes: Bytes,
    pub(crate) file: FileRef,
}

/// An entry of a folder.
#[derive(Debug, Clone)]
pub enum Entry {
    File(FileRef),
    Folder(Arc<Folder>),
}

/// A folder with everything below it.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    entries: BTreeMap<Arc<str>, Entry>,
    /// Files below, at any depth.
    files: u32,
    /// The bytes of these files.
    bytes: u64,
    /// The id as git computes it; `None` while there are unwritten changes.
    oid: Option<Oid>,
    /// Only the id is known.
    is_unread: bool,
    /// A folder below may be unread; then the numbers above are those of what is read.
    is_partial: bool,
    folded_names: FoldedNames,
}

/// The names of a folder's entries by their folded forms, while names are added. A copy of a folder has none.
#[derive(Debug, Default)]
struct FoldedNames(Option<HashMap<String, Arc<str>>>);

impl Clone for FoldedNames {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl FoldedNames {
    /// Adds a name to those of the entries.
    ///
    /// # Errors
    /// The entry whose name differs only in case.
    fn add(&mut self, name: &str, entries: &BTreeMap<Arc<str>, Entry>) -> Result<(), Arc<str>> {
        let names = self.0.get_or_insert_with(|| entries.keys().map(|name| (fold(name), Arc::clone(name))).collect());
        match names.entry(fold(name)) {
            hash_map::Entry::Occupied(other) => Err(Arc::clone(other.get())),
            hash_map::Entry::Vacant(place) => {
                place.insert(name.into());
                Ok(())
            }
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(names) = &mut self.0 {
            names.remove(&fold(name));
        }
    }
}

/// Why a path cannot have a file. Each variant has the path of the entry that it clashes with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    #[error("`{0}` is a file")]
    IsFile(String),
    #[error("`{0}` is a folder")]
    IsFolder(String),
    #[error("differs from `{0}` only in case")]
    Case(String),
}

/// One entry of a walk.
#[derive(Debug, Clone)]
pub struct WalkEntry {
    pub path: String,
    /// `None` for a folder.
    pub file: Option<FileRef>,
}

impl Folder {
    /// A folder from its entries. The id must be theirs; it is not checked.
    pub fn from_entries(oid: Oid, entries: impl IntoIterator<Item = (Arc<str>, Entry)>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().collect();
        let (files, bytes) = entries.values().fold((0, 0), |(files, bytes), entry| match entry {
            Entry::File(file) => (files + 1, bytes + u64::from(file.size)),
            Entry::Folder(folder) => (files + folder.files, bytes + folder.bytes),
        });
        let is_partial = entries.values().any(|entry| matches!(entry, Entry::Folder(folder) if folder.is_partial));
        Self { entries, files, bytes, oid: Some(oid), is_partial, ..Self::default() }
    }

    pub fn files(&self) -> u32 {
        self.files
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of entries of this folder itself.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    pub fn entries(&self) -> &BTreeMap<Arc<str>, Entry> {
        &self.entries
    }

    /// The id; `None` while there are unwritten changes.
    pub fn oid(&self) -> Option<Oid> {
        self.oid
    }

    /// The entry at a path. The root has no path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        match path.split_once('/') {
            None => self.entries.get(path),
            Some((name, rest)) => match self.entries.get(name)? {
                Entry::Folder(folder) => folder.get(rest),
                Entry::File(_) => None,
            },
        }
    }

    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<FileRef> {
        match self.get(path)? {
            Entry::File(file) => Some(*file),
            Entry::Folder(_) => None,
        }
    }

    /// Puts a file at a path, and creates its folders.
    pub fn put(&mut self, path: &str, file: FileRef) -> Result<(), Clash> {
        self.put_at(path, 0, file).map(|_| ())
    }

    /// `at` is where the part of the path below this folder begins. Returns how the numbers of files and bytes changed.
    fn put_at(&mut self, path: &str, at: usize, file: FileRef) -> Result<(u32, i64), Clash> {
        let rest = &path[at..];
        let size = i64::from(file.size);
        let (files, bytes) = match rest.find('/') {
            None => match self.entries.get_mut(rest) {
                Some(Entry::Folder(_)) => return Err(Clash::IsFolder(path.to_owned())),
                Some(Entry::File(old)) => {
                    let before = std::mem::replace(old, file);
                    (0, size - i64::from(before.size))
                }
                None => {
                    self.add_name(path, at, rest)?;
                    self.entries.insert(rest.into(), Entry::File(file));
                    (1, size)
                }
            },
            Some(end) => match self.entries.get_mut(&rest[..end]) {
                Some(Entry::File(_)) => return Err(Clash::IsFile(path[..at + end].to_owned())),
                Some(Entry::Folder(folder)) => Arc::make_mut(folder).put_at(path, at + end + 1, file)?,
                None => {
                    let mut folder = Folder::default();
                    let change = folder.put_at(path, at + end + 1, file)?;
                    self.add_name(path, at, &rest[..end])?;
                    self.entries.insert(rest[..end].into(), Entry::Folder(Arc::new(folder)));
                    change
                }
            },
        };
        self.files += files;
        self.bytes = self.bytes.saturating_add_signed(bytes);
        self.oid = None;
        Ok((files, bytes))
    }

    /// Refuses a name that differs from another one only in case, because many file systems cannot have both.
    fn add_name(&mut self, path: &str, at: usize, name: &str) -> Result<(), Clash> {
        let added = self.folded_names.add(name, &self.entries);
        added.map_err(|other| Clash::Case(format!("{}{other}", &path[..at])))
    }

    /// Removes a file, and the folders that it leaves empty.
    pub fn remove(&mut self, path: &str) -> Option<FileRef> {
        // Without a file at the path, the folders stay shared.
        let file = self.file(path)?;
        self.remove_existing(path, file);
        Some(file)
    }

    fn remove_existing(&mut self, path: &str, file: FileRef) {
        match path.split_once('/') {
            None => self.remove_entry(path),
            Some((name, rest)) => {
                if let Some(Entry::Folder(folder)) = self.entries.get_mut(name) {
                    let folder = Arc::make_mut(folder);
                    folder.remove_existing(rest, file);
                    if folder.entries.is_empty() {
                        self.remove_entry(name);
                    }
                }
            }
        }
        self.files = self.files.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(file.size));
        self.oid = None;
    }

    fn remove_entry(&mut self, name: &str) {
        self.entries.remove(name);
        self.folded_names.remove(name);
    }

    /// Computes the ids of all changed folders, and adds their objects to `out`. Returns the id of this folder.
    pub fn write(&mut self, out: &mut Vec<Object>) -> Oid {
        if let Some(oid) = self.oid {
            return oid;
        }
        for entry in self.entries.values_mut() {
            if let Entry::Folder(folder) = entry
                && folder.oid.is_none()
            {
                Arc::make_mut(folder).write(out);
            }
        }
        let object = tree(self.in_git_order().into_iter().map(|(name, entry)| match entry {
            Entry::File(file) => (name, false, file.oid),
            Entry::Folder(folder) => (name, true, folder.oid.unwrap_or(Oid::EMPTY_TREE)),
        }));
        let oid = object.oid;
        out.push(object);
        self.oid = Some(oid);
        self.folded_names = FoldedNames::default();
        oid
    }

    /// All files with their full paths, sorted.
    pub fn walk_files(&self) -> Vec<(String, FileRef)> {
        self.walk().into_iter().filter_map(|entry| entry.file.map(|file| (entry.path, file))).collect()
    }

    /// All entries, depth first, each folder before its entries. Files are sorted by their full path.
    pub fn walk(&self) -> Vec<WalkEntry> {
        let mut out = Vec::with_capacity(self.files as usize + 8);
        self.walk_into(&mut String::new(), &mut out);
        out
    }

    fn walk_into(&self, prefix: &mut String, out: &mut Vec<WalkEntry>) {
        for (name, entry) in self.in_git_order() {
            let length = prefix.len();
            prefix.push_str(name);
            match entry {
                Entry::File(file) => out.push(WalkEntry { path: prefix.clone(), file: Some(*file) }),
                Entry::Folder(folder) => {
                    out.push(WalkEntry { path: prefix.clone(), file: None });
                    prefix.push('/');
                    folder.walk_into(prefix, out);
                }
            }
            prefix.truncate(length);
        }
    }

    /// The entries in git's order: a folder is sorted as if its name ended with `/`, so that a walk is sorted by full paths.
    fn in_git_order(&self) -> Vec<(&str, &Entry)> {
        let mut entries: Vec<_> = self.entries.iter().map(|(name, entry)| (&**name, entry)).collect();
        let is_folder = |entry: &Entry| matches!(entry, Entry::Folder(_));
        entries.sort_by(|a, b| gix_object::tree::name_order(a.0.as_bytes(), is_folder(a.1), b.0.as_bytes(), is_folder(b.1)));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::object::{blob_id, read_tree};
    use proptest::prelude::*;

    fn file(content: &str) -> FileRef {
        FileRef { oid: blob_id(content.as_bytes()).expect("id"), size: u32::try_from(content.len()).expect("small") }
    }

    fn folder(files: &[(&str, &str)]) -> Folder {
        let mut folder = Folder::default();
        for (path, content) in files {
            folder.put(path, file(content)).expect("no clash");
        }
        folder
    }

    /// `git write-tree` gave these ids for the same files.
    #[test]
    fn a_tree_has_the_id_that_git_gives_it() {
        let mut root = folder(&[
            ("src/main.rs", "fn main() {}\n"),
            ("src/lib/x.rs", "pub fn x() {}\n"),
            ("src/lib.rs", "mod x;\n"),
            ("src/é.txt", "é"),
            ("a.d/z", "2"),
            ("a", "1"),
            ("a.txt", ""),
            ("README.md", "hello\n"),
        ]);
        let mut objects = Vec::new();
        assert_eq!(root.write(&mut objects).to_string(), "8faac483bd1519b93ec3320b15a550ff058d31e8");
        let ids: Vec<_> = objects.iter().map(|o| o.oid.to_string()).collect();
        assert_eq!(
            ids,
            [
                "580f5ed54d76eb656801e34a3ea23a0c73ed3927",
                "a79df606f056996e666b90b644792ede3688b3a7",
                "ad2bde100be0bcdf5d11c0c97a914bc2580fe0e0",
                "8faac483bd1519b93ec3320b15a550ff058d31e8"
            ]
        );
        let paths: Vec<_> = root.walk().into_iter().map(|l| l.path).collect();
        assert_eq!(
            paths,
            ["README.md", "a", "a.d", "a.d/z", "a.txt", "src", "src/lib.rs", "src/lib", "src/lib/x.rs", "src/main.rs", "src/é.txt"]
        );
        assert_eq!((root.files(), root.bytes()), (8, 44));
    }

    #[test]
    fn only_changed_folders_are_written() {
        let mut root = folder(&[("a/b/c", "1"), ("a/d", "2"), ("e/f", "3")]);
        root.write(&mut Vec::new());
        root.put("a/d", file("4")).expect("no clash");
        let mut objects = Vec::new();
        root.write(&mut objects);
        assert_eq!(objects.len(), 2, "a and the root");
    }

    #[test]
    fn a_clash_names_the_other_path() {
        let root = folder(&[("src/App.js", "1"), ("docs", "2"), ("straße", "3")]);
        let put = |path: &str| {
            let mut copy = root.clone();
            copy.put(path, file("9")).expect_err("a clash")
        };
        assert_eq!(put("src"), Clash::IsFolder("src".into()));
        assert_eq!(put("docs/a"), Clash::IsFile("docs".into()));
        assert_eq!(put("src/app.JS"), Clash::Case("src/App.js".into()));
        assert_eq!(put("SRC/x"), Clash::Case("src".into()));
        assert_eq!(put("STRASSE"), Clash::Case("straße".into()));
        assert_eq!(put("Straße/x"), Clash::Case("straße".into()));
    }

    #[test]
    fn a_name_is_free_in_any_case_after_its_entry_is_gone() {
        let mut root = Folder::default();
        for (path, clash) in [("É/x", None), ("é/x", Some("É")), ("É/X", Some("É/x")), ("a", None), ("A", Some("a"))] {
            let expected = clash.map_or(Ok(()), |other| Err(Clash::Case(other.into())));
            assert_eq!(root.put(path, file("1")), expected, "{path}");
        }
        root.remove("É/x");
        root.remove("a");
        assert_eq!((root.put("é/y", file("1")), root.put("A", file("1"))), (Ok(()), Ok(())));
        root.write(&mut Vec::new());
        assert_eq!(root.put("É", file("1")), Err(Clash::Case("é".into())));
        assert_eq!(root.clone().put("a/x", file("1")), Err(Clash::Case("A".into())));
    }

    #[test]
    fn empty_folders_are_removed() {
        let mut root = folder(&[("a/b/c", "1"), ("d", "2")]);
        assert_eq!(root.remove("a/b"), None, "a folder is not a file");
        assert_eq!(root.remove("a/b/c"), Some(file("1")));
        assert!(root.get("a").is_none());
        assert_eq!(root.remove("a/b/c"), None);
        root.remove("d");
        assert_eq!(root.write(&mut Vec::new()), Oid::EMPTY_TREE);
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_was_put(paths in proptest::collection::btree_map("[a-c](\\.[a-c])?(/[a-c]){0,3}", "[x-z]{0,4}", 0..30)) {
            let mut root = Folder::default();
            let mut model = BTreeMap::new();
            for (path, content) in &paths {
                if root.put(path, file(content)).is_ok() {
                    model.insert(path.clone(), file(content));
                }
            }
            prop_assert_eq!(root.walk_files(), model.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(root.files() as usize, model.len());
            prop_assert_eq!(root.bytes(), model.values().map(|f| u64::from(f.size)).sum::<u64>());
            let mut objects = Vec::new();
            root.write(&mut objects);
            for object in &objects {
                prop_assert!(read_tree(object.oid, &object.data).is_ok());
            }
            for path in model.keys() {
                root.remove(path);
            }
            prop_assert_eq!((root.files(), root.bytes(), root.entry_count()), (0, 0, 0));
        }
    }
}
