//! Operations. They name projects, revisions and files by numbers that are taken modulo what exists, so that every part of a sequence is a
//! sequence, too.

use proptest::prelude::*;
use proto::project_storage::{DeleteFile, FileChange, FileContent, RenameFile, file_change::Action, file_content::Data};

use super::merge::Tree;

/// Paths of files. None of them is a folder of another one.
const PATHS: [&str; 7] = ["a.txt", "b.txt", "docs/c.txt", "docs/d.txt", "src/e.txt", "src/lib/f.txt", "g.txt"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Save,
    Turn,
    Restore,
    Revert,
    Undo,
    Redo,
    Resolve,
    Fork,
    Merge,
    Import,
    Delete,
    Undelete,
}

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    pub(super) user: usize,
    pub(super) project: usize,
    /// How many revisions before the head, or which other project or conflict.
    pub(super) which: usize,
    /// A yes or no of this kind: merge lines, replace all files, take the other side.
    pub(super) flag: bool,
    pub(super) edits: Vec<Edit>,
}

/// A change of one file.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    kind: EditKind,
    file: usize,
    place: usize,
}

#[derive(Debug, Clone, Copy)]
enum EditKind {
    Create,
    Replace,
    Insert,
    Remove,
    Delete,
    Rename,
    Binary,
}

fn edit() -> impl Strategy<Value = Edit> {
    let kind = prop_oneof![
        4 => Just(EditKind::Create),
        6 => Just(EditKind::Replace),
        3 => Just(EditKind::Insert),
        3 => Just(EditKind::Remove),
        1 => Just(EditKind::Delete),
        2 => Just(EditKind::Rename),
        1 => Just(EditKind::Binary),
    ];
    (kind, 0..PATHS.len(), 0..12_usize).prop_map(|(kind, file, place)| Edit { kind, file, place })
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    let kind = prop_oneof![
        16 => Just(Kind::Save),
        7 => Just(Kind::Turn),
        3 => Just(Kind::Restore),
        8 => Just(Kind::Revert),
        9 => Just(Kind::Undo),
        6 => Just(Kind::Redo),
        7 => Just(Kind::Resolve),
        3 => Just(Kind::Fork),
        8 => Just(Kind::Merge),
        2 => Just(Kind::Import),
        1 => Just(Kind::Delete),
        2 => Just(Kind::Undelete),
    ];
    let numbers = (0..2_usize, 0..12_usize, prop_oneof![3 => 0..2_usize, 2 => 0..12_usize], any::<bool>());
    let edits = proptest::collection::vec(edit(), 1..4);
    (kind, numbers, edits).prop_map(|(kind, (user, project, which, flag), edits)| Operation { kind, user, project, which, flag, edits })
}

/// Makes lines that no other file has.
#[derive(Debug, Default)]
pub(super) struct Lines(usize);

impl Lines {
    fn line(&mut self) -> String {
        self.0 += 1;
        format!("line {}\n", self.0)
    }

    pub(super) fn text(&mut self, lines: usize) -> Vec<u8> {
        (0..lines).map(|_| self.line()).collect::<String>().into_bytes()
    }
}

/// The change set of some edits, and the tree that it makes. Each file is edited once.
pub(super) fn change_set(edits: &[Edit], base: &Tree, lines: &mut Lines) -> (Vec<FileChange>, Tree) {
    let (mut changes, mut tree, mut used) = (Vec::new(), base.clone(), Vec::new());
    for edit in edits {
        let mut existing = base.keys().filter(|path| !used.contains(*path));
        let chosen = existing.clone().nth(edit.file % existing.by_ref().count().max(1)).cloned();
        let free = (0..PATHS.len()).map(|n| PATHS[(edit.file + n) % PATHS.len()]);
        let free = free.map(str::to_owned).find(|path| !base.contains_key(path) && !used.contains(path));
        let (path, action) = match (edit.kind, chosen, free) {
            (EditKind::Create, _, Some(path)) | (_, None, Some(path)) => (path, Action::Create(content(lines.text(8)))),
            (EditKind::Rename, Some(path), Some(to)) => {
                used.push(to.clone());
                (path, Action::Rename(RenameFile { new_path: to }))
            }
            (EditKind::Delete, Some(path), _) => (path, Action::Delete(DeleteFile {})),
            (kind, Some(path), _) => {
                let new = edited(&base[&path], (kind, edit.place), lines);
                (path, Action::Update(content(new)))
            }
            (_, None, None) => continue,
        };
        apply(&mut tree, &path, &action);
        used.push(path.clone());
        changes.push(FileChange { path, action: Some(action), etag: String::new() });
    }
    (changes, tree)
}

fn edited(old: &[u8], (kind, place): (EditKind, usize), lines: &mut Lines) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = old.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let new = lines.text(1);
    let at = place % parts.len().max(1);
    match kind {
        EditKind::Binary => return [b"\0", &new[..]].concat(),
        EditKind::Remove if !parts.is_empty() => drop(parts.remove(at)),
        EditKind::Replace if !parts.is_empty() => parts[at] = new,
        _ => parts.insert(at, new),
    }
    parts.concat()
}

fn apply(tree: &mut Tree, path: &str, action: &Action) {
    match action {
        Action::Create(content) | Action::Update(content) => drop(tree.insert(path.to_owned(), bytes(content))),
        Action::Rename(RenameFile { new_path }) => {
            let file = tree.remove(path);
            tree.extend(file.map(|file| (new_path.clone(), file)));
        }
        _ => drop(tree.remove(path)),
    }
}

/// New files for an import.
pub(super) fn new_files(edits: &[Edit], lines: &mut Lines) -> Tree {
    edits.iter().map(|edit| (PATHS[edit.file].to_owned(), lines.text(8))).collect()
}

pub(super) fn content(bytes: Vec<u8>) -> FileContent {
    let data = match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Data::Text(text),
        Ok(text) => Data::Binary(text.into_bytes().into()),
        Err(error) => Data::Binary(error.into_bytes().into()),
    };
    FileContent { data: Some(data) }
}

pub(super) fn bytes(content: &FileContent) -> Vec<u8> {
    match &content.data {
        Some(Data::Text(text)) => text.clone().into_bytes(),
        Some(Data::Binary(bytes)) => bytes.to_vec(),
        None => Vec::new(),
    }
}
