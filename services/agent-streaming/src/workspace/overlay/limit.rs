//! Checks the paths and the limits of the project before a change.

use std::collections::BTreeSet;

use proto::path;

use super::{Node, Overlay, Refusal, clash};

impl Overlay {
    /// Checks whether a file of `size` bytes may be put at a path. For a rename, `instead` is its old path.
    pub(super) fn check_put(&self, path: &str, size: usize, instead: Option<&str>) -> Result<(), Refusal> {
        // As in project-storage, a path of the base may be kept even if the rules for new paths have changed.
        if !self.base.contains_key(path) {
            path::check_new(path)
                .map_err(|problem| Refusal::new("INVALID_PATH", format!("`{}` is not a valid path: {problem}", path::shown(path))))?;
        }
        let others = self.files.keys().map(String::as_str).filter(|other| Some(*other) != instead);
        if let Some(clash) = clash::find(path, others) {
            return Err(Refusal::new("INVALID_PATH", clash.message(path)));
        }
        let limit = self.limits.file_bytes;
        // An existing file may be moved even if it is above the limit.
        if instead.is_none() && over(size, limit) {
            return Err(Refusal::new("FILE_TOO_LARGE", format!("{path} would have {size} bytes; the limit of a file is {limit}")));
        }
        let mut after = self.clone_names();
        after.extend([path]);
        if let Some(moved) = instead {
            after.remove(moved);
        }
        self.check_limits(path, size, instead, &after)?;
        self.check_change_count(&after)
    }

    fn check_limits(&self, path: &str, size: usize, instead: Option<&str>, after: &BTreeSet<&str>) -> Result<(), Refusal> {
        let grows = !self.files.contains_key(path) && instead.is_none();
        let limit = self.limits.files;
        if grows && over(after.len(), limit) {
            return Err(Refusal::new("TOO_MANY_FILES", format!("{path} would be file {}; the limit of a project is {limit}", after.len())));
        }
        let before: usize = self.files.values().map(|(_, size)| *size as usize).sum();
        let replaced =
            [Some(path), instead].into_iter().flatten().filter_map(|path| self.size(path)).map(|size| size as usize).sum::<usize>();
        let (bytes, limit) = (before - replaced + size, self.limits.project_bytes);
        if over(bytes, limit) && bytes > before {
            return Err(Refusal::new(
                "PROJECT_TOO_LARGE",
                format!("with {path} the project would have {bytes} bytes; the limit is {limit}"),
            ));
        }
        let limit = self.limits.folder_entries;
        if !self.files.contains_key(path) && ends_of_folders(path).any(|end| over(entries(after, &path[..end]), limit)) {
            return Err(Refusal::new("TOO_MANY_FILES", format!("a folder in {path} would have more than {limit} entries")));
        }
        Ok(())
    }

    /// Checks the number of changed files of the turn after a change. A file that is changed twice counts once.
    pub(super) fn check_change_count(&self, after: &BTreeSet<&str>) -> Result<(), Refusal> {
        let kept = |path: &str| matches!(self.files.get(path), Some((Node::Base, _)));
        let touched =
            after.iter().filter(|path| !kept(path)).count() + self.base.keys().filter(|path| !after.contains(path.as_str())).count();
        let limit = self.limits.files_per_save;
        if over(touched, limit) {
            return Err(Refusal::new("TOO_MANY_FILES", format!("one turn may change {limit} files")));
        }
        Ok(())
    }

    pub(super) fn clone_names(&self) -> BTreeSet<&str> {
        self.files.keys().map(String::as_str).collect()
    }
}

fn over(count: usize, limit: u32) -> bool {
    limit > 0 && count > limit as usize
}

/// The end of each folder in a path, the root first.
fn ends_of_folders(path: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1))
}

/// The number of entries directly in a folder, whose path ends with `/`.
fn entries(files: &BTreeSet<&str>, folder: &str) -> usize {
    let inside = files.range(folder..).take_while(|path| path.starts_with(folder));
    inside.map(|path| path[folder.len()..].split('/').next()).collect::<BTreeSet<_>>().len()
}
