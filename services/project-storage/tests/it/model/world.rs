//! A sequence of operations, run against the service and the reference at once.

use std::collections::BTreeMap;

use proto::{
    error::Fault,
    project_storage::{
        Actor, CommitOutcome, DeleteProjectRequest, ImportMode, ImportSettings, LoadProjectResponse, OnConflict, Project,
        ResolveConflictRequest, ResolvedFile, RestoreRevisionRequest, Revision, SaveProjectRequest, Take, UndeleteProjectRequest,
    },
};

use super::{
    merge::{Mode, Tree},
    operation::{Kind, Lines, Operation, bytes, change_set, content, new_files},
    reference::{By, Commit, Conflict, Expected, Id, Reference},
};
use crate::{
    forks::set_role,
    harness::{Cluster, Person, Turn, answer, commit},
    imports::tar,
    reverts::of,
};

/// Projects of one case.
const MAX_PROJECTS: usize = 6;

/// What the service did.
#[derive(Debug)]
enum Observed {
    Unchanged,
    Committed(Box<Revision>),
    Conflicted { id: String, paths: Vec<String> },
}

/// What the service did, or why it refused.
type Answer = Result<Observed, Box<Fault>>;

/// Why the service and the reference differ.
pub(super) type Difference = String;

/// How often each kind of operation ended in each way.
pub(super) type Tally = BTreeMap<(Kind, &'static str), usize>;

macro_rules! same {
    ($found:expr, $expected:expr, $($what:tt)+) => {
        let (found, expected) = (&$found, &$expected);
        if *found != *expected {
            return Err(format!("{}: the service has {found:?}, the reference {expected:?}", format!($($what)+)));
        }
    };
}

pub(super) struct World<'a> {
    cluster: &'a Cluster,
    people: [Person; 2],
    reference: Reference,
    lines: Lines,
    pub(super) tally: Tally,
}

/// A change of a project with its result in the reference.
struct Step {
    by: By,
    expected: Expected,
}

fn failed(what: &str) -> impl Fn(Box<Fault>) -> Difference {
    move |fault| format!("{what}: {fault:?}")
}

impl<'a> World<'a> {
    pub(super) async fn new(cluster: &'a Cluster) -> Self {
        let people = [cluster.person(), cluster.person()];
        let mut world = Self { cluster, people, reference: Reference::default(), lines: Lines::default(), tally: Tally::new() };
        let id = world.people[0].create().await.id;
        set_role(cluster, &world.people[1], &id, 2).await;
        world.reference.add_project(id, 0);
        world
    }

    /// Runs one operation. Compares its result, and the head of the project after it.
    pub(super) async fn run(&mut self, operation: &Operation) -> Result<(), Difference> {
        let project = operation.project % self.reference.projects.len();
        let by = By { project, user: operation.user };
        let ended = match operation.kind {
            Kind::Fork => self.fork(by, operation).await?,
            Kind::Delete | Kind::Undelete => self.delete(by, operation.kind == Kind::Delete).await?,
            Kind::Resolve if self.reference.projects[project].conflicts.is_empty() => return Ok(()),
            _ => {
                let (mut expected, found) = self.change(by, operation).await;
                if self.reference.projects[project].deleted {
                    expected = Expected::Refused("PROJECT_NOT_FOUND");
                }
                self.compare(Step { by, expected }, found, operation).await?
            }
        };
        *self.tally.entry((operation.kind, ended)).or_default() += 1;
        self.check_head(project).await
    }

    /// Sends a change, and predicts it.
    async fn change(&mut self, by: By, operation: &Operation) -> (Expected, Answer) {
        match operation.kind {
            Kind::Save => self.save(by, operation).await,
            Kind::Turn => self.turn(by, operation).await,
            Kind::Import => self.import(by, operation).await,
            Kind::Merge => self.merge(by, operation).await,
            Kind::Resolve => self.resolve(by, operation).await,
            Kind::Restore | Kind::Revert => self.go_back(by, operation).await,
            Kind::Undo => {
                let undone = self.people[by.user].undo(&self.project(by)).await;
                let found = undone.map(|done| observed(done.outcome(), done.revision, (done.conflict_id, done.conflict_paths)));
                (self.reference.undo(by), found)
            }
            _ => {
                let redone = self.people[by.user].redo(&self.project(by)).await;
                let found = redone.map(|done| observed(done.outcome(), done.revision, (done.conflict_id, done.conflict_paths)));
                (self.reference.redo(by), found)
            }
        }
    }

    fn project(&self, by: By) -> String {
        self.reference.projects[by.project].id.clone()
    }

    /// A revision of the project, counted from its head.
    fn revision(&self, by: By, back: usize) -> Option<Id> {
        let log = &self.reference.projects[by.project].log;
        log.iter().rev().nth(back % log.len().max(1)).copied()
    }

