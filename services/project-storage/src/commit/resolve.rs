//! How a person ends a conflict: one revision that follows the head and the turn's commit.

use std::collections::{HashMap, HashSet};

use chassis::{context::Context, seeded_bug};
use proto::id::{ProjectId, TurnId};

use crate::{
    app::App,
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        objects::CommitObjects,
        request::{Replay, RequestKey, SaveRequest},
        stage::{ChangedPaths, StagedTree},
    },
    error::Error,
    git::{Content, FileRef, Folder, Oid},
    merge::{MergeMode, MergeResult},
    model::{
        condition::Condition,
        limits::{ChangedPath, Limits, SUMMARY_CHARACTERS},
        path::FilePath,
        project::{Member, Project, Role, Target, User},
        revision::Revision,
        turn::TurnState,
    },
    read::{conflict::Conflict, member},
    store::{
        self,
        conflicts::{self, ConflictState},
        saves::RecordedSave,
        turns,
    },
};

/// What a person decided.
pub(crate) struct Resolve {
    pub(crate) user: User,
    pub(crate) project: ProjectId,
    pub(crate) turn: TurnId,
    /// What the project must be.
    pub(crate) condition: Condition,
    /// The head that they looked at.
    pub(crate) base: Oid,
    pub(crate) choices: Vec<Choice>,
    pub(crate) request: Option<RequestKey>,
    /// SHA-256 of person and request.
    pub(crate) key: Vec<u8>,
}

/// What becomes of one path.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) path: FilePath,
    pub(crate) take: Take,
}

/// Where a path's file comes from.
#[derive(Debug)]
pub(crate) enum Take {
    Head,
    Turn,
    Content(Content),
}

/// The project without the conflict.
pub(crate) struct ResolveResult {
    pub(crate) project: Project,
    pub(crate) revision: Option<Revision>,
    /// The files that were told.
    pub(crate) files: Vec<(String, FileRef)>,
    /// By an earlier request.
    pub(crate) replayed: bool,
}

/// Resolves, or finds what the same request did before.
pub(crate) async fn resolve(app: &App, context: &Context, resolve: Resolve) -> Result<ResolveResult, Error> {
    let request = SaveRequest::new(app, context, resolve.user, resolve.request.as_ref());
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
        let (app, resolve) = (self.request.app, self.resolve);
        let mut member = member::find(&app.pool, resolve.user.id, &Target::Id(resolve.project), Role::Editor).await?;
        if let Some(recorded) = self.request.recorded().await? {
            return self.replay(recorded).await.map(Attempt::Done);
        }
        let conflict = match conflicts::find(&app.pool, resolve.project, resolve.turn).await?.ok_or(Error::ConflictNotFound)? {
            ConflictState::Resolved { revision, key } if key == resolve.key => {
                let recorded = RecordedSave { project: resolve.project, fingerprint: key, revision: Some(revision) };
                return self.replay(recorded).await.map(Attempt::Done);
            }
            ConflictState::Resolved { revision, .. } => return Err(Error::ConflictResolved { revision }),
            ConflictState::Open { turn_revision, expires_at } => {
                resolve.condition.check(Some(&member.project))?;
                let head = member.head.as_ref().map(|head| head.id);
                if head != Some(resolve.base) {
                    return Err(Error::stale(Some(resolve.base), head, Vec::new(), MergeMode::Paths));
                }
                Conflict::open(app, &member, turn_revision, expires_at).await?
            }
        };
        self.request.apply_plan(&mut member);
        let merged = conflict.merge(app, &member).await?;
        let staged = resolve.stage(&conflict, merged, &member.project.limits())?;
        self.request.count().await?;
        if matches!(self.request.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        let commit = self.request.pack(staged, &history(&conflict.turn_revision.message)).await;
        self.write(member, commit).await
    }
}

