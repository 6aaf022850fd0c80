//! Reading a conflicted turn. Its conflicts are computed on each read, because the head may have changed since.

use std::sync::Arc;

use proto::id::{ProjectId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    error::Error,
    git::{FileRef, Folder},
    merge::{Merge, MergeMode, MergeResult},
    model::{
        project::{Member, Role, Target},
        revision::Revision,
    },
    read::{
        history, member,
        merge::{Contents, merge},
        objects::Objects,
        tree,
    },
    store::conflicts::{self, ConflictState},
};

/// The largest sum of contents in one answer, in bytes. Further files come with id and size only.
const MAX_CONTENT_BYTES: u64 = 4 * 1024 * 1024;

/// A conflicted turn with the three trees of its merge.
pub(crate) struct Conflict {
    /// The revision that the turn worked on; `None` if it began without files.
    pub(crate) base: Option<Revision>,
    /// The turn's own commit.
    pub(crate) turn_revision: Revision,
    pub(crate) head: Option<Revision>,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) base_tree: Arc<Folder>,
    pub(crate) turn_tree: Arc<Folder>,
    pub(crate) head_tree: Arc<Folder>,
}

/// A path in conflict, with the file of each side; `None` if that side has no file there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConflictFile {
    pub(crate) path: String,
    pub(crate) base: Option<FileRef>,
    pub(crate) head: Option<FileRef>,
    pub(crate) turn: Option<FileRef>,
}

/// A conflict with the files that are in conflict.
pub(crate) struct ConflictView {
    pub(crate) conflict: Conflict,
    pub(crate) files: Vec<ConflictFile>,
    /// How many of the first files come with their contents.
    pub(crate) with_content: usize,
    pub(crate) contents: Contents,
}

/// The conflict of a turn, for a user who may read the project.
///
/// # Errors
/// [`Error::ConflictNotFound`] if the turn is not conflicted or its branch has expired; [`Error::ConflictResolved`].
pub(crate) async fn get(objects: &Objects, user: UserId, project: ProjectId, turn: TurnId) -> Result<ConflictView, Error> {
    let member = member::find(&objects.pool, user, &Target::Id(project), Role::Viewer).await?;
    let conflict = match conflicts::find(&objects.pool, project, turn).await?.ok_or(Error::ConflictNotFound)? {
        ConflictState::Open { turn_revision, expires_at } => Conflict::open(objects, &member, turn_revision, expires_at).await?,
        ConflictState::Resolved { revision, .. } => return Err(Error::ConflictResolved { revision }),
    };
    let merged = conflict.merge(objects, &member).await?;
    let files: Vec<ConflictFile> = merged.conflicts.into_iter().map(|path| conflict.sides(path)).collect();
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
        [self.base, self.head, self.turn].into_iter().flatten()
    }
}

impl Conflict {
    /// Reads the trees of the turn's commit, of its parent and of the head.
    pub(crate) async fn open(
        objects: &Objects,
        member: &Member,
        turn_revision: Revision,
        expires_at: OffsetDateTime,
    ) -> Result<Self, Error> {
        let Member { project, head, .. } = member;
        let base = match turn_revision.parents.first() {
            Some(id) => Some(history::find(&objects.pool, project.id, *id).await?),
            None => None,
        };
        let base_tree = tree::at_revision(objects, project.store, base.as_ref()).await?;
        let turn_tree = tree::at_revision(objects, project.store, Some(&turn_revision)).await?;
        let head_tree = tree::at_revision(objects, project.store, head.as_ref()).await?;
        Ok(Self { base, turn_revision, head: head.clone(), expires_at, base_tree, turn_tree, head_tree })
    }

    /// Merges the turn's tree with the head.
    pub(crate) async fn merge(&self, objects: &Objects, member: &Member) -> Result<MergeResult, Error> {
        let trees = Merge { base: &self.base_tree, result: &self.turn_tree, head: &self.head_tree, is_snapshot: false };
        merge(objects, member.project.store, &trees, MergeMode::Lines, &Contents::new()).await
    }

    fn sides(&self, path: String) -> ConflictFile {
        let [base, head, turn] = [&self.base_tree, &self.head_tree, &self.turn_tree].map(|tree| tree.file(&path));
        ConflictFile { path, base, head, turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;

    #[test]
    fn the_first_files_come_with_their_contents() {
        let file = |size: u32| Some(FileRef { oid: Oid::EMPTY_TREE, size });
        let sides = |base: Option<FileRef>, head, turn| ConflictFile { path: "a".into(), base, head, turn };
        let files = [sides(file(1), file(2), file(3)), sides(None, file(4), None), sides(None, None, file(1))];
        let counts = [5, 6, 9, 10, 11, 100].map(|bytes| count_within(&files, bytes));
        assert_eq!(counts, [0, 1, 1, 2, 3, 3]);
    }
}
