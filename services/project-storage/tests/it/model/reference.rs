//! The reference: projects with their histories in memory. It predicts what each operation does.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use proto::project_storage::Actor;

use super::merge::{Merged, Mode, Tree, merge_trees};

/// Revisions that an undo tries, because nothing is left of those before.
const MAX_TRIES: usize = 20;

/// The index of a commit in [`Reference::commits`].
pub(super) type Id = usize;

/// A commit: a revision of some project, or the other side of a conflict.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) tree: Rc<Tree>,
    pub(super) parents: Vec<Id>,
    /// The revision whose files the commit changes. A merge into a project without revisions has a parent, and none before it.
    pub(super) before: Option<Id>,
    pub(super) user: usize,
    pub(super) actor: Actor,
    pub(super) undoes: Option<Undoes>,
    /// The id in the service; empty until it is known.
    pub(super) oid: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undoes {
    Undo(Id),
    Redo(Id),
}

impl Undoes {
    pub(super) fn commit(self) -> Id {
        let (Self::Undo(id) | Self::Redo(id)) = self;
        id
    }
}

/// An open conflict.
#[derive(Debug, Clone)]
pub(super) struct Conflict {
    pub(super) id: String,
    base: Rc<Tree>,
    pub(super) theirs: Id,
    user: usize,
    undoes: Option<Undoes>,
    /// The one of its resolution.
    actor: Actor,
}

#[derive(Debug, Clone)]
pub(super) struct Project {
    pub(super) id: String,
    pub(super) owner: usize,
    pub(super) deleted: bool,
    /// Projects with the same family share history.
    pub(super) family: usize,
    pub(super) log: Vec<Id>,
    pub(super) conflicts: Vec<Conflict>,
}

/// What an operation on a project must do.
#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// The reason of the error.
    Refused(&'static str),
    Unchanged,
    Committed(Commit),
    Conflicted(Pending),
}

/// A conflict before its id is known.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) paths: Vec<String>,
    base: Rc<Tree>,
    theirs: Theirs,
    user: usize,
    undoes: Option<Undoes>,
}

#[derive(Debug, Clone)]
enum Theirs {
    /// A commit of some history.
    Known(Id),
    /// A commit that only the conflict has.
    New(Commit),
}

/// A change of a project by a person, before anything is known of its result.
#[derive(Debug, Clone, Copy)]
pub(super) struct By {
    pub(super) project: usize,
    pub(super) user: usize,
}

#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) commits: Vec<Commit>,
    pub(super) projects: Vec<Project>,
}

impl Reference {
    pub(super) fn add_project(&mut self, id: String, owner: usize) {
        let family = self.projects.len();
        self.projects.push(Project { id, owner, deleted: false, family, log: Vec::new(), conflicts: Vec::new() });
    }

    /// Adds the fork of a project with its first `revisions` revisions.
    pub(super) fn add_fork(&mut self, id: String, By { project, user }: By, revisions: usize) {
        let parent = &self.projects[project];
        let log = parent.log[..revisions].to_vec();
        let fork = Project { id, owner: user, deleted: false, family: parent.family, log, conflicts: Vec::new() };
        self.projects.push(fork);
    }

    pub(super) fn head(&self, project: usize) -> Option<Id> {
        self.projects[project].log.last().copied()
    }

    pub(super) fn tree(&self, commit: Option<Id>) -> Rc<Tree> {
        commit.map(|id| self.commits[id].tree.clone()).unwrap_or_default()
    }

    pub(super) fn oid(&self, commit: Option<Id>) -> String {
        commit.map(|id| self.commits[id].oid.clone()).unwrap_or_default()
    }

    fn commit(&self, by: By, tree: Tree) -> Commit {
        let before = self.head(by.project);
        let parents = before.into_iter().collect();
        Commit { tree: Rc::new(tree), parents, before, user: by.user, actor: Actor::User, undoes: None, oid: String::new() }
    }

    /// A new revision, if the tree differs from the head's.
    fn commit_changes(&self, by: By, tree: Tree, actor: Actor) -> Expected {
        if tree == *self.tree(self.head(by.project)) {
            return Expected::Unchanged;
        }
        Expected::Committed(Commit { actor, ..self.commit(by, tree) })
    }

