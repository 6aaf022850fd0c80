//! The git objects of a commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use prost::bytes::Bytes;
use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    blocking,
    commit::{quota::Quotas, stage::StagedTree},
    git::{self, Commit, DiffStat, Difference, FileChange, Folder, Object, Oid, Renames},
    model::{
        project::{Member, StoreId},
        revision::{Actor, Totals},
    },
    read::{cache::Cache, merge::Contents},
    store::saves::NewRevision,
};

/// The author of a commit and its message.
pub(crate) struct CommitAuthor<'a> {
    pub(crate) user: UserId,
    /// `None` for a user's save.
    pub(crate) turn: Option<TurnId>,
    /// May be empty.
    pub(crate) message: &'a str,
    pub(crate) now: OffsetDateTime,
}

/// A commit with the new objects that it needs.
pub(crate) struct CommitObjects {
    pub(crate) oid: Oid,
    pub(crate) tree: Arc<Folder>,
    /// Sorted by id.
    pub(crate) objects: Vec<Object>,
    tree_oid: Oid,
    parents: Vec<Oid>,
    stat: DiffStat,
    /// The differences to the parent's tree.
    pub(crate) differences: Vec<Difference>,
    user: UserId,
    turn: Option<TurnId>,
    /// As the history shows it.
    message: String,
    /// Contents of the objects that are files.
    contents: Contents,
}

/// Compressed files, kept for the next attempt after a race.
pub(crate) type CompressedFiles = HashMap<Oid, Object>;

impl CommitObjects {
    /// Makes the objects of a commit: the commit, changed folders and new contents.
    pub(crate) async fn pack(staged: StagedTree, author: &CommitAuthor<'_>, compressed: &mut CompressedFiles) -> Self {
        let StagedTree { mut tree, differences, parents, contents } = staged;
        let new = differences.iter().filter_map(|d| d.new.map(|file| file.oid));
        let contents: Contents = new.filter_map(|oid| Some((oid, Bytes::clone(contents.get(&oid)?)))).collect();
        compress(&contents, compressed).await;

        let mut objects = Vec::new();
        let tree_oid = tree.write(&mut objects);
        let commit = git::commit(&Commit {
            tree: tree_oid,
            parents: &parents,
            author: &author.user.to_string(),
            time: author.now.unix_timestamp(),
            message: &commit_message(author),
        });
        let oid = commit.oid;
        objects.push(commit);
        objects.extend(contents.keys().filter_map(|oid| compressed.get(oid).cloned()));
        // Sorted and without duplicates, so that concurrent saves of a store lock rows in the same order.
        let objects: BTreeMap<Oid, Object> = objects.into_iter().map(|object| (object.oid, object)).collect();
        Self {
            oid,
            tree: Arc::new(tree),
            objects: objects.into_values().collect(),
            tree_oid,
            parents,
            stat: git::stat(&differences),
            differences,
            user: author.user,
            turn: author.turn,
            message: author.message.to_owned(),
            contents,
        }
    }

    /// The revision on top of the head that the member has read, without an idempotency key and a plan.
    pub(crate) fn new_revision(&self, member: &Member, quotas: Quotas) -> NewRevision<'_> {
        NewRevision {
            project: member.project.id,
            store: member.project.store,
            expected: member.head.as_ref().map(|head| head.id),
            oid: self.oid,
            tree: self.tree_oid,
            parents: &self.parents,
            actor: if self.turn.is_some() { Actor::Agent } else { Actor::Person },
            user: self.user,
            turn: self.turn,
            message: &self.message,
            stat: self.stat,
            objects: &self.objects,
            request: None,
            plan: None,
            max_bytes: quotas.max_bytes(member.project.plan),
            undoes: None,
            lock_version: member.project.lock_version,
            totals: Totals { files: self.tree.files(), bytes: self.tree.bytes() },
            pending: None,
        }
    }

    /// The changed files, sorted by path. Only a file without a change counts as moved.
    pub(crate) fn changes(&self) -> Vec<FileChange> {
        Renames::new(self.differences.clone()).finish(|_| None)
    }

    /// Adds the tree and the new contents to the cache.
    pub(crate) fn put_into(&self, cache: &Cache, store: StoreId) {
        cache.put_folder(store, &self.tree);
        for (oid, content) in &self.contents {
            cache.put_content(store, *oid, content.clone());
        }
    }
}

async fn compress(contents: &Contents, compressed: &mut CompressedFiles) {
    let missing: Vec<(Oid, Bytes)> =
        contents.iter().filter(|(oid, _)| !compressed.contains_key(oid)).map(|(oid, bytes)| (*oid, bytes.clone())).collect();
    let bytes = missing.iter().map(|(_, bytes)| bytes.len()).sum();
    let work = move || missing.iter().map(|(oid, bytes)| git::blob(*oid, bytes)).collect::<Vec<_>>();
    compressed.extend(blocking::run(bytes, work).await.into_iter().map(|object| (object.oid, object)));
}

/// The message of the git commit. It names the turn, so that a clone shows which turn made the commit.
fn commit_message(author: &CommitAuthor<'_>) -> String {
    let message = if author.message.is_empty() { "Save" } else { author.message };
    match author.turn {
        Some(turn) => format!("{message}\n\nTurn: {turn}"),
        None => message.to_owned(),
    }
}
