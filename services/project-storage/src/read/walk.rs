//! Back through the log along one path: the revisions that changed a file, the newest first.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::{
    error::Error,
    git::{Corruption, FileRef, Oid},
    model::{project::Project, revision::Revision},
    read::{
        objects::Objects,
        spine::{self, Spot},
    },
    store::{objects as blobs, revisions},
};

/// Revisions that one step reads. More are read at once if the first ones did not change the file.
const BATCHES: [usize; 3] = [50, 250, 1000];
/// Bytes of folders that one step reads.
const MAX_BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// What a search may still read.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Revisions.
    pub(crate) revisions: usize,
    /// Bytes of folders.
    pub(crate) bytes: u64,
}

impl Budget {
    pub(crate) fn is_spent(&self) -> bool {
        self.revisions == 0 || self.bytes == 0
    }

    pub(crate) fn spend(&mut self, read: &Read) {
        self.bytes = self.bytes.saturating_sub(read.bytes);
        self.revisions = self.revisions.saturating_sub(read.revisions);
    }
}

/// A revision that changed the file at a path: `old` and `new` differ.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) revision: Revision,
    /// The tree of the revision before it; the empty tree if it is the first one.
    pub(crate) previous_tree: Oid,
    /// The file in the tree before.
    pub(crate) old: Option<FileRef>,
    pub(crate) new: Option<FileRef>,
}

/// The next step back.
#[derive(Debug)]
pub(crate) enum Step {
    Changed(Box<Version>),
    /// No earlier revision changed the file.
    End,
    /// The budget is spent. No revision from this number on has changed the file.
    Spent(u32),
}

/// A walk along one path.
pub(crate) struct Walk<'a> {
    objects: &'a Objects,
    project: &'a Project,
    pub(crate) path: String,
    /// Revisions from this number on are read.
    before: u32,
    batches: usize,
    ready: VecDeque<Version>,
}

impl<'a> Walk<'a> {
    /// A walk through the revisions with smaller numbers than `before`.
    pub(crate) fn new(objects: &'a Objects, project: &'a Project, path: String, before: u32) -> Self {
        Self { objects, project, path, before, batches: 0, ready: VecDeque::new() }
    }

    /// The next revision that changed the file.
    pub(crate) async fn next(&mut self, budget: &mut Budget) -> Result<Step, Error> {
        loop {
            if let Some(version) = self.ready.pop_front() {
                return Ok(Step::Changed(Box::new(version)));
            }
            if self.before <= 1 {
                return Ok(Step::End);
            }
            if budget.is_spent() {
                return Ok(Step::Spent(self.before));
            }
            self.read(budget).await?;
        }
    }

    /// The versions that are read already.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Version> {
        self.ready.iter()
    }

    /// Reads a batch of revisions.
    async fn read(&mut self, budget: &mut Budget) -> Result<(), Error> {
        let size = BATCHES[self.batches.min(BATCHES.len() - 1)].min(budget.revisions);
        self.batches += 1;
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        let log = revisions::before(&self.objects.pool, self.project.id, self.before, limit).await?;
        if log.is_empty() {
            self.before = 0;
            return Ok(());
        }
        let (changes, read) = changed(self.objects, self.project, (log, &self.path), budget.bytes.min(MAX_BATCH_BYTES)).await?;
        budget.spend(&read);
        self.before = read.last;
        let file = |spot: Option<Spot>| spot.filter(|spot| !spot.is_folder).map(|spot| spot.oid);
        let files: HashSet<Oid> = changes.iter().flat_map(|change| [change.old, change.new]).filter_map(file).collect();
        let sizes = sizes(self.objects, self.project, files).await?;
        let size = |spot| file(spot).and_then(|oid| Some(FileRef { oid, size: *sizes.get(&oid)? }));
        for SpotChange { revision, previous_tree, old, new } in changes {
            let version = Version { revision, previous_tree, old: size(old), new: size(new) };
            // A folder that changed is no file.
            if version.old != version.new {
                self.ready.push_back(version);
            }
        }
        Ok(())
    }
}

