//! Reading conflicts. The paths of a conflict are computed on each read, because the head may have changed since.

use std::{collections::HashMap, sync::Arc};

use chassis::context::Context;
use proto::id::{ConflictId, ProjectId, UserId};

use crate::{
    error::Error,
    git::{FileRef, Folder},
    merge::{Merge, MergeMode, MergeResult},
    model::{
        conflict::{ConflictSummary, OpenConflict},
        page::Page,
        project::{ListKey, Member, Role, Target},
        revision::Revision,
    },
    read::{
        load::LoadSlots,
        member,
        merge::{Contents, merge},
        objects::Objects,
        tree,
    },
    store::{
        Pool,
        conflicts::{self, ConflictState},
    },
};

/// The largest sum of contents in one answer, in bytes. Further files come with id and size only.
const MAX_CONTENT_BYTES: u64 = 4 * 1024 * 1024;

/// A conflict with the three trees of its merge.
pub(crate) struct Conflict {
    pub(crate) open: OpenConflict,
    pub(crate) head: Option<Revision>,
    pub(crate) base_tree: Arc<Folder>,
    pub(crate) their_tree: Arc<Folder>,
    pub(crate) head_tree: Arc<Folder>,
}

/// A path in conflict, with the file of each side; `None` if that side has no file there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConflictFile {
    pub(crate) path: String,
    pub(crate) base: Option<FileRef>,
    pub(crate) head: Option<FileRef>,
    pub(crate) theirs: Option<FileRef>,
    /// The path at the base, if the head moved the file here.
    pub(crate) head_old_path: Option<String>,
    /// The path at the base, if the other side moved the file here.
    pub(crate) their_old_path: Option<String>,
}

/// A conflict with the files that are in conflict.
pub(crate) struct ConflictView {
    pub(crate) conflict: Conflict,
    pub(crate) files: Vec<ConflictFile>,
    /// How many of the first files come with their contents.
    pub(crate) with_content: usize,
    pub(crate) contents: Contents,
}

/// A page of the open conflicts of a project, the newest first, with the key of the next page.
pub(crate) async fn list(
    pool: &Pool,
    user: UserId,
    project: ProjectId,
    page: Page<ListKey>,
) -> Result<(Vec<ConflictSummary>, Option<ListKey>), Error> {
    member::find(pool, user, &Target::Id(project), Role::Viewer).await?;
    let rows = conflicts::page(pool, project, page.after, page.size + 1).await?;
    Ok(page.cut(rows, |conflict| (conflict.created_at.unix_timestamp_nanos() / 1000, conflict.id.0)))
}

/// A conflict, for a user who may read the project.
///
/// # Errors
/// [`Error::ConflictNotFound`] if there is none, or its branch has expired; [`Error::ConflictResolved`].
pub(crate) async fn get(
    objects: &Objects,
    (slots, context): (&LoadSlots, &Context),
    user: UserId,
    (project, id): (ProjectId, ConflictId),
) -> Result<ConflictView, Error> {
    let member = member::find(&objects.pool, user, &Target::Id(project), Role::Viewer).await?;
    // The merge reads and compares as much as a page of differences.
    let _slot = slots.take(context).await?;
    let conflict = match conflicts::find(&objects.pool, project, id).await?.ok_or(Error::ConflictNotFound)? {
        ConflictState::Open(open) => Conflict::load(objects, &member, *open).await?,
        ConflictState::Resolved { revision, .. } => return Err(Error::ConflictResolved { revision }),
    };
    let merged = conflict.merge(objects, &member).await?;
    let MergeResult { conflicts, mut moves, .. } = merged;
    let files: Vec<ConflictFile> = conflicts.into_iter().map(|path| conflict.sides(path, &mut moves)).collect();
    let with_content = count_within(&files, MAX_CONTENT_BYTES);
    let refs: Vec<FileRef> = files[..with_content].iter().flat_map(ConflictFile::files).collect();
    let contents = objects.contents(member.project.store, &refs).await?;
    Ok(ConflictView { conflict, files, with_content, contents })
}

/// How many of the first files have at most `bytes` bytes together. Equal contents count each time, because an answer repeats them.
fn count_within(files: &[ConflictFile], bytes: u64) -> usize {
    let mut sum = 0;
    let fits = |sides: &ConflictFile| {
        sum += sides.files().map(|file| u64::from(file.size)).sum::<u64>();
        sum <= bytes
    };
    files.iter().map(fits).position(|fits| !fits).unwrap_or(files.len())
}

impl ConflictFile {
    fn files(&self) -> impl Iterator<Item = FileRef> {
        [self.base, self.head, self.theirs].into_iter().flatten()
    }
}

impl Conflict {
    /// Reads the trees of a conflict.
    pub(crate) async fn load(objects: &Objects, member: &Member, open: OpenConflict) -> Result<Self, Error> {
        let Member { project, head, .. } = member;
        let base_tree = match open.base {
            Some((_, tree)) => tree::load(objects, project.store, tree).await?,
            None => Arc::default(),
        };
        let their_tree = tree::at_revision(objects, project.store, Some(&open.theirs)).await?;
        let head_tree = tree::at_revision(objects, project.store, head.as_ref()).await?;
        Ok(Self { open, head: head.clone(), base_tree, their_tree, head_tree })
    }

    /// Merges the other side with the head.
    pub(crate) async fn merge(&self, objects: &Objects, member: &Member) -> Result<MergeResult, Error> {
        let text_bytes = member.project.limits().file_bytes;
        let [base, result, head] = [&self.base_tree, &self.their_tree, &self.head_tree].map(Arc::clone);
        let trees = Merge { base, result, head, text_bytes, is_snapshot: false };
        merge(objects, member.project.store, trees, MergeMode::Lines, &Contents::new()).await
    }

    fn sides(&self, path: String, [theirs_moved, head_moved]: &mut [HashMap<String, String>; 2]) -> ConflictFile {
        let [base, head, theirs] = [&self.base_tree, &self.head_tree, &self.their_tree].map(|tree| tree.file(&path));
        let (head_old_path, their_old_path) = (head_moved.remove(&path), theirs_moved.remove(&path));
        ConflictFile { path, base, head, theirs, head_old_path, their_old_path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;

    #[test]
    fn the_first_files_come_with_their_contents() {
        let file = |size: u32| Some(FileRef { oid: Oid::EMPTY_TREE, size });
        let sides = |base: Option<FileRef>, head, theirs| ConflictFile {
            path: "a".into(),
            base,
            head,
            theirs,
            head_old_path: None,
            their_old_path: None,
        };
        let files = [sides(file(1), file(2), file(3)), sides(None, file(4), None), sides(None, None, file(1))];
        let counts = [5, 6, 9, 10, 11, 100].map(|bytes| count_within(&files, bytes));
        assert_eq!(counts, [0, 1, 1, 2, 3, 3]);
    }
}