    /// The answer of a request that says only which revision is the head now.
    fn with_head(&self, by: By, head: Option<Revision>) -> Observed {
        let old = self.reference.oid(self.reference.head(by.project));
        match head.filter(|head| head.id != old) {
            Some(revision) => Observed::Committed(Box::new(revision)),
            None => Observed::Unchanged,
        }
    }

    async fn save(&mut self, by: By, operation: &Operation) -> (Expected, Answer) {
        let base = self.revision(by, operation.which);
        let (changes, tree) = change_set(&operation.edits, &self.reference.tree(base), &mut self.lines);
        let (mode, on_conflict) = if operation.flag { (Mode::Lines, OnConflict::Merge) } else { (Mode::Paths, OnConflict::Fail) };
        let request = SaveProjectRequest {
            project_id: self.project(by),
            base_revision: self.reference.oid(base),
            changes,
            on_conflict: on_conflict.into(),
            ..Default::default()
        };
        let saved = self.people[by.user].send(request).await.map(|saved| self.with_head(by, saved.revision));
        (self.reference.edit(by, base, tree, (mode, Actor::User)), saved)
    }

    async fn turn(&mut self, by: By, operation: &Operation) -> (Expected, Answer) {
        let base = self.revision(by, operation.which);
        let (changes, tree) = change_set(&operation.edits, &self.reference.tree(base), &mut self.lines);
        let turn = Turn::new(self.cluster);
        let found = match turn.begin(&self.people[by.user], &self.project(by), "go").await {
            Ok(_) => commit(&turn.agent, turn.result(&self.reference.oid(base), changes)).await,
            Err(fault) => Err(fault),
        };
        let found = found.map(|done| observed(done.outcome(), done.revision, (turn.id.clone(), done.conflict_paths)));
        (self.reference.edit(by, base, tree, (Mode::Lines, Actor::Agent)), found)
    }

    async fn import(&mut self, by: By, operation: &Operation) -> (Expected, Answer) {
        let files = new_files(&operation.edits, &mut self.lines);
        let entries: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
        // A folder that all files are in is left out, so there is one file outside of all folders.
        let archive = tar(&[&entries[..], &[("root.txt", b"root\n")]].concat());
        let mode = if operation.flag { ImportMode::Replace } else { ImportMode::Overlay };
        let settings = ImportSettings { project_id: self.project(by), mode: mode.into(), ..Default::default() };
        let imported = self.people[by.user].import(settings, &archive).await.map(|done| self.with_head(by, done.revision));
        let mut files = files;
        files.insert("root.txt".into(), b"root\n".to_vec());
        (self.reference.import(by, files, operation.flag), imported)
    }

    async fn merge(&mut self, by: By, operation: &Operation) -> (Expected, Answer) {
        let source = (by.project + operation.which) % self.reference.projects.len();
        let (target, source_id) = (self.project(by), self.reference.projects[source].id.clone());
        let merged = self.people[by.user].merge(&target, &source_id).await;
        let found = merged.map(|done| observed(done.outcome(), done.revision, (done.conflict_id, done.conflict_paths)));
        (self.reference.merge_project(by, source), found)
    }

    /// A restore or a revert of an older revision. A project without revisions has nothing to go back to.
    async fn go_back(&mut self, by: By, operation: &Operation) -> (Expected, Answer) {
        let (person, project) = (&self.people[by.user], self.project(by));
        let id = self.revision(by, operation.which);
        let oid = id.map_or_else(|| "a".repeat(40), |id| self.reference.oid(Some(id)));
        let found = if operation.kind == Kind::Restore {
            let request = RestoreRevisionRequest { project_id: project, revision: oid, ..Default::default() };
            let restored = answer(person.client.clone().restore_revision(person.request(request)).await);
            restored.map(|done| self.with_head(by, done.revision))
        } else {
            let reverted = person.revert(of(&project, &oid)).await;
            reverted.map(|done| observed(done.outcome(), done.revision, (done.conflict_id, done.conflict_paths)))
        };
        let expected = match (id, operation.kind) {
            (None, _) => Expected::Refused("REVISION_NOT_FOUND"),
            (Some(id), Kind::Restore) => self.reference.restore(by, id),
            (Some(id), _) => self.reference.revert(by, id, None),
        };
        (expected, found)
    }

    async fn resolve(&mut self, by: By, operation: &Operation) -> (Expected, Answer) {
        let open = &self.reference.projects[by.project].conflicts;
        let conflict = open[operation.which % open.len()].clone();
        let (files, choices) = self.choices(by, &conflict, operation.which + usize::from(operation.flag));
        let request = ResolveConflictRequest {
            project_id: self.project(by),
            turn_id: conflict.id.clone(),
            base_revision: self.reference.oid(self.reference.head(by.project)),
            files,
            ..Default::default()
        };
        let person = &self.people[by.user];
        let resolved = answer(person.client.clone().resolve_conflict(person.request(request)).await);
        let found = resolved.map(|done| self.with_head(by, done.revision));
        (self.reference.resolve(by, &conflict, choices), found)
    }