    /// A save or a turn that made `tree` of its base.
    pub(super) fn edit(&self, by: By, base: Option<Id>, tree: Tree, (mode, actor): (Mode, Actor)) -> Expected {
        let head = self.head(by.project);
        if base == head {
            return self.commit_changes(by, tree, actor);
        }
        let Merged { tree: merged, conflicts } = merge_trees(&self.tree(base), &tree, &self.tree(head), mode);
        if conflicts.is_empty() {
            return self.commit_changes(by, merged, actor);
        }
        if actor == Actor::User {
            return Expected::Refused("STALE_REVISION");
        }
        let parents = base.into_iter().collect();
        let theirs = Theirs::New(Commit { parents, actor, ..self.commit(by, tree) });
        Expected::Conflicted(Pending { paths: conflicts, base: self.tree(base), theirs, user: by.user, undoes: None })
    }

    pub(super) fn import(&self, by: By, files: Tree, replace: bool) -> Expected {
        let mut tree = if replace { Tree::new() } else { Tree::clone(&self.tree(self.head(by.project))) };
        tree.extend(files);
        self.commit_changes(by, tree, Actor::Import)
    }

    pub(super) fn restore(&self, by: By, revision: Id) -> Expected {
        self.commit_changes(by, Tree::clone(&self.tree(Some(revision))), Actor::User)
    }

    pub(super) fn revert(&self, by: By, revision: Id, undoes: Option<Undoes>) -> Expected {
        let before = self.tree(self.commits[revision].before);
        let after = self.tree(Some(revision));
        let Merged { tree, conflicts } = merge_trees(&after, &before, &self.tree(self.head(by.project)), Mode::Lines);
        if !conflicts.is_empty() {
            let theirs = Theirs::New(Commit { parents: vec![revision], ..self.commit(by, Tree::clone(&before)) });
            return Expected::Conflicted(Pending { paths: conflicts, base: after, theirs, user: by.user, undoes });
        }
        match self.commit_changes(by, tree, Actor::User) {
            Expected::Committed(commit) => Expected::Committed(Commit { undoes, ..commit }),
            other => other,
        }
    }

    /// The two stacks of an editor: what the person can undo and what the person can redo. The last one is the first.
    fn stacks(&self, By { project, user }: By) -> (Vec<Id>, Vec<Id>) {
        let (mut changes, mut undos) = (Vec::new(), Vec::new());
        for id in self.projects[project].log.iter().copied().filter(|id| self.commits[*id].user == user) {
            match self.commits[id].undoes {
                None => {
                    changes.push(id);
                    undos.clear();
                }
                Some(Undoes::Undo(change)) => {
                    changes.retain(|other| *other != change);
                    undos.push(id);
                }
                Some(Undoes::Redo(undo)) => {
                    undos.retain(|other| *other != undo);
                    changes.push(id);
                }
            }
        }
        (changes, undos)
    }

    pub(super) fn undo(&self, by: By) -> Expected {
        self.revert_first(by, self.stacks(by).0, (Undoes::Undo, "NOTHING_TO_UNDO"))
    }

    pub(super) fn redo(&self, by: By) -> Expected {
        self.revert_first(by, self.stacks(by).1, (Undoes::Redo, "NOTHING_TO_REDO"))
    }

