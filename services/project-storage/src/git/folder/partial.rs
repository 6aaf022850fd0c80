//! Trees of which only the folders along some paths are read. Changes of these paths need no others, so their cost does not grow with the
//! project.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Entry, Folder};
use crate::git::Oid;

/// A path that is used: its folders, and the entries of the last one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UsedPath<'a> {
    pub(crate) path: &'a str,
    /// If there is a folder at the path, everything below it is used, too.
    pub(crate) below: bool,
}

impl Folder {
    /// A folder of which only the id is known.
    pub(crate) fn unread(oid: Oid) -> Self {
        Self { oid: Some(oid), is_unread: true, is_partial: true, ..Self::default() }
    }

    /// The same folder as the root of a tree with these numbers. Those of its entries may be smaller, because not all are read.
    pub(crate) fn with_totals(self, files: u32, bytes: u64) -> Self {
        Self { files, bytes, ..self }
    }

    /// Whether a part of the folder is not read. Only paths that were read may be used.
    pub(crate) fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The folders along the paths that are not read yet: those of the first level that has any.
    pub(crate) fn unread_along(&self, paths: &[UsedPath<'_>]) -> HashSet<Oid> {
        let mut found = HashSet::new();
        self.find_unread(paths, false, &mut found);
        found
    }

    fn find_unread(&self, paths: &[UsedPath<'_>], all: bool, found: &mut HashSet<Oid>) {
        match self.oid {
            Some(oid) if self.is_unread => {
                found.insert(oid);
            }
            _ if !self.is_partial => {}
            _ => {
                for (name, entry) in &self.entries {
                    if let Entry::Folder(folder) = entry
                        && let Some((rest, all)) = below(name, paths, all)
                    {
                        folder.find_unread(&rest, all, found);
                    }
                }
            }
        }
    }

    /// The same tree with the folders along the paths that were read.
    pub(crate) fn with_read(&self, paths: &[UsedPath<'_>], read: &HashMap<Oid, Arc<Folder>>) -> Self {
        self.fill(paths, false, read)
    }

    fn fill(&self, paths: &[UsedPath<'_>], all: bool, read: &HashMap<Oid, Arc<Folder>>) -> Self {
        let mut filled = self.clone();
        for (name, entry) in &mut filled.entries {
            if let Entry::Folder(folder) = entry
                && folder.is_partial
                && let Some((rest, all)) = below(name, paths, all)
            {
                *folder = match folder.oid.filter(|_| folder.is_unread).and_then(|oid| read.get(&oid)) {
                    Some(read) => Arc::clone(read),
                    None => Arc::new(folder.fill(&rest, all, read)),
                };
            }
        }
        // A folder whose parts are all read is whole, but only if its numbers are known.
        filled
    }
}

/// The paths below an entry of that name, without it; and whether all below is used. `None` if no path is there.
fn below<'a>(name: &str, paths: &[UsedPath<'a>], all: bool) -> Option<(Vec<UsedPath<'a>>, bool)> {
    let mut rest = Vec::new();
    let (mut is_used, mut all) = (all, all);
    for used in paths {
        match used.path.strip_prefix(name) {
            Some("") => {
                is_used |= used.below;
                all |= used.below;
            }
            Some(tail) if tail.starts_with('/') => {
                is_used = true;
                rest.push(UsedPath { path: &tail[1..], below: used.below });
            }
            _ => {}
        }
    }
    is_used.then_some((rest, all))
}