impl ResolveWrite<'_> {
    /// Revision and end of the conflict in one transaction.
    async fn write(&self, member: Member, commit: CommitObjects) -> Result<Attempt<ResolveResult>, Error> {
        let (app, Resolve { turn, key, .. }) = (self.request.app, self.resolve);
        let mut tx = store::begin(&app.pool).await?;
        // The turn first: a deletion of the project locks in the same order.
        if turns::lock(&mut tx, *turn).await? != Some(TurnState::Conflicted) {
            return Ok(Attempt::Raced);
        }
        let Attempt::Done((project, revision)) = self.request.write(&mut tx, member, &commit).await? else { return Ok(Attempt::Raced) };
        if !conflicts::resolve(&mut tx, project.id, *turn, revision.id, key).await? {
            return Ok(Attempt::Raced);
        }
        store::commit(tx).await?;
        commit.put_into(&app.cache, project.store);
        let files = self.resolve.files(&commit.tree);
        Ok(Attempt::Done(ResolveResult { project, revision: Some(revision), files, replayed: false }))
    }

    async fn replay(&self, recorded: RecordedSave) -> Result<ResolveResult, Error> {
        let Replay { project, revision, tree } = self.request.replay(recorded).await?;
        Ok(ResolveResult { project, revision, files: self.resolve.files(&tree), replayed: true })
    }
}

/// What the history says of it.
fn history(turn: &str) -> String {
    let line = if turn.is_empty() { "Resolve a conflict".to_owned() } else { format!("Resolve: {turn}") };
    line.chars().take(SUMMARY_CHARACTERS).collect()
}

impl Resolve {
    /// The tree that the choices make of what could be merged.
    fn stage(&self, conflict: &Conflict, merged: MergeResult, limits: &Limits) -> Result<StagedTree, Error> {
        self.covers(&merged.conflicts)?;
        let paths = self.choices.iter().map(|choice| choice.path.as_str()).enumerate();
        let named = paths.map(|(index, path)| ChangedPath { field: format!("files[{index}].path"), path }).collect();
        let steps = ChangedPaths { named, rest: "files" };
        let mut contents = steps.fitting(merged.contents, limits)?;
        let mut tree = if seeded_bug::is("settle-without-the-turn") { Folder::clone(&conflict.head_tree) } else { merged.tree };
        for choice in &self.choices {
            tree.remove(choice.path.as_str());
        }
        for (index, Choice { path, take }) in self.choices.iter().enumerate() {
            let file = match take {
                Take::Head => conflict.head_tree.file(path.as_str()),
                Take::Turn => conflict.turn_tree.file(path.as_str()),
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
        let parents = conflict.head.as_ref().map(|head| head.id).into_iter().chain([conflict.turn_revision.id]);
        Ok(StagedTree::check(tree, &conflict.head_tree, limits, steps)?.with_parents(parents).with_contents(contents))
    }

    /// Whether the choices are about the paths that conflict, each once.
    fn covers(&self, conflicts: &[String]) -> Result<(), Error> {
        let wanted: HashSet<&str> = conflicts.iter().map(String::as_str).collect();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let path = choice.path.as_str();
            let refused = |problem: String| Err(Error::Field { field: format!("files[{index}].path"), problem });
            if !wanted.contains(path) {
                return refused(format!("`{path}` is not in conflict"));
            }
            if let Some(before) = seen.insert(path, index) {
                return refused(format!("`{path}` is named by files[{before}] already"));
            }
        }
        match conflicts.iter().find(|path| !seen.contains_key(path.as_str())) {
            Some(missing) => Err(Error::Field { field: "files".to_owned(), problem: format!("`{missing}` is in conflict and not named") }),
            None => Ok(()),
        }
    }

    fn files(&self, tree: &Folder) -> Vec<(String, FileRef)> {
        self.choices.iter().filter_map(|choice| Some((choice.path.to_string(), tree.file(choice.path.as_str())?))).collect()
    }
}
