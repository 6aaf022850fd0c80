//! A user's resolution of a conflict: one revision whose parents are the head and the commit that could not be merged.

use std::collections::{HashMap, HashSet};

use chassis::seeded_bug;
use proto::id::{ConflictId, ProjectId, TurnId};
use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        merge,
        objects::CommitObjects,
        request::{RequestKey, SavePolicy, SaveRequest},
        stage::{ChangedPaths, StagedTree},
    },
    error::Error,
    git::{Content, FileRef, Folder, Oid},
    merge::{MergeMode, MergeResult},
    model::{
        condition::Condition,
        conflict::{ConflictKind, OpenConflict},
        limits::{ChangedPath, Limits, SUMMARY_CHARACTERS},
        lineage::Point,
        path::FilePath,
        project::{Member, Project, Role, Target, User},
        revision::{Actor, Revision},
        turn::TurnState,
    },
    read::{checkout::Checkout, conflict::Conflict, member},
    store::{
        self,
        conflicts::{self, ConflictState},
        lineage,
        saves::{RecordedSave, RequestOutcome},
        turns,
    },
};

/// A resolution of a conflict.
pub(crate) struct Resolve {
    pub(crate) user: User,
    pub(crate) project: ProjectId,
    pub(crate) conflict: ConflictId,
    /// The condition that the project must meet.
    pub(crate) condition: Condition,
    /// The head that the user has seen.
    pub(crate) base: Oid,
    pub(crate) choices: Vec<Choice>,
    pub(crate) request: Option<RequestKey>,
    /// SHA-256 of the user and the request.
    pub(crate) key: Vec<u8>,
}

/// The decision about one path.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) path: FilePath,
    pub(crate) take: Take,
}

/// Where a path's file comes from.
#[derive(Debug)]
pub(crate) enum Take {
    Head,
    Theirs,
    Content(Content),
}

/// The project after the resolution.
pub(crate) struct ResolveResult {
    pub(crate) project: Project,
    pub(crate) revision: Option<Revision>,
    /// The files of the choices; a choice that deletes a file has none.
    pub(crate) files: Vec<(String, FileRef)>,
    /// An earlier request made the resolution.
    pub(crate) replayed: bool,
}

/// Resolves a conflict, or returns what the same request did before.
pub(crate) async fn resolve(
    writer: Writer<'_>,
    policy: SavePolicy<'_>,
    resolve: Resolve,
    now: OffsetDateTime,
) -> Result<ResolveResult, Error> {
    let request = SaveRequest::new(writer, policy, resolve.user, resolve.request.as_ref(), now);
    retry_on_race(ResolveWrite { request, resolve: &resolve }).await
}

/// One resolution over its attempts.
struct ResolveWrite<'a> {
    request: SaveRequest<'a>,
    resolve: &'a Resolve,
}

impl OptimisticWrite for ResolveWrite<'_> {
    type Output = ResolveResult;

    async fn attempt(&mut self) -> Result<Attempt<ResolveResult>, Error> {
        let (objects, pool, resolve) = (self.request.writer.objects, self.request.pool(), self.resolve);
        let mut member = member::find(pool, resolve.user.id, &Target::Id(resolve.project), Role::Editor).await?;
        if let Some(recorded) = self.request.find_recorded().await? {
            return self.replay(recorded).await.map(Attempt::Done);
        }
        let (conflict, slot) = match conflicts::find(pool, resolve.project, resolve.conflict).await?.ok_or(Error::ConflictNotFound)? {
            ConflictState::Resolved { revision, key } if key == resolve.key => {
                let recorded = RecordedSave {
                    project: resolve.project,
                    fingerprint: key,
                    revision: Some(revision),
                    outcome: RequestOutcome::Committed,
                };
                return self.replay(recorded).await.map(Attempt::Done);
            }
            ConflictState::Resolved { revision, .. } => return Err(Error::ConflictResolved { revision }),
            ConflictState::Open(open) => {
                resolve.condition.check(Some(&member.project))?;
                let head = member.head.as_ref().map(|head| head.id);
                if head != Some(resolve.base) {
                    return Err(Error::stale(Some(resolve.base), head, Vec::new(), MergeMode::Paths));
                }
                let slot = merge::slot(&self.request).await?;
                (Conflict::load(objects, &member, *open).await?, slot)
            }
        };
        self.request.apply_plan(&mut member);
        let merged = conflict.merge(objects, &member).await?;
        let staged = resolve.stage(&conflict, merged, &member.project.limits())?;
        drop(slot);
        self.request.count().await?;
        if matches!(self.request.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let OpenConflict { kind, theirs, user, undoes, .. } = conflict.open;
        // An undo is its author's. The resolution of another person is a change of that person.
        self.request.undoes = undoes.filter(|_| user == resolve.user.id);
        if kind == ConflictKind::MergeBack {
            self.request.actor = Actor::Merge;
        }
        let commit = self.request.pack(staged, &message(&theirs.message)).await;
        self.write(member, kind, commit).await
    }
}