    /// A choice for each path in conflict: the head, the other side, or a new text.
    fn choices(&mut self, by: By, conflict: &Conflict, number: usize) -> (Vec<ResolvedFile>, BTreeMap<String, Option<Vec<u8>>>) {
        let head = self.reference.tree(self.reference.head(by.project));
        let theirs = self.reference.tree(Some(conflict.theirs));
        let (mut files, mut choices) = (Vec::new(), BTreeMap::new());
        for (n, path) in self.reference.conflict(by.project, conflict).conflicts.into_iter().enumerate() {
            let (take, file, new) = match (n + number) % 3 {
                0 => (Take::Head, head.get(&path).cloned(), None),
                1 => (Take::Turn, theirs.get(&path).cloned(), None),
                _ => {
                    let text = self.lines.text(3);
                    (Take::Content, Some(text.clone()), Some(content(text)))
                }
            };
            files.push(ResolvedFile { path: path.clone(), take: take.into(), content: new });
            choices.insert(path, file);
        }
        (files, choices)
    }

    /// Forks a project, and lets the other person in.
    async fn fork(&mut self, by: By, operation: &Operation) -> Result<&'static str, Difference> {
        if self.reference.projects.len() == MAX_PROJECTS {
            return Ok("left out");
        }
        let revisions = self.reference.projects[by.project].log.len();
        let kept = revisions - (operation.which % revisions.max(1)).min(revisions);
        let oid = self.reference.oid(kept.checked_sub(1).map(|at| self.reference.projects[by.project].log[at]));
        let forked = self.people[by.user].fork(&self.project(by), &oid).await;
        if self.reference.projects[by.project].deleted {
            same!(forked.as_ref().err().map(|fault| fault.reason.as_str()), Some("PROJECT_NOT_FOUND"), "the fork of a deleted project");
            return Ok("refused");
        }
        let fork = forked.map_err(failed("a fork"))?;
        set_role(self.cluster, &self.people[1 - by.user], &fork.id, 2).await;
        self.reference.add_fork(fork.id, by, kept);
        self.check_head(self.reference.projects.len() - 1).await?;
        Ok("forked")
    }

    async fn delete(&mut self, by: By, is_delete: bool) -> Result<&'static str, Difference> {
        let (person, id) = (&self.people[by.user], self.project(by));
        let found = if is_delete {
            let request = person.request(DeleteProjectRequest { project_id: id, ..Default::default() });
            answer(person.client.clone().delete_project(request).await).map(drop)
        } else {
            let request = person.request(UndeleteProjectRequest { project_id: id });
            answer(person.client.clone().undelete_project(request).await).map(drop)
        };
        let project = &mut self.reference.projects[by.project];
        let expected = match (project.deleted, project.owner == by.user) {
            (false, false) => Some("ROLE_REQUIRED"),
            (true, false) => Some("PROJECT_NOT_FOUND"),
            (true, true) if is_delete => Some("PROJECT_NOT_FOUND"),
            _ => None,
        };
        same!(found.as_ref().err().map(|fault| fault.reason.as_str()), expected, "the deletion or its end");
        if expected.is_none() {
            project.deleted = is_delete;
        }
        Ok(expected.map_or("done", |_| "refused"))
    }

    /// Compares the result of a change, and applies it to the reference.
    async fn compare(&mut self, Step { by, expected }: Step, found: Answer, operation: &Operation) -> Result<&'static str, Difference> {
        match (expected, found) {
            (Expected::Refused(expected), Err(fault)) => {
                same!(fault.reason, expected, "the reason of a refusal");
                Ok("refused")
            }
            (Expected::Unchanged, Ok(Observed::Unchanged)) => Ok("unchanged"),
            (Expected::Committed(commit), Ok(Observed::Committed(revision))) => {
                self.check_revision(by, &commit, &revision)?;
                self.reference.advance(by.project, Commit { oid: revision.id, ..commit });
                if operation.kind == Kind::Resolve {
                    let conflicts = &mut self.reference.projects[by.project].conflicts;
                    conflicts.remove(operation.which % conflicts.len());
                }
                Ok("committed")
            }
            (Expected::Conflicted(pending), Ok(Observed::Conflicted { id, paths })) => {
                same!(paths, pending.paths, "the paths in conflict");
                let conflict = self.people[by.user].conflict(&self.project(by), &id).await.map_err(failed("a conflict"))?;
                self.reference.keep(by.project, pending, (id, conflict.turn_revision));
                Ok("conflicted")
            }
            (expected, found) => Err(format!("the service has {found:?}, the reference {expected:?}")),
        }
    }

    /// Compares a new revision with its commit in the reference.
    fn check_revision(&self, by: By, commit: &Commit, revision: &Revision) -> Result<(), Difference> {
        same!(revision.number as usize, self.reference.projects[by.project].log.len() + 1, "the number");
        same!(revision.actor(), commit.actor, "the actor");
        same!(revision.user_id, self.people[commit.user].id.to_string(), "the author");
        let parents: Vec<_> = commit.parents.iter().map(|id| self.reference.oid(Some(*id))).collect();
        same!(revision.parent_ids, parents, "the parents");
        same!(revision.undoes, self.reference.oid(commit.undoes.map(|undoes| undoes.commit())), "what it undoes");
        check_counts(&self.reference.tree(commit.before), commit, revision)
    }

    /// Compares the head of a project.
    async fn check_head(&self, project: usize) -> Result<(), Difference> {
        let expected = &self.reference.projects[project];
        for person in &self.people {
            let loaded = person.load(&expected.id).await;
            if expected.deleted {
                same!(loaded.as_ref().err().map(|fault| fault.reason.as_str()), Some("PROJECT_NOT_FOUND"), "a deleted project");
                continue;
            }
            let loaded = loaded.map_err(failed("a load"))?;
            let head = self.reference.head(project);
            same!(loaded.project.as_ref().map(head_of), Some((self.reference.oid(head), expected.log.len())), "the head");
            same!(files(&loaded), *self.reference.tree(head), "the files of the head");
        }
        Ok(())
    }

    /// Compares everything: all revisions of all projects, and the open conflicts.
    pub(super) async fn check_all(&mut self) -> Result<(), Difference> {
        for project in 0..self.reference.projects.len() {
            self.restore_if_deleted(project).await?;
            let expected = &self.reference.projects[project];
            let ann = &self.people[expected.owner];
            let ids = ann.numbered_log(&expected.id).await.1;
            let log: Vec<_> = expected.log.iter().rev().map(|id| self.reference.oid(Some(*id))).collect();
            same!(ids, log, "the log of project {project}");
            for id in &expected.log {
                let loaded = ann.load_at(&expected.id, &self.reference.oid(Some(*id))).await.map_err(failed("an old revision"))?;
                same!(files(&loaded), *self.reference.tree(Some(*id)), "the files of revision {id} in project {project}");
            }
            let mut conflicts: Vec<_> =
                ann.conflicts(&expected.id).await.map_err(failed("the conflicts"))?.into_iter().map(|conflict| conflict.id).collect();
            let mut open: Vec<_> = expected.conflicts.iter().map(|conflict| conflict.id.clone()).collect();
            conflicts.sort();
            open.sort();
            same!(conflicts, open, "the open conflicts of project {project}");
        }
        Ok(())
    }

    async fn restore_if_deleted(&mut self, project: usize) -> Result<(), Difference> {
        let by = By { project, user: self.reference.projects[project].owner };
        if self.reference.projects[project].deleted {
            self.delete(by, false).await?;
        }
        Ok(())
    }
}

