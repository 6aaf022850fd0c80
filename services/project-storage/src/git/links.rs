//! Which objects an object names.

use super::object::{Corruption, Kind, Oid, read_commit, read_tree};

/// An object that another one names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) oid: Oid,
    /// A file names no objects.
    pub(crate) is_file: bool,
}

/// The objects that a commit or a folder names: the tree and the parents, or the entries. A file names none. `tag` and `data` are those of
/// the row.
///
/// # Errors
/// [`Corruption`] if the data is not what was written.
pub(crate) fn links(oid: Oid, tag: i16, data: &[u8]) -> Result<Vec<Link>, Corruption> {
    let kind = tag & 15;
    if kind == Kind::Commit as i16 {
        let commit = read_commit(oid, data)?;
        return Ok([commit.tree].into_iter().chain(commit.parents).map(|oid| Link { oid, is_file: false }).collect());
    }
    if kind == Kind::Tree as i16 {
        return Ok(read_tree(oid, data)?.into_iter().map(|entry| Link { oid: entry.oid, is_file: !entry.folder }).collect());
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{Commit, FileRef, Folder, blob, blob_id, commit};

    #[test]
    fn a_commit_names_its_tree_and_parents_and_a_folder_its_entries() {
        let file = blob_id(b"x").expect("an id");
        let mut tree = Folder::default();
        for path in ["a.txt", "b/c.txt"] {
            tree.put(path, FileRef { oid: file, size: 1 }).expect("no clash");
        }
        let mut objects = Vec::new();
        let root = tree.write(&mut objects);
        let of = |oid: Oid| objects.iter().find(|object| object.oid == oid).expect("written");
        let found = links(root, of(root).tag, &of(root).data).expect("a folder");
        let below = found.iter().find(|link| !link.is_file).expect("a folder").oid;
        assert_eq!(found, [Link { oid: file, is_file: true }, Link { oid: below, is_file: false }]);
        assert_eq!(links(below, of(below).tag, &of(below).data).expect("a folder"), [Link { oid: file, is_file: true }]);

        let made = commit(&Commit { tree: root, parents: &[below], author: "x", time: 1, message: "Save" });
        let named: Vec<Oid> = links(made.oid, made.tag, &made.data).expect("a commit").into_iter().map(|link| link.oid).collect();
        assert_eq!(named, [root, below]);
        let content = blob(file, b"x");
        assert_eq!(links(content.oid, content.tag, &content.data).expect("a file"), []);
        assert!(links(below, of(root).tag, &of(root).data).is_err(), "the data of another object");
    }
}
