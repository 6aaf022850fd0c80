//! Change sets: changes that apply in order, all of them or none.

use std::{collections::HashSet, sync::Arc};

use crate::{
    error::Error,
    git::{Clash, Content, Entry, FileRef, Folder, Oid, UsedPath},
    model::{
        limits::{ChangedPath, Limits},
        path::FilePath,
    },
};

/// One change of a file.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) path: FilePath,
    pub(crate) action: Action,
    /// What must hold for the file at the path.
    pub(crate) condition: FileCondition,
}

/// The condition of a change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileCondition {
    Any,
    /// The file has this id. The refusal is [`Error::FileChanged`].
    Etag(Oid),
    /// `If-Match`: the file has one of these ids. The refusal is [`Error::FileMismatch`].
    Match(Vec<Oid>),
    /// `If-Match: *`: there is a file.
    Present,
    /// `If-None-Match: *`: there is no file.
    Absent,
}

impl FileCondition {
    fn check(&self, field: impl FnOnce() -> String, path: &FilePath, present: Option<FileRef>) -> Result<(), Error> {
        let id = present.map(|file| file.oid);
        let holds = match self {
            Self::Any => true,
            Self::Etag(etag) => id == Some(*etag),
            Self::Match(etags) => id.is_some_and(|id| etags.contains(&id)),
            Self::Present => id.is_some(),
            Self::Absent => id.is_none(),
        };
        let current = || id.map(|id| id.etag()).unwrap_or_default();
        match self {
            _ if holds => Ok(()),
            Self::Etag(_) => Err(Error::FileChanged { field: field(), path: path.to_string(), current: current() }),
            _ => Err(Error::FileMismatch { path: path.to_string(), current: current() }),
        }
    }
}

/// What a change does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Write(Content),
    Create(Content),
    Update(Content),
    /// Puts a file whose content is in the store already: an asset that was uploaded or imported.
    Put(FileRef),
    Delete,
    Rename(FilePath),
    Copy(FilePath),
}

/// Changes in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangeSet {
    pub(crate) changes: Vec<Change>,
    /// Files that the changes do not write or move are removed.
    pub(crate) replace: bool,
}

impl ChangeSet {
    /// Applies the changes to a tree.
    ///
    /// # Errors
    /// The first change that cannot be applied. The error names its field.
    pub(crate) fn apply(&self, base: &Arc<Folder>, limits: &Limits) -> Result<Folder, Error> {
        let mut working = if self.replace { WorkingTree::empty(base) } else { WorkingTree::copy(base) };
        for (index, change) in self.changes.iter().enumerate() {
            working.apply(index, change, limits)?;
        }
        Ok(working.tree)
    }

    /// The paths of the tree that the changes use, if they do not replace it.
    pub(crate) fn used_paths(&self) -> Vec<UsedPath<'_>> {
        let mut used = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            let to = match &change.action {
                Action::Rename(to) | Action::Copy(to) => Some(to),
                _ => None,
            };
            used.extend(to.map(|to| UsedPath { path: to.as_str(), below: true }));
            used.push(UsedPath { path: change.path.as_str(), below: to.is_some() });
        }
        used
    }

    /// The paths that the changes write or move a file to; each path once, in order.
    pub(crate) fn targets(&self) -> Vec<ChangedPath<'_>> {
        let mut seen = HashSet::new();
        let mut targets = Vec::with_capacity(self.changes.len());
        for (index, change) in self.changes.iter().enumerate() {
            let (name, path) = match &change.action {
                Action::Write(_) | Action::Create(_) | Action::Update(_) | Action::Put(_) => ("path", &change.path),
                Action::Rename(to) => ("rename.new_path", to),
                Action::Copy(to) => ("copy.new_path", to),
                Action::Delete => continue,
            };
            if seen.insert(path) {
                targets.push(ChangedPath { field: format!("changes[{index}].{name}"), path: path.as_str() });
            }
        }
        targets
    }

    /// The contents of all changes.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &Content> {
        self.changes.iter().filter_map(|change| match &change.action {
            Action::Write(content) | Action::Create(content) | Action::Update(content) => Some(content),
            Action::Put(_) | Action::Delete | Action::Rename(_) | Action::Copy(_) => None,
        })
    }
}

