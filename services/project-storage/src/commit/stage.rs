//! What a change set makes of a project: the tree that the next commit has.

use std::{collections::HashSet, sync::Arc};

use crate::{
    app::App,
    error::Error,
    git::{self, Content, Difference, Folder, Oid},
    merge::{Merge, MergeMode, MergeResult},
    model::{
        change::ChangeSet,
        limits::{ChangedPath, Limits},
        project::Project,
        revision::Revision,
    },
    read::{
        history,
        merge::{Contents, merge},
        tree,
    },
};

/// What the author of a change set looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// Whatever is newest.
    Head,
    /// A project without files.
    Nothing,
    Revision(Oid),
}

/// A change set against a project.
pub(crate) struct Edit<'a> {
    pub(crate) project: &'a Project,
    pub(crate) head: Option<&'a Revision>,
    pub(crate) base: Base,
    pub(crate) set: &'a ChangeSet,
    /// How far to merge if the head moved.
    pub(crate) mode: MergeMode,
}

/// A tree within the limits that is not committed yet.
pub(crate) struct StagedTree {
    pub(crate) tree: Folder,
    /// From the tree that it follows.
    pub(crate) differences: Vec<Difference>,
    /// What the commit follows.
    pub(crate) parents: Vec<Oid>,
    /// Contents that may not be stored yet.
    pub(crate) contents: Contents,
}

/// What a change set comes to.
pub(crate) enum StageResult {
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
/// The first step that cannot be, or the limit that the result exceeds.
pub(crate) async fn stage(app: &App, edit: Edit<'_>) -> Result<StageResult, Error> {
    let Edit { project, head, set, .. } = edit;
    let head_tree = tree::at_revision(app, project.store, head).await?;
    let base = base(app, &edit).await?;
    let base_tree = match &base {
        Some(base) if head.is_some_and(|head| head.tree == base.tree) => head_tree.clone(),
        base => tree::at_revision(app, project.store, base.as_ref()).await?,
    };
    let limits = project.limits();
    let result = set.apply(&base_tree, &limits)?;
    let (base_id, head_id) = (base.map(|base| base.id), head.map(|head| head.id));
    let mut contents: Contents = set.contents().map(|content| (content.file.oid, content.bytes.clone())).collect();
    let targets = ChangedPaths { named: set.targets(), rest: "changes" };
    let merged = if base_id == head_id {
        MergeResult { tree: result, conflicts: Vec::new(), contents: Vec::new() }
    } else {
        let trees = Merge { base: &base_tree, result: &result, head: &head_tree, whole: set.replace };
        let merged = merge(app, project.store, &trees, edit.mode, &contents).await?;
        if !merged.conflicts.is_empty() {
            // The tree as its author left it; what could have been merged waits for whoever resolves it.
            let staged = StagedTree::check(result, &base_tree, &limits, targets)?.with_parents(base_id).with_contents(contents);
            return Ok(StageResult::Conflicts { paths: merged.conflicts, staged });
        }
        merged
    };
    contents.extend(targets.fitting(merged.contents, &limits)?);
    let staged = StagedTree::check(merged.tree, &head_tree, &limits, targets)?.with_parents(head_id).with_contents(contents);
    Ok(if staged.differences.is_empty() { StageResult::Unchanged(head_tree) } else { StageResult::Applies(staged) })
}

async fn base(app: &App, edit: &Edit<'_>) -> Result<Option<Revision>, Error> {
    match edit.base {
        Base::Head => Ok(edit.head.cloned()),
        Base::Nothing => Ok(None),
        Base::Revision(id) => match edit.head.filter(|head| head.id == id) {
            Some(head) => Ok(Some(head.clone())),
            None => history::find(&app.pool, edit.project.id, id).await.map(Some),
        },
    }
}

/// What a request names, for refusals.
pub(crate) struct ChangedPaths<'a> {
    pub(crate) named: Vec<ChangedPath<'a>>,
    /// The field that stands for what comes along without being named: an edit that follows a move, a turn's files.
    pub(crate) rest: &'static str,
}

impl<'a> ChangedPaths<'a> {
    /// The contents of merged files, if each is as short as a file may be.
    pub(crate) fn fitting(&self, merged: Vec<(String, Content)>, limits: &Limits) -> Result<Contents, Error> {
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

    fn with(mut self, came: &'a [Difference]) -> Vec<ChangedPath<'a>> {
        let named: HashSet<&str> = self.named.iter().map(|step| step.path).collect();
        let unnamed = came.iter().filter(|d| !named.contains(d.path.as_str()));
        let rest: Vec<_> = unnamed.map(|d| ChangedPath { field: self.rest.to_owned(), path: &d.path }).collect();
        self.named.extend(rest);
        self.named
    }
}

impl StagedTree {
    /// A tree instead of the one that it follows, if it is within the limits.
    pub(crate) fn check(tree: Folder, old: &Folder, limits: &Limits, steps: ChangedPaths<'_>) -> Result<Self, Error> {
        let differences = git::diff(old, &tree);
        limits.check(&tree, &differences, &steps.with(&differences))?;
        Ok(Self { tree, differences, parents: Vec::new(), contents: Contents::new() })
    }

    pub(crate) fn with_parents(self, parents: impl IntoIterator<Item = Oid>) -> Self {
        Self { parents: parents.into_iter().collect(), ..self }
    }

    pub(crate) fn with_contents(self, contents: Contents) -> Self {
        Self { contents, ..self }
    }
}