fn observed(outcome: CommitOutcome, revision: Option<Revision>, (id, paths): (String, Vec<String>)) -> Observed {
    match (outcome, revision) {
        (CommitOutcome::Committed, Some(revision)) => Observed::Committed(Box::new(revision)),
        (CommitOutcome::Conflicted, _) => Observed::Conflicted { id, paths },
        _ => Observed::Unchanged,
    }
}

fn head_of(project: &Project) -> (String, usize) {
    (project.head_revision.clone(), project.head_number as usize)
}

fn files(loaded: &LoadProjectResponse) -> Tree {
    loaded.files.iter().map(|file| (file.path.clone(), file.content.as_ref().map(bytes).unwrap_or_default())).collect()
}

/// Compares how many files a revision changed and has. Renames are an added and a deleted file each; the reference knows only those without a
/// change for certain.
fn check_counts(before: &Tree, commit: &Commit, revision: &Revision) -> Result<(), Difference> {
    let (after, stat) = (&commit.tree, revision.diff_stat.unwrap_or_default());
    let modified = after.iter().filter(|(path, file)| before.get(*path).is_some_and(|old| old != *file)).count();
    let added = after.keys().filter(|path| !before.contains_key(*path)).count();
    let deleted = before.keys().filter(|path| !after.contains_key(*path)).count();
    let counts = [stat.modified, stat.added + stat.renamed, stat.deleted + stat.renamed].map(|count| count as usize);
    same!(counts, [modified, added, deleted], "the numbers of modified, added and deleted files");
    same!(revision.file_count, u32::try_from(after.len()).ok(), "the number of files");
    same!(revision.size_bytes, Some(after.values().map(|file| file.len() as u64).sum()), "the bytes");
    Ok(())
}
