//! What an object has is what its id says. Whatever a store names, it has: the sweeps of unreachable objects delete nothing that a revision, a conflict or a template needs. What
//! nothing names is deleted after some time.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::{Violation, Violations};

/// The id of a git object.
pub type Oid = [u8; 20];

/// Git's id of a folder without entries, which no store has to have.
const EMPTY_TREE: Oid =
    [0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e, 0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6, 0x92, 0x88, 0xfb, 0xee, 0x49, 0x04];
/// Objects that a violation names.
const NAMED: usize = 5;

/// A store of the database.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub id: String,
    /// The objects that it has.
    pub objects: BTreeMap<Oid, Object>,
    /// The objects that its projects and templates name, with what names each.
    pub roots: Vec<(String, Oid)>,
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A commit or a folder with the objects that it names.
    Links(Vec<Oid>),
    File,
    /// It cannot be read: the reason.
    Damaged(String),
}

/// Checks that the store has everything that its projects and templates name.
#[must_use]
pub fn check(store: &Store) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violations = Violations { turn: None, found: &mut found };
    let (_, problems) = walk(store);
    violations.require(problems.is_empty(), "reachable objects exist", || {
        format!("store {} has {} problems, the first are {:?}", store.id, problems.len(), &problems[..problems.len().min(NAMED)])
    });
    found
}

/// Checks that a store has no other objects. It must have been swept after the last one became unreachable.
#[must_use]
pub fn check_swept(store: &Store) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violations = Violations { turn: None, found: &mut found };
    let (reached, _) = walk(store);
    let left: Vec<_> = store.objects.keys().filter(|oid| !reached.contains(*oid)).map(hex).collect();
    violations.require(left.is_empty(), "unreachable objects are deleted", || {
        format!("store {} has {} objects that nothing names, such as {:?}", store.id, left.len(), &left[..left.len().min(NAMED)])
    });
    found
}

/// What the roots reach, and what is missing or damaged, with the object that names it.
fn walk(store: &Store) -> (BTreeSet<Oid>, Vec<String>) {
    let (mut reached, mut problems) = (BTreeSet::from([EMPTY_TREE]), Vec::new());
    let mut left: Vec<(Option<Oid>, usize, Oid)> = store.roots.iter().enumerate().map(|(root, (_, oid))| (None, root, *oid)).collect();
    while let Some((by, root, oid)) = left.pop() {
        if !reached.insert(oid) {
            continue;
        }
        let problem = match store.objects.get(&oid) {
            Some(Object::Links(links)) => {
                left.extend(links.iter().map(|link| (Some(oid), root, *link)));
                continue;
            }
            Some(Object::File) => continue,
            Some(Object::Damaged(problem)) => problem.as_str(),
            None => "missing",
        };
        let by = by.map(|by| format!("object {} of ", hex(&by))).unwrap_or_default();
        problems.push(format!("{}, which {by}{} names: {problem}", hex(&oid), store.roots[root].0));
    }
    (reached, problems)
}

/// Reads an object whose content must have this id: git's hash of the kind, the size and the content.
#[must_use]
pub fn read_checked(oid: &Oid, kind: i16, content: &[u8]) -> Object {
    match id_of(kind, content) {
        Some(found) if found == *oid => read(kind, content),
        Some(found) => Object::Damaged(format!("its content has the id {}", hex(&found))),
        None => Object::Damaged(format!("git has no kind {kind}")),
    }
}

fn id_of(kind: i16, content: &[u8]) -> Option<Oid> {
    let kind = match kind {
        1 => "commit",
        2 => "tree",
        3 => "blob",
        _ => return None,
    };
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(format!("{kind} {}\0", content.len()).as_bytes());
    hash.update(content);
    hash.finish().as_ref().try_into().ok()
}

/// Reads what a commit or a folder names. `kind` is git's number of the kind of object.
#[must_use]
pub fn read(kind: i16, data: &[u8]) -> Object {
    let links = match kind {
        1 => commit_links(data),
        2 => tree_links(data),
        3 => return Object::File,
        _ => None,
    };
    links.map_or_else(|| Object::Damaged("not a git object".to_owned()), Object::Links)
}

/// The tree and the parents of a commit: the lines before its author.
fn commit_links(data: &[u8]) -> Option<Vec<Oid>> {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().map_while(|line| line.strip_prefix("tree ").or_else(|| line.strip_prefix("parent ")));
    let links: Option<Vec<Oid>> = lines.map(parse).collect();
    links.filter(|links| !links.is_empty())
}

/// The entries of a folder: each has a mode, a space, a name, a zero and the 20 bytes of an id.
fn tree_links(mut data: &[u8]) -> Option<Vec<Oid>> {
    let mut links = Vec::new();
    while !data.is_empty() {
        let end = data.iter().position(|byte| *byte == 0)? + 1;
        let (oid, rest) = data.get(end..)?.split_first_chunk::<20>()?;
        links.push(*oid);
        data = rest;
    }
    Some(links)
}

fn parse(hex: &str) -> Option<Oid> {
    let digits = hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    digits.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn hex(oid: &Oid) -> String {
    oid.iter().fold(String::new(), |mut text, byte| {
        // A string accepts everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
