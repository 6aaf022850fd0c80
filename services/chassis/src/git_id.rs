//! The ids that git gives to contents and trees.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// The bytes of an id.
type Id = [u8; 20];

/// The id of a content, as hexadecimal digits.
#[must_use]
pub fn blob_id(content: &[u8]) -> String {
    hex(&hash("blob", content))
}

/// The id of a tree of ordinary files, given with the ids of their contents. `None` if an id is not one, or a path is also a folder.
pub fn tree_id<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut root = Folder::default();
    for (path, blob) in files {
        root.put(path, parse(blob)?)?;
    }
    Some(hex(&root.id()))
}

#[derive(Default)]
struct Folder<'a> {
    files: BTreeMap<&'a str, Id>,
    folders: BTreeMap<&'a str, Self>,
}

impl<'a> Folder<'a> {
    fn put(&mut self, path: &'a str, blob: Id) -> Option<()> {
        let mut folder = self;
        let mut rest = path;
        while let Some((name, below)) = rest.split_once('/') {
            if folder.files.contains_key(name) {
                return None;
            }
            folder = folder.folders.entry(name).or_default();
            rest = below;
        }
        let is_new = !folder.folders.contains_key(rest) && folder.files.insert(rest, blob).is_none();
        is_new.then_some(())
    }

    fn id(&self) -> Id {
        // Git sorts a folder as if its name ended with `/`.
        let files = self.files.iter().map(|(name, id)| ((*name).to_owned(), ("100644", *name, *id)));
        let folders = self.folders.iter().map(|(name, folder)| (format!("{name}/"), ("40000", *name, folder.id())));
        let entries: BTreeMap<_, _> = files.chain(folders).collect();
        let mut body = Vec::new();
        for (mode, name, id) in entries.values() {
            body.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            body.extend_from_slice(id);
        }
        hash("tree", &body)
    }
}

fn hash(kind: &str, body: &[u8]) -> Id {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("{kind} {}\0", body.len()).as_bytes());
    context.update(body);
    let mut id = Id::default();
    id.copy_from_slice(context.finish().as_ref());
    id
}

fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> Option<Id> {
    let mut id = Id::default();
    let is_hex = text.len() == 2 * id.len() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    for (n, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        assert_eq!(blob_id(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob_id(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(tree_id([]).as_deref(), Some("4b825dc642cb6eb9a060e54bf8d69288fbee4904"));
        let hello = blob_id(b"hello\n");
        let files = ["a-b", "a/b/c", "a/x", "a.b", "z"].map(|path| (path, hello.as_str()));
        assert_eq!(tree_id(files).as_deref(), Some("f5cea0c2f6908da56839723e35c60f9cab171950"));
    }

    #[test]
    fn a_tree_that_git_cannot_have_has_no_id() {
        let id = blob_id(b"");
        assert_eq!(tree_id([("a", "zz")]), None);
        assert_eq!(tree_id([("a", id.as_str()), ("a/b", id.as_str())]), None);
        assert_eq!(tree_id([("a/b", id.as_str()), ("a", id.as_str())]), None);
        assert_eq!(tree_id([("a", "é".repeat(20).as_str())]), None);
    }
}
