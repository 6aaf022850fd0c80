//! Revisions: what the log of a project says about its commits.

use proto::id::{ProjectId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    Storage,
    error::Error,
    git::{DiffStat, Oid},
    project::{self, Member, Role},
    store::revisions,
};

/// Who made a revision. The numbers stand in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Person = 1,
    Agent = 2,
}

/// One commit of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub id: Oid,
    /// Its place in the project's log; 0 on a turn's own branch.
    pub number: u32,
    pub tree: Oid,
    pub parents: Vec<Oid>,
    pub message: String,
    pub actor: Actor,
    pub user: UserId,
    pub turn: Option<TurnId>,
    pub created_at: OffsetDateTime,
    pub stat: DiffStat,
}

/// A revision of a project by the id that a client gave, or the head; `None` only for the head of a project without files.
pub async fn resolve(storage: &Storage, member: &Member, id: Option<Oid>) -> Result<Option<Revision>, Error> {
    match id {
        None => Ok(member.head.clone()),
        Some(id) if member.head.as_ref().is_some_and(|head| head.id == id) => Ok(member.head.clone()),
        Some(id) => Ok(Some(find(storage, member.project.id, id).await?)),
    }
}

/// A revision of a project by its id; an id that is not in the project's log opens nothing.
pub async fn find(storage: &Storage, project: ProjectId, id: Oid) -> Result<Revision, Error> {
    revisions::find(&storage.pool, project, id).await?.ok_or(Error::RevisionNotFound)
}

/// A page of the log, the newest first, with the key of the next page.
pub async fn list(storage: &Storage, user: UserId, project: ProjectId, page: Page<u32>) -> Result<(Vec<Revision>, Option<u32>), Error> {
    let before = page.after.unwrap_or(u32::MAX);
    let rows = revisions::page(&storage.pool, project, user, before, page.size + 1).await?;
    project::require(rows.as_ref().map(|(role, _)| *role), Role::Viewer)?;
    let revisions = rows.map(|(_, revisions)| revisions).unwrap_or_default();
    Ok(page.cut(revisions, |revision| revision.number))
}

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Page<K> {
    /// Rows at most.
    pub size: i64,
    /// The last key of the page before.
    pub after: Option<K>,
}

impl<K> Page<K> {
    /// Takes the row too many away, which only said that there is a next page, and answers that page's key.
    pub fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Option<K>) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(key);
        (rows, next)
    }
}
