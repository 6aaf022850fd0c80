//! What a change set makes of a project: from the trees to the objects of the commit.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use prost::bytes::Bytes;
use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    Storage,
    change::ChangeSet,
    error::Error,
    git::{self, Commit, DiffStat, Difference, Folder, Object, Oid},
    merge::{Conflict, Merge},
    project::Project,
    revision::{self, Revision},
    tree::{self, HEAVY_BYTES},
};

/// What the author of a change set looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Whatever is newest.
    Head,
    /// A project without files.
    Nothing,
    Revision(Oid),
}

/// A change set against a project.
pub struct Edit<'a> {
    pub project: &'a Project,
    pub head: Option<&'a Revision>,
    pub base: Base,
    pub set: &'a ChangeSet,
}

/// A tree that may be, and how it differs from the one it follows.
pub struct Edited {
    tree: Folder,
    differences: Vec<Difference>,
    /// What the commit follows.
    pub parent: Option<Oid>,
}

/// What came of it.
pub enum Outcome {
    /// No file differs from the head.
    Unchanged(Arc<Folder>),
    /// Goes on top of the head.
    Applies(Edited),
    /// The head changed the same paths; the tree follows the base.
    Conflicts { paths: Vec<String>, edited: Edited },
}

/// Applies a change set, on the head or else beside it.
///
/// # Errors
/// The first step that cannot be, or the limit that the result goes over.
pub async fn edit(storage: &Storage, edit: Edit<'_>) -> Result<Outcome, Error> {
    let Edit { project, head, set, .. } = edit;
    let head_tree = tree::of(storage, project.store, head).await?;
    let base = base(storage, &edit).await?;
    let base_tree = match &base {
        Some(base) if head.is_some_and(|head| head.tree == base.tree) => head_tree.clone(),
        base => tree::of(storage, project.store, base.as_ref()).await?,
    };
    let limits = project.limits();
    let result = set.apply(&base_tree, &limits)?;
    let (base_id, head_id) = (base.map(|base| base.id), head.map(|head| head.id));
    let merged = if base_id == head_id {
        Ok(result)
    } else {
        let merge = Merge { base: &base_tree, result: &result, head: &head_tree, whole: set.replace };
        merge.onto_head().map_err(|Conflict(paths)| (paths, result))
    };
    let checked = |tree: Folder, old: &Folder, parent| {
        let differences = git::diff(old, &tree);
        limits.check(&tree, &differences, &set.targets())?;
        Ok::<_, Error>(Edited { tree, differences, parent })
    };
    match merged {
        Ok(tree) => {
            let edited = checked(tree, &head_tree, head_id)?;
            Ok(if edited.differences.is_empty() { Outcome::Unchanged(head_tree) } else { Outcome::Applies(edited) })
        }
        Err((paths, tree)) => Ok(Outcome::Conflicts { paths, edited: checked(tree, &base_tree, base_id)? }),
    }
}

async fn base(storage: &Storage, edit: &Edit<'_>) -> Result<Option<Revision>, Error> {
    match edit.base {
        Base::Head => Ok(edit.head.cloned()),
        Base::Nothing => Ok(None),
        Base::Revision(id) => match edit.head.filter(|head| head.id == id) {
            Some(head) => Ok(Some(head.clone())),
            None => revision::find(storage, edit.project.id, id).await.map(Some),
        },
    }
}

/// Who commits, and why.
pub struct Authorship<'a> {
    pub user: UserId,
    pub turn: Option<TurnId>,
    /// May be empty.
    pub message: &'a str,
    pub now: OffsetDateTime,
}

/// A commit with every object that it needs, sorted by id.
pub struct Packed {
    pub oid: Oid,
    pub tree: Arc<Folder>,
    pub tree_oid: Oid,
    pub parents: Vec<Oid>,
    pub objects: Vec<Object>,
    pub stat: DiffStat,
    /// Contents of the objects that are files.
    pub contents: HashMap<Oid, Bytes>,
}

/// Files that were compressed already, for an attempt that has to start again.
pub type Blobs = HashMap<Oid, Object>;

/// Makes the objects of a commit. Contents that are where they were are not among them.
pub async fn pack(edited: Edited, set: &ChangeSet, author: &Authorship<'_>, blobs: &mut Blobs) -> Packed {
    let Edited { mut tree, differences, parent } = edited;
    let brought: HashMap<Oid, &Bytes> = set.contents().map(|content| (content.file.oid, &content.bytes)).collect();
    let new = differences.iter().filter_map(|d| d.new.map(|file| file.oid));
    let contents: HashMap<Oid, Bytes> = new.filter_map(|oid| Some((oid, Bytes::clone(brought.get(&oid)?)))).collect();
    compress(&contents, blobs).await;

    let mut objects = Vec::new();
    let tree_oid = tree.write(&mut objects);
    let parents: Vec<Oid> = parent.into_iter().collect();
    let commit = git::commit(&Commit {
        tree: tree_oid,
        parents: &parents,
        author: &author.user.to_string(),
        time: author.now.unix_timestamp(),
        message: &commit_message(author),
    });
    let oid = commit.oid;
    objects.push(commit);
    objects.extend(contents.keys().filter_map(|oid| blobs.get(oid).cloned()));
    // Sorted and each once: two savers of a store lock rows in the same order.
    let objects: BTreeMap<Oid, Object> = objects.into_iter().map(|object| (object.oid, object)).collect();
    let stat = git::stat(&differences);
    Packed { oid, tree: Arc::new(tree), tree_oid, parents, objects: objects.into_values().collect(), stat, contents }
}

async fn compress(contents: &HashMap<Oid, Bytes>, blobs: &mut Blobs) {
    let missing: Vec<(Oid, Bytes)> =
        contents.iter().filter(|(oid, _)| !blobs.contains_key(oid)).map(|(oid, bytes)| (*oid, bytes.clone())).collect();
    let heavy = missing.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > HEAVY_BYTES;
    let work = move || missing.iter().map(|(oid, bytes)| git::blob(*oid, bytes)).collect::<Vec<_>>();
    blobs.extend(tree::off_thread(heavy, work).await.into_iter().map(|object| (object.oid, object)));
}

/// The turn stands in the commit, so that a clone tells which agent's work it was.
fn commit_message(author: &Authorship<'_>) -> String {
    let message = if author.message.is_empty() { "Save" } else { author.message };
    match author.turn {
        Some(turn) => format!("{message}\n\nTurn: {turn}"),
        None => message.to_owned(),
    }
}

impl Packed {
    /// Keeps what was written, so that the next reader finds it.
    pub fn remember(&self, storage: &Storage, project: &Project) {
        storage.cache.put_folder(project.store, &self.tree);
        for (oid, content) in &self.contents {
            storage.cache.put_content(project.store, *oid, content.clone());
        }
    }
}
