//! What becomes of a change whose base is not the head any more: paths that nobody touched since apply on the head, the rest is
//! a conflict. Hunks are not looked at.

use std::{collections::HashMap, sync::Arc};

use crate::git::{Difference, Folder, diff};

/// Three trees: where the change began, what it makes of that, and where the project is now.
#[derive(Debug)]
pub struct Merge<'a> {
    pub base: &'a Arc<Folder>,
    pub result: &'a Folder,
    pub head: &'a Arc<Folder>,
    /// The change stands for the whole tree, so whatever happened elsewhere is in its way.
    pub whole: bool,
}

/// Paths that both sides changed, or that cannot stand beside each other; sorted.
#[derive(Debug, PartialEq, Eq)]
pub struct Conflict(pub Vec<String>);

impl Merge<'_> {
    /// The change on top of the head.
    pub fn onto_head(&self) -> Result<Folder, Conflict> {
        let ours = diff(self.base, self.result);
        let theirs = diff(self.base, self.head);
        let changed: HashMap<&str, &Difference> = theirs.iter().map(|d| (d.path.as_str(), d)).collect();
        // The same change on both sides is no conflict.
        let agrees = |d: &Difference| changed.get(d.path.as_str()).is_none_or(|other| other.new == d.new);
        let mut paths: Vec<String> = if self.whole {
            let wanted = |d: &&Difference| self.result.file(&d.path) != d.new;
            theirs.iter().filter(wanted).map(|d| d.path.clone()).collect()
        } else {
            ours.iter().filter(|d| !agrees(d)).map(|d| d.path.clone()).collect()
        };
        if !paths.is_empty() {
            return Err(Conflict(paths));
        }
        let mut merged = Folder::clone(self.head);
        for gone in ours.iter().filter(|d| d.new.is_none()) {
            merged.remove(&gone.path);
        }
        for came in &ours {
            if let Some(file) = came.new.filter(|file| merged.file(&came.path) != Some(*file))
                && merged.put(&came.path, file).is_err()
            {
                paths.push(came.path.clone());
            }
        }
        if paths.is_empty() { Ok(merged) } else { Err(Conflict(paths)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{FileRef, Oid};

    fn tree(files: &str) -> Arc<Folder> {
        let mut root = Folder::default();
        for (path, content) in files.split_whitespace().filter_map(|f| f.split_once('=')) {
            let oid = Oid::of_bytes(&[content.as_bytes()[0]; 20]).expect("oid");
            root.put(path, FileRef { oid, size: 1 }).expect("no clash");
        }
        Arc::new(root)
    }

    fn check(base: &str, result: &str, head: &str, whole: bool, expected: Result<&str, &str>) {
        let merge = Merge { base: &tree(base), result: &tree(result), head: &tree(head), whole };
        let found = merge.onto_head().map(|t| t.walk_files()).map_err(|Conflict(paths)| paths.join(" "));
        assert_eq!(found, expected.map(|t| tree(t).walk_files()).map_err(str::to_owned), "{base} | {result} | {head}");
    }

    #[test]
    fn untouched_paths_apply_on_the_head() {
        check("a=1 b=1", "a=2 b=1", "a=1 b=3", false, Ok("a=2 b=3"));
        check("a=1", "a=1 n=1", "a=1 m=1", false, Ok("a=1 m=1 n=1"));
        check("a=1 b=1", "b=1", "a=1 b=2", false, Ok("b=2"));
        check("a=1", "b/a=1", "a=1 c=1", false, Ok("b/a=1 c=1"));
        check("a=1", "a=2", "a=2 b=1", false, Ok("a=2 b=1"));
        check("", "a=1", "b=1", false, Ok("a=1 b=1"));
    }

    #[test]
    fn the_rest_is_a_conflict() {
        check("a=1 b=1", "a=2 b=2", "a=3 b=1", false, Err("a"));
        check("a=1", "a=2", "", false, Err("a"));
        check("a=1", "", "a=2", false, Err("a"));
        check("a=1", "b=1", "c=1", false, Ok("b=1 c=1"));
        check("", "a=1", "a=2", false, Err("a"));
        check("", "a/b=1", "a=2", false, Err("a/b"));
        check("", "A=1", "a=2", false, Err("A"));
    }

    #[test]
    fn a_snapshot_stands_for_the_whole_tree() {
        check("a=1", "a=2", "a=1 b=1", true, Err("b"));
        check("a=1", "a=2 b=1", "a=1 b=1", true, Ok("a=2 b=1"));
    }
}
