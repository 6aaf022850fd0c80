//! What a change set makes of a project: from the trees to the objects of the commit.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use prost::bytes::Bytes;
use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    Storage,
    change::{ChangeSet, Content},
    error::Error,
    git::{self, Commit, DiffStat, Difference, FileRef, Folder, Object, Oid},
    limits::{Limits, Step},
    merge::{self, Depth, Merge, Merged, Text},
    project::{Project, StoreId},
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
    /// How far to merge if the head moved.
    pub depth: Depth,
}

/// A tree that may be, and how it differs from the one it follows.
pub struct StagedTree {
    tree: Folder,
    differences: Vec<Difference>,
    /// What the commit follows.
    parents: Vec<Oid>,
    /// Contents that may not be stored yet.
    new_contents: Contents,
}

/// Contents by their ids.
pub type Contents = HashMap<Oid, Bytes>;

/// What came of it.
pub enum Outcome {
    /// No file differs from the head.
    Unchanged(Arc<Folder>),
    /// Goes on top of the head.
    Applies(StagedTree),
    /// The head changed the same paths; the tree follows the base.
    Conflicts { paths: Vec<String>, staged: StagedTree },
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
    let mut new_contents: Contents = set.contents().map(|content| (content.file.oid, content.bytes.clone())).collect();
    let targets = Steps { named: set.targets(), rest: "changes" };
    let merged = if base_id == head_id {
        Merged { tree: result, conflicts: Vec::new(), contents: Vec::new() }
    } else {
        let merge = Merge { base: &base_tree, result: &result, head: &head_tree, whole: set.replace };
        let merged = run(storage, project.store, &merge, edit.depth, &new_contents).await?;
        if !merged.conflicts.is_empty() {
            // The tree as its author left it; what could have been merged waits for whoever resolves it.
            let staged = StagedTree::check(result, &base_tree, &limits, targets)?.after(base_id).with_contents(new_contents);
            return Ok(Outcome::Conflicts { paths: merged.conflicts, staged });
        }
        merged
    };
    new_contents.extend(targets.fitting(merged.contents, &limits)?);
    let staged = StagedTree::check(merged.tree, &head_tree, &limits, targets)?.after(head_id).with_contents(new_contents);
    Ok(if staged.differences.is_empty() { Outcome::Unchanged(head_tree) } else { Outcome::Applies(staged) })
}

/// Merges three trees, with the contents of files that both sides edited. What is not in `brought` is read.
pub async fn run(storage: &Storage, store: StoreId, merge: &Merge<'_>, depth: Depth, new_contents: &Contents) -> Result<Merged, Error> {
    let plan = merge.plan(depth);
    let versions = |text: &Text| [text.base, text.result, text.head];
    let (new, stored): (Vec<FileRef>, Vec<_>) =
        plan.texts().iter().flat_map(versions).partition(|file| new_contents.contains_key(&file.oid));
    let mut contents = tree::contents(storage, store, &stored).await?;
    contents.extend(new.iter().filter_map(|file| Some((file.oid, new_contents.get(&file.oid)?.clone()))));
    let heavy = plan.texts().iter().flat_map(versions).map(|file| file.size as usize).sum::<usize>() > HEAVY_BYTES;
    let texts = plan.texts().to_vec();
    let lines = tree::off_thread(heavy, move || merge::lines(&texts, &contents)).await;
    Ok(plan.finish(merge.head, merge.result, lines))
}

/// What a request names, for refusals.
pub struct Steps<'a> {
    pub named: Vec<Step<'a>>,
    /// The field that stands for what comes along without being named: an edit that follows a move, a turn's files.
    pub rest: &'static str,
}

impl<'a> Steps<'a> {
    /// The merged files, if each is as short as a file may be.
    pub fn fitting(&self, merged: Vec<(String, Content)>, limits: &Limits) -> Result<Contents, Error> {
        let fits = |(path, content): (String, Content)| {
            let (size, limit) = (content.file.size, limits.file_bytes);
            if size > limit {
                let step = self.named.iter().find(|step| step.path == path);
                let field = step.map_or(self.rest, |step| &step.field).to_owned();
                return Err(Error::FileTooLarge { field, path, size, limit });
            }
            Ok((content.file.oid, content.bytes))
        };
        merged.into_iter().map(fits).collect()
    }

    fn with(mut self, came: &'a [Difference]) -> Vec<Step<'a>> {
        let named: HashSet<&str> = self.named.iter().map(|step| step.path).collect();
        let unnamed = came.iter().filter(|d| !named.contains(d.path.as_str()));
        let rest: Vec<_> = unnamed.map(|d| Step { field: self.rest.to_owned(), path: &d.path }).collect();
        self.named.extend(rest);
        self.named
    }
}

impl StagedTree {
    /// A tree instead of the one that it follows, if it is within the limits.
    pub fn check(tree: Folder, old: &Folder, limits: &Limits, steps: Steps<'_>) -> Result<Self, Error> {
        let differences = git::diff(old, &tree);
        limits.check(&tree, &differences, &steps.with(&differences))?;
        Ok(Self { tree, differences, parents: Vec::new(), new_contents: Contents::new() })
    }

    pub fn after(self, parents: impl IntoIterator<Item = Oid>) -> Self {
        Self { parents: parents.into_iter().collect(), ..self }
    }

    pub fn with_contents(self, new_contents: Contents) -> Self {
        Self { new_contents, ..self }
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
pub struct CommitObjects {
    pub oid: Oid,
    pub tree: Arc<Folder>,
    pub tree_oid: Oid,
    pub parents: Vec<Oid>,
    pub objects: Vec<Object>,
    pub stat: DiffStat,
    /// As the history shows it.
    pub message: String,
    /// Contents of the objects that are files.
    pub contents: HashMap<Oid, Bytes>,
}

/// Files that were compressed already, for an attempt that has to start again.
pub type Blobs = HashMap<Oid, Object>;

/// Makes the objects of a commit. Contents that are where they were are not among them.
pub async fn pack(staged: StagedTree, author: &Authorship<'_>, blobs: &mut Blobs) -> CommitObjects {
    let StagedTree { mut tree, differences, parents, new_contents } = staged;
    let new = differences.iter().filter_map(|d| d.new.map(|file| file.oid));
    let contents: HashMap<Oid, Bytes> = new.filter_map(|oid| Some((oid, Bytes::clone(new_contents.get(&oid)?)))).collect();
    compress(&contents, blobs).await;

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
    objects.extend(contents.keys().filter_map(|oid| blobs.get(oid).cloned()));
    // Sorted and each once: two savers of a store lock rows in the same order.
    let objects: BTreeMap<Oid, Object> = objects.into_iter().map(|object| (object.oid, object)).collect();
    let stat = git::stat(&differences);
    let (message, objects) = (author.message.to_owned(), objects.into_values().collect());
    CommitObjects { oid, tree: Arc::new(tree), tree_oid, parents, objects, stat, message, contents }
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

impl CommitObjects {
    /// Keeps what was written, so that the next reader finds it.
    pub fn remember(&self, storage: &Storage, project: &Project) {
        storage.cache.put_folder(project.store, &self.tree);
        for (oid, content) in &self.contents {
            storage.cache.put_content(project.store, *oid, content.clone());
        }
    }
}
