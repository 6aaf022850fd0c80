//! What a step would do to the limits of the project, asked before it is taken.

use std::collections::BTreeSet;

use proto::path;

use super::{Node, Overlay, Refusal, clash};

impl Overlay {
    /// Whether `size` bytes may stand at a path, `instead` of the file that moves there.
    pub(super) fn may_put(&self, path: &str, size: usize, instead: Option<&str>) -> Result<(), Refusal> {
        // As project-storage does: a path that the base has may be kept, however the rule was then.
        if !self.base.contains_key(path) {
            path::check_new(path)
                .map_err(|problem| Refusal::new("INVALID_PATH", format!("`{}` is not a legal path here: {problem}", path::shown(path))))?;
        }
        let others = self.files.keys().map(String::as_str).filter(|other| Some(*other) != instead);
        if let Some(clash) = clash::find(path, others) {
            return Err(Refusal::new("INVALID_PATH", clash.message(path)));
        }
        let limit = self.limits.file_bytes;
        // What is there already may move, whatever the plan is now.
        if instead.is_none() && over(size, limit) {
            return Err(Refusal::new("FILE_TOO_LARGE", format!("{path} would have {size} bytes; a file may have {limit}")));
        }
        let mut after = self.clone_names();
        after.extend([path]);
        if let Some(moved) = instead {
            after.remove(moved);
        }
        self.has_room(path, size, instead, &after)?;
        self.may_change(&after)
    }

    fn has_room(&self, path: &str, size: usize, instead: Option<&str>, after: &BTreeSet<&str>) -> Result<(), Refusal> {
        let grows = !self.files.contains_key(path) && instead.is_none();
        let limit = self.limits.files;
        if grows && over(after.len(), limit) {
            return Err(Refusal::new("TOO_MANY_FILES", format!("{path} would be file {}; a project may have {limit}", after.len())));
        }
        let before: usize = self.files.values().map(|(_, size)| *size as usize).sum();
        let replaced =
            [Some(path), instead].into_iter().flatten().filter_map(|path| self.size(path)).map(|size| size as usize).sum::<usize>();
        let (bytes, limit) = (before - replaced + size, self.limits.project_bytes);
        if over(bytes, limit) && bytes > before {
            return Err(Refusal::new(
                "PROJECT_TOO_LARGE",
                format!("with {path} the project would have {bytes} bytes; it may have {limit}"),
            ));
        }
        let limit = self.limits.folder_entries;
        if !self.files.contains_key(path) && ends_of_folders(path).any(|end| over(entries(after, &path[..end]), limit)) {
            return Err(Refusal::new("TOO_MANY_FILES", format!("a folder on the way to {path} would have more than {limit} entries")));
        }
        Ok(())
    }

    /// Whether the files after a step differ from the base in no more places than one revision may. A file that is written again
    /// counts once.
    pub(super) fn may_change(&self, after: &BTreeSet<&str>) -> Result<(), Refusal> {
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

/// Where each folder of a path ends, the root first.
fn ends_of_folders(path: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1))
}

/// Names directly inside a folder, given with its `/`.
fn entries(files: &BTreeSet<&str>, folder: &str) -> usize {
    let inside = files.range(folder..).take_while(|path| path.starts_with(folder));
    inside.map(|path| path[folder.len()..].split('/').next()).collect::<BTreeSet<_>>().len()
}
