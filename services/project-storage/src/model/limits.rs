//! The limits of projects and texts, by the owner's plan.

use std::collections::HashMap;

pub(crate) use proto::plan::FILES_PER_SAVE;
use proto::{auth::Plan, plan};

use crate::{
    error::Error,
    git::{Difference, Entry, Folder},
};

/// Bytes of an answer of an agent.
pub(crate) const MESSAGE_BYTES: usize = 256 * 1024;
/// Bytes of a prompt.
pub(crate) const PROMPT_BYTES: usize = 32 * 1024;
/// Characters of the message of a revision.
pub(crate) const SUMMARY_CHARACTERS: usize = 1000;
/// Bytes of a chunk of a large file, except its last one. A file that is not larger is one object.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Characters of a project's name.
pub(crate) const NAME_CHARACTERS: usize = 120;

/// Characters of the reason of a reaction.
pub(crate) const REASON_CHARACTERS: usize = 500;
/// Characters of the query of a search.
pub(crate) const QUERY_CHARACTERS: usize = 500;

/// The limits of one project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of one file that a save or a turn writes.
    pub(crate) file_bytes: u32,
    /// Bytes of one file that is uploaded or imported.
    pub(crate) asset_bytes: u32,
    /// Files of the project.
    pub(crate) files: u32,
    /// Bytes of all files together.
    pub(crate) project_bytes: u32,
    /// Entries of one folder.
    pub(crate) folder_entries: u32,
    /// Changes of one change set.
    pub(crate) files_per_save: u32,
}

impl Limits {
    pub(crate) fn of_plan(plan: Plan) -> Self {
        Self {
            file_bytes: plan::file_bytes(plan),
            asset_bytes: plan::asset_bytes(plan),
            files: plan::project_files(plan),
            project_bytes: plan::project_bytes(plan),
            folder_entries: plan::folder_entries(plan),
            files_per_save: 200,
        }
    }

    /// Checks a tree. `differences` are those to the previous tree; `paths` are the changed paths in order.
    ///
    /// # Errors
    /// The limit that the tree exceeds, with the first path that exceeds it.
    pub(crate) fn check(&self, tree: &Folder, differences: &[Difference], paths: &[ChangedPath<'_>]) -> Result<(), Error> {
        let new: HashMap<&str, (u64, bool)> =
            differences.iter().filter_map(|d| Some((d.path.as_str(), (u64::from(d.new?.size), d.old.is_none())))).collect();
        // The sums begin without the changed files, and each path adds its file.
        let mut files = tree.files().saturating_sub(u32::try_from(new.values().filter(|(_, added)| *added).count()).unwrap_or(0));
        let mut bytes = tree.bytes().saturating_sub(new.values().map(|(size, _)| size).sum::<u64>());
        for changed in paths {
            let Some((size, added)) = new.get(changed.path) else { continue };
            files += u32::from(*added);
            bytes += size;
            let (field, path) = (changed.field.clone(), changed.path.to_owned());
            if tree.files() > self.files && files > self.files {
                return Err(Error::TooManyFiles { field, path, limit: self.files });
            }
            if tree.bytes() > u64::from(self.project_bytes) && bytes > u64::from(self.project_bytes) {
                return Err(Error::ProjectTooLarge { field, path, limit: self.project_bytes });
            }
            if *added && self.has_full_folder(tree, changed.path) {
                return Err(Error::FolderTooLarge { field, path, limit: self.folder_entries });
            }
        }
        Ok(())
    }

    /// Whether one of the folders of a path has too many entries.
    pub(crate) fn has_full_folder(&self, tree: &Folder, path: &str) -> bool {
        let limit = self.folder_entries as usize;
        tree.entry_count() > limit
            || path.match_indices('/').any(|(end, _)| matches!(tree.get(&path[..end]), Some(Entry::Folder(f)) if f.entry_count() > limit))
    }
}

/// A path that a request changes.
#[derive(Debug)]
pub(crate) struct ChangedPath<'a> {
    /// The field of the request that names it: `changes[3].path`.
    pub(crate) field: String,
    pub(crate) path: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{FileRef, Oid, diff};

    fn check(limits: Limits, before: &[(&str, u32)], added: &[(&str, u32)]) -> Result<(), Error> {
        let mut old = Folder::default();
        let put = |tree: &mut Folder, files: &[(&str, u32)]| {
            for (path, size) in files {
                tree.put(path, FileRef { oid: Oid::from_bytes(&[u8::try_from(*size).expect("small"); 20]).expect("oid"), size: *size })
                    .expect("no clash");
            }
        };
        put(&mut old, before);
        let mut new = old.clone();
        put(&mut new, added);
        let paths: Vec<_> =
            added.iter().enumerate().map(|(i, (path, _))| ChangedPath { field: format!("changes[{i}].path"), path }).collect();
        limits.check(&new, &diff(&old, &new), &paths)
    }

    #[test]
    fn an_error_names_the_first_path_beyond_the_limit() {
        let limits = Limits { file_bytes: 9, asset_bytes: 9, files: 3, project_bytes: 20, folder_entries: 2, files_per_save: 9 };
        assert!(check(limits, &[("a/x", 1), ("b/x", 1)], &[("b/y", 1)]).is_ok());
        assert!(matches!(
            check(limits, &[("a/x", 1), ("b/x", 1)], &[("b/x", 2), ("b/y", 1), ("a/y", 1)]),
            Err(Error::TooManyFiles { field, path, limit: 3 }) if field == "changes[2].path" && path == "a/y"
        ));
        assert!(check(limits, &[("a/x", 9)], &[("b/y", 9), ("b/z", 2)]).is_ok());
        assert!(matches!(
            check(limits, &[("a/x", 9)], &[("b/y", 9), ("b/z", 3)]),
            Err(Error::ProjectTooLarge { path, limit: 20, .. }) if path == "b/z"
        ));
        assert!(matches!(
            check(limits, &[("a/x", 1), ("a/y", 1)], &[("a/z", 1)]),
            Err(Error::FolderTooLarge { path, limit: 2, .. }) if path == "a/z"
        ));
        assert!(check(limits, &[("a/x", 1), ("a/y", 1)], &[("a/x", 2)]).is_ok(), "a file in a full folder may change");
    }

    #[test]
    fn the_plan_decides_the_size_of_a_file() {
        let bytes = [Plan::Free, Plan::Pro, Plan::Team, Plan::Enterprise].map(|p| Limits::of_plan(p).file_bytes);
        assert_eq!(bytes, [51_200, 102_400, 512_000, 512_000]);
    }
}