/// The tree while the changes are applied.
struct WorkingTree<'a> {
    tree: Folder,
    base: &'a Folder,
    /// With `replace`, the tree begins empty, and the changes also see the files of the base, except these.
    removed: Option<HashSet<FilePath>>,
}

impl<'a> WorkingTree<'a> {
    fn copy(base: &'a Folder) -> Self {
        Self { tree: base.clone(), base, removed: None }
    }

    fn empty(base: &'a Folder) -> Self {
        Self { tree: Folder::default(), base, removed: Some(HashSet::new()) }
    }

    fn apply(&mut self, index: usize, change: &Change, limits: &Limits) -> Result<(), Error> {
        let Change { path, action, condition } = change;
        let field = |name: &str| format!("changes[{index}].{name}");
        let present = self.file(path);
        if present.is_none()
            && *condition == FileCondition::Any
            && let Some(files) = self.files_below(path, action)
        {
            return self.apply_to_folder(&field, path, action, files);
        }
        match action {
            Action::Create(_) if present.is_some() => return Err(Error::FileExists { field: field("path"), path: path.to_string() }),
            Action::Update(_) | Action::Delete | Action::Rename(_) | Action::Copy(_) if present.is_none() => {
                // A condition says more about an absent file than that it is absent.
                if !matches!(condition, FileCondition::Any | FileCondition::Etag(_)) {
                    condition.check(|| field("etag"), path, present)?;
                }
                return Err(Error::FileNotFound { field: field("path"), path: path.to_string() });
            }
            _ => {}
        }
        condition.check(|| field("etag"), path, present)?;
        match action {
            Action::Write(Content { file, .. }) | Action::Create(Content { file, .. }) | Action::Update(Content { file, .. }) => {
                self.check_path(field("path"), path)?;
                check_size(|| field(action.name()), path, *file, limits.file_bytes)?;
                self.put(path, *file).map_err(|clash| clash.at(field("path"), path))
            }
            Action::Put(file) => {
                self.check_path(field("path"), path)?;
                check_size(|| field("path"), path, *file, limits.asset_bytes)?;
                self.put(path, *file).map_err(|clash| clash.at(field("path"), path))
            }
            Action::Delete => {
                self.remove(path);
                Ok(())
            }
            Action::Rename(to) | Action::Copy(to) => present.map_or(Ok(()), |file| self.relocate(&field, (path, to), action, file)),
        }
    }

    /// Moves or copies a file to a free path.
    fn relocate(
        &mut self,
        field: &dyn Fn(&str) -> String,
        (path, to): (&FilePath, &FilePath),
        action: &Action,
        file: FileRef,
    ) -> Result<(), Error> {
        let field = field(&format!("{}.new_path", action.name()));
        if self.file(to).is_some() {
            return Err(Error::FileExists { field, path: to.to_string() });
        }
        self.check_path(field.clone(), to)?;
        if matches!(action, Action::Rename(_)) {
            // The removal comes first, because `a` may become `A` or `a/b`.
            self.remove(path);
        }
        self.put(to, file).map_err(|clash| clash.at(field, to))
    }

    /// The files below a path, if it is a folder and the action is one for folders.
    fn files_below(&self, path: &FilePath, action: &Action) -> Option<Vec<(String, FileRef)>> {
        let is_for_folders = matches!(action, Action::Rename(_) | Action::Copy(_));
        match self.tree.get(path.as_str()).filter(|_| is_for_folders)? {
            Entry::Folder(folder) => Some(folder.walk_files()),
            Entry::File(_) => None,
        }
    }