    /// Reverts the first change of which something is left.
    fn revert_first(&self, by: By, stack: Vec<Id>, (undoes, nothing): (fn(Id) -> Undoes, &'static str)) -> Expected {
        if stack.is_empty() {
            return Expected::Refused(nothing);
        }
        let mut tried = stack.into_iter().rev().take(MAX_TRIES).map(|id| self.revert(by, id, Some(undoes(id))));
        tried.find(|expected| !matches!(expected, Expected::Unchanged)).unwrap_or(Expected::Unchanged)
    }

    /// What a revision contains: itself and its ancestors.
    fn history(&self, head: Option<Id>) -> BTreeSet<Id> {
        let (mut found, mut open) = (BTreeSet::new(), head.into_iter().collect::<Vec<_>>());
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(&self.commits[id].parents);
            }
        }
        found
    }

    /// The tree that a merge of two revisions begins with. What several last common ancestors do not agree about is a file of its own.
    fn merge_base(&self, ours: Option<Id>, theirs: Option<Id>) -> Rc<Tree> {
        let common: BTreeSet<Id> = self.history(ours).intersection(&self.history(theirs)).copied().collect();
        let older: BTreeSet<Id> =
            common.iter().flat_map(|id| self.commits[*id].parents.iter().flat_map(|id| self.history(Some(*id)))).collect();
        let mut bases = common.difference(&older).map(|id| &self.commits[*id].tree);
        let Some(first) = bases.next() else { return Rc::default() };
        let mut tree = Tree::clone(first);
        for other in bases {
            let paths: BTreeSet<&String> = first.keys().chain(other.keys()).collect();
            for path in paths.into_iter().filter(|path| first.get(*path) != other.get(*path)) {
                tree.insert(path.clone(), format!("different ancestors of {path}\n").into_bytes());
            }
        }
        Rc::new(tree)
    }

    pub(super) fn merge_project(&self, by: By, source: usize) -> Expected {
        if self.projects[source].deleted {
            return Expected::Refused("PROJECT_NOT_FOUND");
        }
        if source == by.project || self.projects[source].family != self.projects[by.project].family {
            return Expected::Refused("INVALID_FIELD");
        }
        let (head, theirs) = (self.head(by.project), self.head(source));
        let Some(merged) = theirs.filter(|_| !self.history(theirs).is_subset(&self.history(head))) else { return Expected::Unchanged };
        let base = self.merge_base(head, theirs);
        let Merged { tree, conflicts } = merge_trees(&base, &self.tree(theirs), &self.tree(head), Mode::Lines);
        if !conflicts.is_empty() {
            let theirs = Theirs::Known(merged);
            return Expected::Conflicted(Pending { paths: conflicts, base, theirs, user: by.user, undoes: None });
        }
        let parents = head.into_iter().chain([merged]).collect();
        Expected::Committed(Commit { parents, actor: Actor::Merge, ..self.commit(by, tree) })
    }

    /// The merge of an open conflict with the head, as it is now.
    pub(super) fn conflict(&self, project: usize, conflict: &Conflict) -> Merged {
        merge_trees(&conflict.base, &self.tree(Some(conflict.theirs)), &self.tree(self.head(project)), Mode::Lines)
    }

    /// The resolution with a file, or none, for each path in conflict.
    pub(super) fn resolve(&self, by: By, conflict: &Conflict, choices: BTreeMap<String, Option<Vec<u8>>>) -> Expected {
        let mut tree = self.conflict(by.project, conflict).tree;
        for (path, file) in choices {
            tree.remove(&path);
            tree.extend(file.map(|file| (path, file)));
        }
        let parents = self.head(by.project).into_iter().chain([conflict.theirs]).collect();
        let undoes = conflict.undoes.filter(|_| conflict.user == by.user);
        Expected::Committed(Commit { parents, undoes, actor: conflict.actor, ..self.commit(by, tree) })
    }

    /// Adds a revision to a project's log.
    pub(super) fn advance(&mut self, project: usize, commit: Commit) {
        self.projects[project].log.push(self.commits.len());
        self.commits.push(commit);
    }

    /// Adds an open conflict. `oid` is the id of its other side.
    pub(super) fn keep(&mut self, project: usize, pending: Pending, (id, oid): (String, String)) {
        let Pending { base, theirs, user, undoes, .. } = pending;
        let (theirs, actor) = match theirs {
            // Only a merge has a side that was there before.
            Theirs::Known(id) => (id, Actor::Merge),
            Theirs::New(commit) => {
                self.commits.push(Commit { oid, ..commit });
                (self.commits.len() - 1, Actor::User)
            }
        };
        self.projects[project].conflicts.push(Conflict { id, base, theirs, user, undoes, actor });
    }
}
