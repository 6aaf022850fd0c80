//! Commits that may be in no log: those of conflicted turns after their branch has ended.

use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    error::Error,
    git::{DiffStat, Oid, StoredCommit, read_commit},
    model::{
        project::{Member, Project},
        revision::{Actor, Revision},
    },
    read::objects::Objects,
    store::{self, conflicts, objects, revisions, turns},
};

/// The line of a commit's message that names its turn.
const TURN: &str = "Turn: ";

/// The revision that a turn made, in the log or on its own branch, also after the branch has ended.
///
/// # Errors
/// [`Error::TurnNotFound`] if the project has no such turn; [`Error::RevisionNotFound`] if the turn made no revision, or if its commit was
/// deleted.
pub(crate) async fn of_turn(objects: &Objects, member: &Member, turn: TurnId) -> Result<Revision, Error> {
    let found = turns::find(&objects.pool, turn).await?.filter(|found| found.project == Some(member.project.id));
    let id = found.ok_or(Error::TurnNotFound)?.revision.ok_or(Error::RevisionNotFound)?;
    find(objects, &member.project, id).await?.ok_or(Error::RevisionNotFound)
}

/// What a revision of the log merged, by the id of its further parent: another revision of the log, or the commit of a conflict that was
/// resolved. The revision of another project is none, even if the projects share their objects, and neither is the commit of a conflict
/// that the project from which a fork was made had before the fork.
pub(crate) async fn merged(objects: &Objects, project: &Project, revision: &Revision, parent: Oid) -> Result<Option<Revision>, Error> {
    if has_own_conflict(project, revision) {
        return find(objects, project, parent).await;
    }
    Ok(revisions::find(&objects.pool, project.id, parent).await?.filter(|found| !found.is_on_branch()))
}

/// Whether the further parents of a revision of the log are commits of conflicts of this project.
fn has_own_conflict(project: &Project, revision: &Revision) -> bool {
    let inherited = project.forked_from.map_or(0, |origin| origin.number);
    revision.actor != Actor::Merge && revision.number > inherited
}

/// A commit by its id, which the caller must have from the project's log or from one of its turns or conflicts. The store has the commits
/// of all forks, so an id that comes from a merge of projects must not get here.
async fn find(objects: &Objects, project: &Project, id: Oid) -> Result<Option<Revision>, Error> {
    if let Some(revision) = revisions::find(&objects.pool, project.id, id).await? {
        return Ok(Some(revision));
    }
    let rows: Vec<store::objects::Row> = objects::read(&objects.pool, project.store, &[id]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    Ok(Some(revision(id, read_commit(id, &row.data)?)))
}

/// The revision whose files another one changed: its first parent. The other side of an open merge of projects may have its parent in the
/// other project only; then it is what the merge began with.
///
/// # Errors
/// [`Error::RevisionNotFound`] if the project does not have it.
pub(crate) async fn before(objects: &Objects, project: &Project, revision: &Revision) -> Result<Option<Revision>, Error> {
    let Some(parent) = revision.previous() else { return Ok(None) };
    if let Some(found) = revisions::find(&objects.pool, project.id, parent).await? {
        return Ok(Some(found));
    }
    match conflicts::base_of(&objects.pool, project.id, revision.id).await? {
        Some(Some((commit, tree))) => {
            let base = find(objects, project, commit).await?.ok_or(Error::RevisionNotFound)?;
            Ok(Some(Revision { tree, ..base }))
        }
        Some(None) => Ok(None),
        None => Err(Error::RevisionNotFound),
    }
}

/// What a commit says of itself. It does not say which files it changed, so there are no counts.
fn revision(id: Oid, commit: StoredCommit) -> Revision {
    let (message, turn) = match commit.message.rsplit_once('\n').and_then(|(text, last)| Some((text, last.strip_prefix(TURN)?))) {
        Some((text, turn)) => (text.trim_end().to_owned(), turn.parse().ok()),
        None => (commit.message, None::<TurnId>),
    };
    Revision {
        id,
        number: 0,
        tree: commit.tree,
        parents: commit.parents,
        message,
        actor: if turn.is_some() { Actor::Agent } else { Actor::Person },
        user: commit.author.parse().unwrap_or(UserId(uuid::Uuid::nil())),
        turn,
        created_at: OffsetDateTime::from_unix_timestamp(commit.time).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        stat: DiffStat::default(),
        undoes: None,
        totals: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{Commit, commit};

    #[test]
    fn a_commit_says_who_made_it() {
        let (user, turn) = (UserId::generate(), TurnId::generate());
        for (message, expected, by) in [
            (format!("Build a clock\n\nwith hands\n\nTurn: {turn}"), "Build a clock\n\nwith hands", Some(turn)),
            ("Save".to_owned(), "Save", None),
            ("Save\n\nTurn: left".to_owned(), "Save", None),
        ] {
            let made = Commit { tree: Oid::EMPTY_TREE, parents: &[], author: &user.to_string(), time: 1_800_000_000, message: &message };
            let object = commit(&made);
            let read = revision(object.oid, read_commit(object.oid, &object.data).expect("a commit"));
            assert_eq!((read.message.as_str(), read.turn, read.user), (expected, by, user));
            assert_eq!((read.tree, read.created_at.unix_timestamp(), read.number), (Oid::EMPTY_TREE, 1_800_000_000, 0));
            assert_eq!(read.actor == Actor::Agent, by.is_some());
        }
    }
}
