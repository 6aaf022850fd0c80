//! Staging: applies a change set to a project and checks the limits. The result is the tree of the next commit.

use std::{collections::HashSet, sync::Arc};

use crate::{
    error::Error,
    git::{self, Difference, Folder, Oid},
    merge::{Merge, MergeMode, MergeResult},
    model::{
        change::ChangeSet,
        limits::{ChangedPath, Limits},
        project::Project,
        revision::Revision,
    },
    read::{
        history,
        load::MergeSlot,
        merge::{Contents, merge},
        objects::Objects,
        tree,
    },
    store::Pool,
};

/// The state of the project that a change set applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// The head, whichever it is.
    Head,
    /// A project without files.
    Nothing,
    Revision(Oid),
}

/// A change set to apply to a project.
pub(crate) struct Edit<'a> {
    pub(crate) project: &'a Project,
    pub(crate) head: Option<&'a Revision>,
    pub(crate) base: Base,
    pub(crate) set: &'a ChangeSet,
    /// What happens to paths that the head has changed as well.
    pub(crate) mode: MergeMode,
    /// Taken if the head has moved.
    pub(crate) slot: MergeSlot<'a>,
}

/// A tree within the limits, before its commit.
pub(crate) struct StagedTree {
    pub(crate) tree: Folder,
    /// The differences to the parent's tree.
    pub(crate) differences: Vec<Difference>,
    /// The parents of the commit.
    pub(crate) parents: Vec<Oid>,
    /// Contents of files that the store may not have yet.
    pub(crate) contents: Contents,
}

/// The result of staging.
pub(crate) enum StageResult {
    /// No file differs from the head.
    Unchanged(Arc<Folder>),
    /// The tree follows the head.
    Applies(StagedTree),
    /// The head changed the same paths. The tree is the base with the change set, and follows the base.
    Conflicts {
        paths: Vec<String>,
        /// The base and its tree; `None` is a project without files.
        base: Option<(Oid, Oid)>,
        staged: StagedTree,
    },
}

/// Applies a change set to its base, and merges it with the head if that has moved.
///
/// # Errors
/// The first change that cannot be applied, or the limit that the result exceeds.
pub(crate) async fn stage(objects: &Objects, edit: Edit<'_>) -> Result<StageResult, Error> {
    let Edit { project, head, set, .. } = edit;
    let base = base(&objects.pool, &edit).await?;
    let is_merge = base.as_ref().map(|base| base.id) != head.map(|head| head.id);
    // It is given back before the caller waits for the project's lock.
    let _slot = if is_merge { Some(edit.slot.take().await?) } else { None };
    let head_tree = match head {
        // Nothing is merged, so only the folders that change are read.
        Some(head) if !set.replace && !is_merge => tree::along(objects, project.store, head, &set.used_paths()).await?,
        head => tree::at_revision(objects, project.store, head).await?,
    };
    let base_tree = match &base {
        Some(base) if head.is_some_and(|head| head.tree == base.tree) => head_tree.clone(),
        base => tree::at_revision(objects, project.store, base.as_ref()).await?,
    };
    let limits = project.limits();
    let result = set.apply(&base_tree, &limits)?;
    let (base, head_id) = (base.map(|base| (base.id, base.tree)), head.map(|head| head.id));
    let base_id = base.map(|(id, _)| id);
    let mut contents: Contents = set.contents().map(|content| (content.file.oid, content.bytes.clone())).collect();
    let targets = ChangedPaths { named: set.targets(), default_field: "changes" };
    let merged = if is_merge {
        let trees = Merge {
            base: Arc::clone(&base_tree),
            result: Arc::new(result.clone()),
            head: Arc::clone(&head_tree),
            text_bytes: limits.file_bytes,
            is_snapshot: set.replace,
        };
        let merged = merge(objects, project.store, trees, edit.mode, &contents).await?;
        if !merged.conflicts.is_empty() {
            // The tree of the author, without a merge. The resolution of the conflict merges it.
            let staged = StagedTree::check(result, &base_tree, &limits, targets)?.with_parents(base_id).with_contents(contents);
            return Ok(StageResult::Conflicts { paths: merged.conflicts, base, staged });
        }
        merged
    } else {
        MergeResult { tree: result, conflicts: Vec::new(), moves: Default::default(), contents: Contents::new() }
    };
    contents.extend(merged.contents);
    let staged = StagedTree::check(merged.tree, &head_tree, &limits, targets)?.with_parents(head_id).with_contents(contents);
    Ok(if staged.differences.is_empty() { StageResult::Unchanged(head_tree) } else { StageResult::Applies(staged) })
}

async fn base(pool: &Pool, edit: &Edit<'_>) -> Result<Option<Revision>, Error> {
    match edit.base {
        Base::Head => Ok(edit.head.cloned()),
        Base::Nothing => Ok(None),
        Base::Revision(id) => match edit.head.filter(|head| head.id == id) {
            Some(head) => Ok(Some(head.clone())),
            None => history::find(pool, edit.project.id, id).await.map(Some),
        },
    }
}

/// The paths that a request changes. An error names the field of its path.
pub(crate) struct ChangedPaths<'a> {
    pub(crate) named: Vec<ChangedPath<'a>>,
    /// The field of paths that the request does not name: edits that follow a move, files of a turn.
    pub(crate) default_field: &'static str,
}

impl<'a> ChangedPaths<'a> {
    /// The named paths, and then the other paths that differ.
    fn with(mut self, differences: &'a [Difference]) -> Vec<ChangedPath<'a>> {
        let named: HashSet<&str> = self.named.iter().map(|named| named.path).collect();
        let unnamed = differences.iter().filter(|d| !named.contains(d.path.as_str()));
        let rest: Vec<_> = unnamed.map(|d| ChangedPath { field: self.default_field.to_owned(), path: &d.path }).collect();
        self.named.extend(rest);
        self.named
    }
}

impl StagedTree {
    /// Stages a tree that follows `old`, if it is within the limits.
    pub(crate) fn check(tree: Folder, old: &Folder, limits: &Limits, paths: ChangedPaths<'_>) -> Result<Self, Error> {
        let differences = git::diff(old, &tree);
        limits.check(&tree, &differences, &paths.with(&differences))?;
        Ok(Self { tree, differences, parents: Vec::new(), contents: Contents::new() })
    }

    /// A tree without a change.
    pub(crate) fn unchanged(head: &Folder) -> Self {
        Self { tree: head.clone(), differences: Vec::new(), parents: Vec::new(), contents: Contents::new() }
    }

    pub(crate) fn with_parents(self, parents: impl IntoIterator<Item = Oid>) -> Self {
        Self { parents: parents.into_iter().collect(), ..self }
    }

    pub(crate) fn with_contents(self, contents: Contents) -> Self {
        Self { contents, ..self }
    }
}
