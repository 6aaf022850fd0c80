//! A turn that could not be merged, beside the head of this moment. What conflicts is found anew each time: the head may have
//! moved away from the turn since, or towards it.

use std::sync::Arc;

use proto::id::{ProjectId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
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
        tree,
    },
    store::conflicts::{self, ConflictState},
};

/// Bytes of contents that one answer holds; above, ids and sizes tell what there is.
const CONTENT_BYTES: u64 = 4 * 1024 * 1024;

/// A conflicted turn and the three trees that it is about.
pub(crate) struct Conflict {
    /// What the turn worked on; `None` if it began without files.
    pub(crate) base: Option<Revision>,
    /// The turn's turn_revision commit.
    pub(crate) turn_revision: Revision,
    pub(crate) head: Option<Revision>,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) base_tree: Arc<Folder>,
    pub(crate) turn_tree: Arc<Folder>,
    pub(crate) head_tree: Arc<Folder>,
}

/// A path that the turn and the head cannot both have, as each has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConflictFile {
    pub(crate) path: String,
    pub(crate) base: Option<FileRef>,
    pub(crate) head: Option<FileRef>,
    pub(crate) turn: Option<FileRef>,
}

/// A conflict to look at.
pub(crate) struct ConflictView {
    pub(crate) conflict: Conflict,
    pub(crate) files: Vec<ConflictFile>,
    /// How many of them, from the first, go along with their contents.
    pub(crate) shown: usize,
    pub(crate) contents: Contents,
}

/// What a person sees of a conflict.
pub(crate) async fn get(app: &App, user: UserId, project: ProjectId, turn: TurnId) -> Result<ConflictView, Error> {
    let member = member::find(&app.pool, user, &Target::Id(project), Role::Viewer).await?;
    let conflict = match conflicts::find(&app.pool, project, turn).await?.ok_or(Error::ConflictNotFound)? {
        ConflictState::Open { turn_revision, expires_at } => Conflict::open(app, &member, turn_revision, expires_at).await?,
        ConflictState::Resolved { revision, .. } => return Err(Error::ConflictResolved { revision }),
    };
    let merged = conflict.merge(app, &member).await?;
    let files: Vec<ConflictFile> = merged.conflicts.into_iter().map(|path| conflict.sides(path)).collect();
    let shown = fitting(&files, CONTENT_BYTES);
    let wanted: Vec<FileRef> = files[..shown].iter().flat_map(ConflictFile::files).collect();
    let contents = tree::contents(app, member.project.store, &wanted).await?;
    Ok(ConflictView { conflict, files, shown, contents })
}

/// How many of the first have at most so many bytes together. Equal contents count each time, as they do in an answer.
fn fitting(files: &[ConflictFile], bytes: u64) -> usize {
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
    /// A turn's commit with what it is to be compared with.
    pub(crate) async fn open(app: &App, member: &Member, turn_revision: Revision, expires_at: OffsetDateTime) -> Result<Self, Error> {
        let Member { project, head, .. } = member;
        let base = match turn_revision.parents.first() {
            Some(id) => Some(history::find(&app.pool, project.id, *id).await?),
            None => None,
        };
        let base_tree = tree::at_revision(app, project.store, base.as_ref()).await?;
        let turn_tree = tree::at_revision(app, project.store, Some(&turn_revision)).await?;
        let head_tree = tree::at_revision(app, project.store, head.as_ref()).await?;
        Ok(Self { base, turn_revision, head: head.clone(), expires_at, base_tree, turn_tree, head_tree })
    }

    /// The head with all of the turn that can be merged.
    pub(crate) async fn merge(&self, app: &App, member: &Member) -> Result<MergeResult, Error> {
        let trees = Merge { base: &self.base_tree, result: &self.turn_tree, head: &self.head_tree, whole: false };
        merge(app, member.project.store, &trees, MergeMode::Lines, &Contents::new()).await
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
    fn contents_go_along_as_far_as_they_fit() {
        let file = |size: u32| Some(FileRef { oid: Oid::EMPTY_TREE, size });
        let sides = |base: Option<FileRef>, head, turn| ConflictFile { path: "a".into(), base, head, turn };
        let files = [sides(file(1), file(2), file(3)), sides(None, file(4), None), sides(None, None, file(1))];
        let counts = [5, 6, 9, 10, 11, 100].map(|bytes| fitting(&files, bytes));
        assert_eq!(counts, [0, 1, 1, 2, 3, 3]);
    }
}
