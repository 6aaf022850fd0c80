//! The common ancestors of two revisions of a family of forks.

use std::{collections::BTreeSet, sync::Arc};

use prost::bytes::Bytes;

use crate::{
    error::Error,
    git::{self, Corruption, FileRef, Folder, Oid},
    model::{
        lineage::{LogNumbers, Point, common, drop_contained, missing},
        project::StoreId,
    },
    read::{merge, objects::Objects, tree},
    store::lineage,
};

/// Points whose contents one merge reads, and common ancestors that it may have.
const MAX_POINTS: usize = 64;

/// What a merge of two revisions begins with.
pub(crate) struct MergeBase {
    /// The tree of the common ancestor. If there are several, a file that differs between them is one that no side has, so that
    /// sides that differ conflict there.
    pub(crate) tree: Arc<Folder>,
    /// Contents of `tree` that the store does not have.
    pub(crate) contents: merge::Contents,
    /// The first common ancestor; `None` if both began without files.
    pub(crate) commit: Option<Oid>,
    /// What the source contains and the target does not; empty if everything is merged already.
    pub(crate) missing: LogNumbers,
}

/// Finds what a merge of `source` into `target` begins with.
///
/// # Errors
/// [`Error::MergeTooComplex`] if the two have too many common ancestors.
pub(crate) async fn find(objects: &Objects, store: StoreId, target: Option<Point>, source: Point) -> Result<MergeBase, Error> {
    let pool = &objects.pool;
    let ours = match target {
        Some(target) => lineage::log_numbers(pool, target).await?,
        None => LogNumbers::new(),
    };
    let theirs = lineage::log_numbers(pool, source).await?;
    let mut points = common(&ours, &theirs);
    // Points of the two projects' own logs contain most others, so these come first.
    let is_foreign = |point: &Point| point.log != source.log && target.is_none_or(|target| point.log != target.log);
    points.sort_by_key(|point| (is_foreign(point), std::cmp::Reverse(point.number)));
    let (mut at, mut read) = (0, 0);
    while at < points.len() && points.len() > 1 {
        if read == MAX_POINTS {
            return Err(Error::MergeTooComplex { limit: MAX_POINTS });
        }
        let point = points[at];
        let contents = lineage::log_numbers(pool, point).await?;
        drop_contained(&mut points, point, &contents);
        read += 1;
        at = points.iter().position(|other| *other == point).map_or(0, |place| place + 1);
    }
    let mut trees = Vec::new();
    let mut commit = None;
    for point in points {
        let Point { log, number } = point;
        let (oid, root) = lineage::commit_at(pool, store, point).await?.ok_or(Corruption::Revision { log, number })?;
        commit = commit.or(Some(oid));
        trees.push(tree::load(objects, store, root).await?);
    }
    let (tree, contents) = combine(trees);
    Ok(MergeBase { tree, contents, commit, missing: missing(&ours, &theirs) })
}

/// One tree of several: what they do not agree about is a file that no side has.
fn combine(trees: Vec<Arc<Folder>>) -> (Arc<Folder>, merge::Contents) {
    let mut trees = trees.into_iter();
    let Some(first) = trees.next() else { return Default::default() };
    let mut differing = BTreeSet::new();
    for other in trees {
        differing.extend(git::diff(&first, &other).into_iter().map(|difference| difference.path));
    }
    if differing.is_empty() {
        return (first, merge::Contents::new());
    }
    let (mut tree, mut contents) = (Folder::clone(&first), merge::Contents::new());
    for path in &differing {
        tree.remove(path);
    }
    for path in differing {
        let bytes = Bytes::from(format!("the common ancestors have different files at {path}\n"));
        let (Ok(oid), Ok(size)) = (git::blob_id(&bytes), u32::try_from(bytes.len())) else { continue };
        // A file that clashes with a folder of another ancestor is left out.
        if tree.put(&path, FileRef { oid, size }).is_ok() {
            contents.insert(oid, bytes);
        }
    }
    (Arc::new(tree), contents)
}
