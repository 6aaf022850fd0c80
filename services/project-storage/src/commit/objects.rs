//! The git objects of a commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use prost::bytes::Bytes;
use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    commit::stage::StagedTree,
    git::{self, Commit, DiffStat, Folder, Object, Oid},
    model::project::StoreId,
    read::{
        cache::Cache,
        merge::Contents,
        tree::{HEAVY_BYTES, off_thread},
    },
};

/// Who commits, and why.
pub(crate) struct CommitAuthor<'a> {
    pub(crate) user: UserId,
    pub(crate) turn: Option<TurnId>,
    /// May be empty.
    pub(crate) message: &'a str,
    pub(crate) now: OffsetDateTime,
}

/// A commit with every object that it needs, sorted by id.
pub(crate) struct CommitObjects {
    pub(crate) oid: Oid,
    pub(crate) tree: Arc<Folder>,
    pub(crate) tree_oid: Oid,
    pub(crate) parents: Vec<Oid>,
    pub(crate) objects: Vec<Object>,
    pub(crate) stat: DiffStat,
    /// As the history shows it.
    pub(crate) message: String,
    /// Contents of the objects that are files.
    contents: Contents,
}

/// Files that were compressed already, for an attempt that has to start again.
pub(crate) type CompressedFiles = HashMap<Oid, Object>;

impl CommitObjects {
    /// Makes the objects of a commit. Contents that were there before are not among them.
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
        // Sorted and each once: two savers of a store lock rows in the same order.
        let objects: BTreeMap<Oid, Object> = objects.into_iter().map(|object| (object.oid, object)).collect();
        let stat = git::stat(&differences);
        let (message, objects) = (author.message.to_owned(), objects.into_values().collect());
        Self { oid, tree: Arc::new(tree), tree_oid, parents, objects, stat, message, contents }
    }

    /// Keeps what was written, so that the next reader finds it.
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
    let heavy = missing.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > HEAVY_BYTES;
    let work = move || missing.iter().map(|(oid, bytes)| git::blob(*oid, bytes)).collect::<Vec<_>>();
    compressed.extend(off_thread(heavy, work).await.into_iter().map(|object| (object.oid, object)));
}

/// The turn stands in the commit, so that a clone tells which agent's work it was.
fn commit_message(author: &CommitAuthor<'_>) -> String {
    let message = if author.message.is_empty() { "Save" } else { author.message };
    match author.turn {
        Some(turn) => format!("{message}\n\nTurn: {turn}"),
        None => message.to_owned(),
    }
}
