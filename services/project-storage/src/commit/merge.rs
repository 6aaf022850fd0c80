//! The three-way merge of a whole tree with the head: of a revert, and of a project that is merged into another one.

use std::sync::Arc;

use chassis::share::Share;

use crate::{
    commit::{
        request::SaveRequest,
        stage::{ChangedPaths, StagedTree},
    },
    error::Error,
    git::Folder,
    merge::{Merge, MergeMode},
    model::project::Member,
    read::{
        merge::{Contents, merge},
        objects::Objects,
        tree,
    },
};

/// The result of a merge with the head.
pub(crate) enum MergeStage {
    /// The head has everything already.
    Unchanged(Arc<Folder>),
    /// The tree follows the head.
    Clean(StagedTree),
    /// The paths that cannot be merged.
    Conflicts(Vec<String>),
}

/// Waits for a slot for a merge, which reads and compares as much as a page of differences. The caller gives it back before it waits for the
/// project's lock.
///
/// # Errors
/// [`Error::Fault`] with the reason OVERLOADED.
pub(crate) async fn slot(request: &SaveRequest<'_>) -> Result<Share, Error> {
    request.merge_slot().take().await
}

/// Merges what `theirs` changes in `base` into the head, line by line. `known` has contents that the store does not have.
///
/// # Errors
/// The limit that the result exceeds.
pub(crate) async fn stage(
    objects: &Objects,
    member: &Member,
    (base, theirs): (&Arc<Folder>, &Arc<Folder>),
    known: &Contents,
) -> Result<MergeStage, Error> {
    let (store, limits) = (member.project.store, member.project.limits());
    let head = tree::at_revision(objects, store, member.head.as_ref()).await?;
    let text_bytes = member.project.limits().file_bytes;
    let [base, result, head_tree] = [base, theirs, &head].map(Arc::clone);
    let trees = Merge { base, result, head: head_tree, text_bytes, is_snapshot: false };
    let merged = merge(objects, store, trees, MergeMode::Lines, known).await?;
    if !merged.conflicts.is_empty() {
        return Ok(MergeStage::Conflicts(merged.conflicts));
    }
    let paths = ChangedPaths { named: Vec::new(), default_field: "revision" };
    let tree = if chassis::seeded_bug::is("merge-takes-one-side") { Folder::clone(theirs) } else { merged.tree };
    let staged = StagedTree::check(tree, &head, &limits, paths)?;
    if staged.differences.is_empty() {
        return Ok(MergeStage::Unchanged(head));
    }
    Ok(MergeStage::Clean(staged.with_parents(member.head.as_ref().map(|head| head.id)).with_contents(merged.contents)))
}