    /// Moves or copies all files below a folder.
    fn apply_to_folder(
        &mut self,
        field: &dyn Fn(&str) -> String,
        path: &FilePath,
        action: &Action,
        files: Vec<(String, FileRef)>,
    ) -> Result<(), Error> {
        let in_folder = |folder: &FilePath, name: &str, field: String| {
            let path = format!("{folder}/{name}");
            FilePath::parse(&path).map_err(|problem| Error::invalid_path(field, &path, &problem))
        };
        let files = files.into_iter().map(|(name, file)| Ok((in_folder(path, &name, field("path"))?, name, file)));
        let files = files.collect::<Result<Vec<_>, Error>>()?;
        if matches!(action, Action::Rename(_)) {
            // All of them go first, because a folder may move into itself.
            files.iter().for_each(|(path, ..)| self.remove(path));
        }
        let (Action::Rename(to) | Action::Copy(to)) = action else { return Ok(()) };
        for (from, name, file) in files {
            let to = in_folder(to, &name, field(&format!("{}.new_path", action.name())))?;
            self.relocate(field, (&from, &to), action, file)?;
        }
        Ok(())
    }

    fn file(&self, path: &FilePath) -> Option<FileRef> {
        self.tree.file(path.as_str()).or_else(|| {
            let removed = self.removed.as_ref()?;
            if removed.contains(path) { None } else { self.base.file(path.as_str()) }
        })
    }

    /// Checks that a path may get a file. A path that the base has a file at may keep it, even if the rule for new paths has become
    /// stricter since.
    fn check_path(&self, field: String, path: &FilePath) -> Result<(), Error> {
        match self.base.file(path.as_str()) {
            Some(_) => Ok(()),
            None => path.check_new().map_err(|problem| Error::invalid_path(field, path.as_str(), &problem)),
        }
    }

    fn put(&mut self, path: &FilePath, file: FileRef) -> Result<(), Clash> {
        // An equal file is not written again, so that an unchanged folder keeps its id.
        if self.tree.file(path.as_str()) == Some(file) { Ok(()) } else { self.tree.put(path.as_str(), file) }
    }

    fn remove(&mut self, path: &FilePath) {
        self.tree.remove(path.as_str());
        if let Some(removed) = &mut self.removed {
            removed.insert(path.clone());
        }
    }
}

impl Action {
    /// The name of the field in the contract.
    fn name(&self) -> &'static str {
        match self {
            Self::Write(_) => "write",
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Delete => "delete",
            Self::Rename(_) => "rename",
            Self::Copy(_) => "copy",
            Self::Put(_) => "path",
        }
    }
}

fn check_size(field: impl FnOnce() -> String, path: &FilePath, file: FileRef, limit: u32) -> Result<(), Error> {
    let size = file.size;
    if size > limit { Err(Error::FileTooLarge { field: field(), path: path.to_string(), size, limit }) } else { Ok(()) }
}