/// The sizes of files.
async fn sizes(objects: &Objects, project: &Project, files: HashSet<Oid>) -> Result<HashMap<Oid, u32>, Error> {
    let files: Vec<Oid> = files.into_iter().collect();
    if files.is_empty() {
        return Ok(HashMap::new());
    }
    let sizes: HashMap<Oid, u32> = blobs::sizes(&objects.pool, project.store, &files).await?.into_iter().collect();
    match files.into_iter().find(|oid| !sizes.contains_key(oid)) {
        Some(oid) => Err(Corruption::Missing(oid).into()),
        None => Ok(sizes),
    }
}

/// The file at a path of a tree.
pub(crate) async fn file_at(objects: &Objects, project: &Project, tree: Oid, path: &str) -> Result<Option<FileRef>, Error> {
    let found = spine::find(objects, project.store, &[tree], path, MAX_BATCH_BYTES).await?.entries;
    let Some(spot) = found.into_iter().flatten().next().filter(|spot| !spot.is_folder) else { return Ok(None) };
    let sizes = sizes(objects, project, HashSet::from([spot.oid])).await?;
    Ok(sizes.get(&spot.oid).map(|size| FileRef { oid: spot.oid, size: *size }))
}

/// A revision that changed what stands at a path.
pub(crate) struct SpotChange {
    pub(crate) revision: Revision,
    /// The tree of the revision before it; the empty tree if it is the first one.
    pub(crate) previous_tree: Oid,
    pub(crate) old: Option<Spot>,
    pub(crate) new: Option<Spot>,
}

/// How much of the log was read.
pub(crate) struct Read {
    /// Bytes of folders.
    pub(crate) bytes: u64,
    pub(crate) revisions: usize,
    /// The number of the last of these revisions.
    pub(crate) last: u32,
}

/// Which of these revisions changed a path, compared with the revision before each.
///
/// At most `max_bytes` of folders are read, so the answer may end before the last revision; it has the first one at the least.
pub(crate) async fn changed(
    objects: &Objects,
    project: &Project,
    (log, path): (Vec<Revision>, &str),
    max_bytes: u64,
) -> Result<(Vec<SpotChange>, Read), Error> {
    let trees = with_previous(objects, project, &log).await?;
    let spots = spine::find(objects, project.store, trees.as_flattened(), path, max_bytes).await?;
    let mut read = Read { bytes: spots.bytes, revisions: 0, last: 0 };
    let mut changes = Vec::new();
    for ((revision, trees), sides) in log.into_iter().zip(trees).zip(spots.entries.chunks_exact(2)) {
        (read.revisions, read.last) = (read.revisions + 1, revision.number);
        if sides[0] != sides[1] {
            changes.push(SpotChange { revision, previous_tree: trees[1], old: sides[1], new: sides[0] });
        }
    }
    Ok((changes, read))
}

/// The tree of each revision, and that of the revision before it.
async fn with_previous(objects: &Objects, project: &Project, log: &[Revision]) -> Result<Vec<[Oid; 2]>, Error> {
    let mut trees: HashMap<u32, Oid> = log.iter().map(|revision| (revision.number, revision.tree)).collect();
    let previous = log.iter().map(|revision| revision.number.saturating_sub(1));
    let unknown: Vec<u32> = previous.filter(|number| *number > 0 && !trees.contains_key(number)).collect();
    if !unknown.is_empty() {
        trees.extend(revisions::trees(&objects.pool, project.id, &unknown).await?);
    }
    let previous = |revision: &Revision| trees.get(&revision.number.saturating_sub(1)).copied().unwrap_or(Oid::EMPTY_TREE);
    Ok(log.iter().map(|revision| [revision.tree, previous(revision)]).collect())
}