impl ResolveWrite<'_> {
    /// Writes the revision and ends the conflict, in one transaction.
    async fn write(&self, member: Member, kind: ConflictKind, commit: CommitObjects) -> Result<Attempt<ResolveResult>, Error> {
        let Resolve { conflict, key, .. } = self.resolve;
        let mut tx = store::begin(self.request.pool()).await?;
        // The turn first: a deletion of the project locks in the same order.
        if kind == ConflictKind::Turn && turns::lock(&mut tx, TurnId(conflict.0)).await? != Some(TurnState::Conflicted) {
            return Ok(Attempt::Raced);
        }
        let Attempt::Done((project, revision)) = self.request.write(&mut tx, member, &commit).await? else { return Ok(Attempt::Raced) };
        if !conflicts::resolve(&mut tx, project.id, *conflict, revision.id, key).await? {
            return Ok(Attempt::Raced);
        }
        if kind == ConflictKind::MergeBack {
            let point = Point { log: project.id, number: revision.number };
            lineage::resolve(&mut tx, project.store, point, *conflict).await?;
        }
        store::commit(tx).await?;
        self.request.announce(&project, &revision);
        commit.put_into(&self.request.writer.objects.cache, project.store);
        let files = self.resolve.files(&commit.tree);
        Ok(Attempt::Done(ResolveResult { project, revision: Some(revision), files, replayed: false }))
    }

    async fn replay(&self, recorded: RecordedSave) -> Result<ResolveResult, Error> {
        let Checkout { project, revision, tree } = self.request.replay(recorded).await?;
        Ok(ResolveResult { project, revision, files: self.resolve.files(&tree), replayed: true })
    }
}

/// The message of the revision, from the message of the commit that could not be merged.
fn message(theirs: &str) -> String {
    let line = if theirs.is_empty() { "Resolve a conflict".to_owned() } else { format!("Resolve: {theirs}") };
    line.chars().take(SUMMARY_CHARACTERS).collect()
}

impl Resolve {
    /// The merged tree with the choices applied.
    fn stage(&self, conflict: &Conflict, merged: MergeResult, limits: &Limits) -> Result<StagedTree, Error> {
        self.check_choices(&merged.conflicts)?;
        let choices = self.choices.iter().map(|choice| choice.path.as_str()).enumerate();
        let named = choices.map(|(index, path)| ChangedPath { field: format!("files[{index}].path"), path }).collect();
        let paths = ChangedPaths { named, default_field: "files" };
        let mut contents = merged.contents;
        let mut tree = if seeded_bug::is("settle-without-the-turn") { Folder::clone(&conflict.head_tree) } else { merged.tree };
        for choice in &self.choices {
            tree.remove(choice.path.as_str());
        }
        for (index, Choice { path, take }) in self.choices.iter().enumerate() {
            let file = match take {
                Take::Theirs if !seeded_bug::is("resolve-with-the-head") => conflict.their_tree.file(path.as_str()),
                Take::Head | Take::Theirs => conflict.head_tree.file(path.as_str()),
                Take::Content(content) => {
                    let (size, limit) = (content.file.size, limits.file_bytes);
                    if size > limit {
                        return Err(Error::FileTooLarge { field: format!("files[{index}].content"), path: path.to_string(), size, limit });
                    }
                    contents.insert(content.file.oid, content.bytes.clone());
                    Some(content.file)
                }
            };
            if let Some(file) = file {
                tree.put(path.as_str(), file).map_err(|clash| clash.at(format!("files[{index}].path"), path))?;
            }
        }
        let parents = conflict.head.as_ref().map(|head| head.id).into_iter().chain([conflict.open.theirs.id]);
        Ok(StagedTree::check(tree, &conflict.head_tree, limits, paths)?.with_parents(parents).with_contents(contents))
    }

    /// Checks that there is one choice for each path in conflict, and no other.
    fn check_choices(&self, conflicts: &[String]) -> Result<(), Error> {
        let conflicting: HashSet<&str> = conflicts.iter().map(String::as_str).collect();
        let mut choices: HashMap<&str, usize> = HashMap::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let path = choice.path.as_str();
            let invalid = |problem: String| Err(Error::Field { field: format!("files[{index}].path"), problem });
            if !conflicting.contains(path) {
                return invalid(format!("`{path}` is not in conflict"));
            }
            if let Some(first) = choices.insert(path, index) {
                return invalid(format!("`{path}` is already named by files[{first}]"));
            }
        }
        match conflicts.iter().find(|path| !choices.contains_key(path.as_str())) {
            Some(missing) => {
                Err(Error::Field { field: "files".to_owned(), problem: format!("`{missing}` is in conflict, and no entry names it") })
            }
            None => Ok(()),
        }
    }

    fn files(&self, tree: &Folder) -> Vec<(String, FileRef)> {
        self.choices.iter().filter_map(|choice| Some((choice.path.to_string(), tree.file(choice.path.as_str())?))).collect()
    }
}