impl Clash {
    /// The error of a field that names the path.
    pub(crate) fn at(self, field: String, path: &FilePath) -> Error {
        Error::InvalidPath { field, path: path.to_string(), problem: self.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use prost::bytes::Bytes;

    use super::*;
    use crate::git::blob_id;

    const LIMITS: Limits =
        Limits { file_bytes: 10, asset_bytes: 20, files: 2000, project_bytes: 1 << 20, folder_entries: 1000, files_per_save: 200 };

    fn path(text: &str) -> FilePath {
        FilePath::parse(text).expect("legal")
    }

    fn content(text: &str) -> Content {
        let oid = blob_id(text.as_bytes()).expect("id");
        Content { bytes: Bytes::copy_from_slice(text.as_bytes()), file: FileRef { oid, size: u32::try_from(text.len()).expect("small") } }
    }

    fn tree(files: &[(&str, &str)]) -> Arc<Folder> {
        let mut root = Folder::default();
        files.iter().for_each(|(path, text)| root.put(path, content(text).file).expect("no clash"));
        Arc::new(root)
    }

    fn change(name: &str, action: Action) -> Change {
        Change { path: path(name), action, condition: FileCondition::Any }
    }

    fn write(name: &str, text: &str) -> Change {
        change(name, Action::Write(content(text)))
    }

    fn apply(base: &[(&str, &str)], changes: Vec<Change>, replace: bool) -> Result<Vec<String>, Error> {
        let result = ChangeSet { changes, replace }.apply(&tree(base), &LIMITS)?;
        let ids: BTreeMap<_, _> = ["1", "2", "3", "4"].map(|text| (content(text).file.oid, text)).into();
        Ok(result.walk_files().into_iter().map(|(path, file)| format!("{path}={}", ids[&file.oid])).collect())
    }

    #[test]
    fn changes_apply_in_order() {
        let base = [("a", "1"), ("b/c", "2")];
        let changes = vec![
            change("a", Action::Rename(path("b/a"))),
            change("a", Action::Create(content("3"))),
            change("b/c", Action::Delete),
            change("b/a", Action::Update(content("4"))),
            change("b/a", Action::Rename(path("B/A"))),
        ];
        assert_eq!(apply(&base, changes, false).expect("applies"), ["B/A=4", "a=3"]);
    }

    #[test]
    fn a_snapshot_keeps_the_files_of_its_changes() {
        let base = [("Readme", "1"), ("a", "2"), ("b", "3")];
        let changes = vec![write("README", "4"), change("a", Action::Rename(path("c"))), change("b", Action::Update(content("1")))];
        assert_eq!(apply(&base, changes, true).expect("applies"), ["README=4", "b=1", "c=2"]);
        let deleted_first = vec![change("a", Action::Delete), change("a", Action::Update(content("1")))];
        assert!(matches!(apply(&base, deleted_first, true), Err(Error::FileNotFound { path, .. }) if path == "a"));
    }

    #[test]
    fn a_path_of_the_base_may_break_the_rule_for_new_paths() {
        let base = [("aux.js", "1"), ("a:b/c", "2"), ("d", "3")];
        let all = |changes: Vec<Change>| apply(&base, changes, false).map(|files| files.join(" ")).map_err(|error| error.to_string());
        for (changes, result) in [
            (vec![write("aux.js", "4")], "a:b/c=2 aux.js=4 d=3"),
            (vec![change("aux.js", Action::Update(content("4")))], "a:b/c=2 aux.js=4 d=3"),
            (vec![change("aux.js", Action::Rename(path("lib/x.js")))], "a:b/c=2 d=3 lib/x.js=1"),
            (vec![change("aux.js", Action::Delete), change("a:b/c", Action::Delete)], "d=3"),
            (vec![change("aux.js", Action::Delete), change("aux.js", Action::Create(content("4")))], "a:b/c=2 aux.js=4 d=3"),
            (vec![change("aux.js", Action::Rename(path("x"))), change("x", Action::Rename(path("aux.js")))], "a:b/c=2 aux.js=1 d=3"),
            (vec![change("aux.js", Action::Delete), change("d", Action::Rename(path("aux.js")))], "a:b/c=2 aux.js=3"),
        ] {
            assert_eq!(all(changes.clone()), Ok(result.to_owned()), "{changes:?}");
        }
        for (change, field, bad) in [
            (write("con", "1"), "changes[1].path", "con"),
            (change("x/NUL.txt", Action::Create(content("1"))), "changes[1].path", "x/NUL.txt"),
            (change("d", Action::Rename(path("what?"))), "changes[1].rename.new_path", "what?"),
            (change("aux.js", Action::Rename(path("AUX.js"))), "changes[1].rename.new_path", "AUX.js"),
            (change("aux.js", Action::Rename(path("a:b/aux.js"))), "changes[1].rename.new_path", "a:b/aux.js"),
            (write("a:b/new", "1"), "changes[1].path", "a:b/new"),
            (write("con", "longer than a file may be"), "changes[1].path", "con"),
        ] {
            for replace in [false, true] {
                let refused = apply(&base, vec![write("good", "1"), change.clone()], replace);
                assert!(
                    matches!(&refused, Err(Error::InvalidPath { field: f, path, .. }) if f == field && path == bad),
                    "{change:?}: {refused:?}"
                );
            }
        }
        let snapshot = vec![write("aux.js", "1"), write("a:b/c", "4")];
        assert_eq!(apply(&base, snapshot, true).expect("applies"), ["a:b/c=4", "aux.js=1"]);
    }

    #[test]
    fn the_first_change_that_fails_is_named() {
        let base = [("a", "1"), ("d/e", "2")];
        let after = |change: Change| apply(&base, vec![write("z", "1"), change], false).expect_err("an error");
        let conditional = |etag: &str| Change { condition: FileCondition::Etag(content(etag).file.oid), ..write("a", "3") };
        assert!(matches!(after(change("a", Action::Create(content("1")))), Error::FileExists { field, .. } if field == "changes[1].path"));
        assert!(matches!(after(change("x", Action::Update(content("1")))), Error::FileNotFound { path, .. } if path == "x"));
        assert!(matches!(after(change("x", Action::Delete)), Error::FileNotFound { .. }));
        assert!(matches!(after(change("d", Action::Delete)), Error::FileNotFound { .. }));
        assert!(
            matches!(after(change("a", Action::Rename(path("d/e")))), Error::FileExists { field, .. } if field == "changes[1].rename.new_path")
        );
        assert!(matches!(after(change("a", Action::Rename(path("a")))), Error::FileExists { .. }));
        assert!(matches!(after(write("d", "1")), Error::InvalidPath { field, .. } if field == "changes[1].path"));
        assert!(matches!(after(write("a/b", "1")), Error::InvalidPath { .. }));
        assert!(matches!(after(write("A", "1")), Error::InvalidPath { .. }));
        assert!(
            matches!(after(conditional("2")), Error::FileChanged { path, current, .. } if path == "a" && current == content("1").file.oid.etag())
        );
        assert!(apply(&base, vec![conditional("1")], false).is_ok());
        assert!(matches!(
            after(write("x", "12345678901")),
            Error::FileTooLarge { field, path, size: 11, limit: 10 } if field == "changes[1].write" && path == "x"
        ));
        assert!(ChangeSet { changes: vec![write("x", "1234567890")], replace: false }.apply(&tree(&[]), &LIMITS).is_ok());
    }

    /// Applies a change to a map of paths. Returns `false` if it cannot be applied.
    fn model(files: &mut BTreeMap<String, String>, kind: u8, name: &str, to: &str) -> bool {
        match kind {
            0 => {
                files.insert(name.into(), to.into());
            }
            1 if !files.contains_key(name) => {
                files.insert(name.into(), to.into());
            }
            2 if files.contains_key(name) => {
                files.insert(name.into(), to.into());
            }
            3 if files.contains_key(name) => {
                files.remove(name);
            }
            4 if files.contains_key(name) && !files.contains_key(to) => {
                let text = files.remove(name).expect("present");
                files.insert(to.into(), text);
            }
            _ => return false,
        }
        true
    }

    proptest! {
        // Names of one letter, so that there are no folders and no names that differ only in case.
        #[test]
        fn a_change_set_equals_changes_of_a_map(
            base in proptest::collection::btree_map("[a-e]", "[a-e]", 0..5),
            steps in proptest::collection::vec((0_u8..5, "[a-e]", "[a-e]"), 0..12),
        ) {
            let root = tree(&base.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
            let mut expected = base.clone();
            let succeeds = steps.iter().all(|(kind, name, to)| model(&mut expected, *kind, name, to));
            let changes = steps.iter().map(|(kind, name, to)| change(name, match kind {
                0 => Action::Write(content(to)),
                1 => Action::Create(content(to)),
                2 => Action::Update(content(to)),
                3 => Action::Delete,
                _ => Action::Rename(path(to)),
            })).collect();
            let result = ChangeSet { changes, replace: false }.apply(&root, &LIMITS);
            prop_assert_eq!(result.is_ok(), succeeds);
            if let Ok(result) = result {
                let expected: Vec<_> = expected.into_iter().map(|(path, text)| (path, content(&text).file)).collect();
                prop_assert_eq!(result.walk_files(), expected);
            }
        }
    }
}
