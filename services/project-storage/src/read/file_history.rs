//! The history of one file, also from before it moved.

use chassis::{context::Context, share::Share};
use proto::id::{ProjectId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    git::{FileChange, Oid},
    model::{
        page::Page,
        path::FilePath,
        project::{Member, Project, Role, Target},
        revision::{LabelledRevision, Revision},
    },
    read::{
        changes, commits, history,
        load::LoadSlots,
        member,
        objects::Objects,
        walk::{self, Budget, Step, Version, Walk},
    },
};

/// Revisions that one page looks at.
const MAX_REVISIONS: usize = 1000;
/// Bytes of folders that one page reads.
const MAX_FOLDER_BYTES: u64 = 16 * 1024 * 1024;
/// Searches for the old path of a file in one page.
const MAX_SEARCHES: usize = 10;

/// Whose history is read, and for whom.
pub(crate) struct Query {
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    pub(crate) path: FilePath,
    /// The newest revision of the history; `None` is the head.
    pub(crate) revision: Option<Oid>,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Revisions with smaller numbers follow.
    before: u32,
    /// The path of the file there.
    path: String,
}

/// A revision that changed the file.
pub(crate) struct FileRevision {
    pub(crate) revision: LabelledRevision,
    pub(crate) change: FileChange,
}

/// A page of the history of a file, the newest revision first, with the cursor of the next page.
///
/// A page looks at 1,000 revisions at most, so it may have fewer entries than asked for and still be followed by another one.
///
/// # Errors
/// [`Error::RevisionNotFound`] for a revision that the project does not have; [`Error::FileNotFound`] if the revision does not have the file.
pub(crate) async fn list(
    objects: &Objects,
    (slots, context): (&LoadSlots, &Context),
    query: Query,
    page: Page<Cursor>,
) -> Result<(Vec<FileRevision>, Option<Cursor>), Error> {
    let member = member::find(&objects.pool, query.user, &Target::Id(query.project), Role::Viewer).await?;
    let start = match page.after {
        Some(cursor) => Start { beside: None, cursor },
        None => start(objects, &member, &query).await?,
    };
    let slot = slots.take(context).await?;
    let Start { beside, cursor: Cursor { before, path } } = start;
    let walk = Walk::new(objects, &member.project, path, before);
    let budget = Budget { revisions: MAX_REVISIONS, bytes: MAX_FOLDER_BYTES };
    let search = Search { objects, project: &member.project, walk, before, budget, searches: MAX_SEARCHES, slot: Some(slot) };
    let (found, next) = search.run(beside, usize::try_from(page.size).unwrap_or(usize::MAX)).await?;
    let (revisions, changes): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let revisions = history::with_labels(&objects.pool, query.project, revisions).await?;
    Ok((revisions.into_iter().zip(changes).map(|(revision, change)| FileRevision { revision, change }).collect(), next))
}

/// Where the first page begins.
struct Start {
    /// The other side of a conflict, if it is the newest one and changed the file.
    beside: Option<Version>,
    cursor: Cursor,
}

async fn start(objects: &Objects, member: &Member, query: &Query) -> Result<Start, Error> {
    let path = query.path.as_str().to_owned();
    let missing = || Error::FileNotFound { field: String::new(), path: path.clone() };
    let newest = history::resolve(&objects.pool, member, query.revision).await?.ok_or_else(missing)?;
    let new = Some(walk::file_at(objects, &member.project, newest.tree, &path).await?.ok_or_else(missing)?);
    let behind = |revision: &Revision| revision.number.saturating_add(1);
    if newest.number > 0 {
        return Ok(Start { beside: None, cursor: Cursor { before: behind(&newest), path } });
    }
    // The other side of a conflict stands beside the log, on top of the revision that both sides began with.
    let base = commits::before(objects, &member.project, &newest).await?;
    let previous_tree = base.as_ref().map_or(Oid::EMPTY_TREE, |base| base.tree);
    let old = walk::file_at(objects, &member.project, previous_tree, &path).await?;
    let beside = (old != new).then_some(Version { revision: newest, previous_tree, old, new });
    Ok(Start { beside, cursor: Cursor { before: base.as_ref().map_or(0, behind), path } })
}

/// The search for one page.
struct Search<'a> {
    objects: &'a Objects,
    project: &'a Project,
    walk: Walk<'a>,
    /// The number of the last revision that was found.
    before: u32,
    budget: Budget,
    /// Searches for an old path that are left.
    searches: usize,
    /// `None` only while other threads have it.
    slot: Option<Share>,
}

impl Search<'_> {
    async fn run(mut self, beside: Option<Version>, size: usize) -> Result<(Vec<(Revision, FileChange)>, Option<Cursor>), Error> {
        let mut found = Vec::new();
        let mut beside = beside.map(Box::new);
        while found.len() < size {
            let step = match beside.take() {
                Some(version) => Step::Changed(version),
                None => self.walk.next(&mut self.budget).await?,
            };
            let version = match step {
                Step::Changed(version) => *version,
                Step::End => return Ok((found, None)),
                Step::Spent(before) => return Ok((found, Some(Cursor { before, path: self.walk.path }))),
            };
            let Some(change) = self.change(&version).await? else { break };
            if version.revision.number > 0 {
                self.before = version.revision.number;
            }
            if let FileChange::Renamed { old_path, .. } = &change {
                self.walk = Walk::new(self.objects, self.project, old_path.clone(), self.before);
            }
            found.push((version.revision, change));
        }
        Ok((found, (self.before > 1).then_some(Cursor { before: self.before, path: self.walk.path })))
    }

    /// What a revision did to the file; `None` if this page may not search for where it came from.
    async fn change(&mut self, version: &Version) -> Result<Option<FileChange>, Error> {
        let path = self.walk.path.clone();
        let new = match (version.old, version.new) {
            (Some(old), Some(new)) => return Ok(Some(FileChange::Modified { path, old, new })),
            (Some(old), None) => return Ok(Some(FileChange::Deleted { path, old })),
            (None, None) => return Ok(None),
            (None, Some(new)) => new,
        };
        let Some(searches) = self.searches.checked_sub(1) else { return Ok(None) };
        let Some(slot) = self.slot.take() else { return Ok(None) };
        self.searches = searches;
        let trees = (version.previous_tree, version.revision.tree);
        let (changes, slot) = changes::between(self.objects, self.project.store, trees, slot).await?;
        self.slot = Some(slot);
        let moved = changes.iter().find(|change| matches!(change, FileChange::Renamed { .. }) && change.path() == path);
        Ok(Some(moved.cloned().unwrap_or(FileChange::Added { path, new })))
    }
}
