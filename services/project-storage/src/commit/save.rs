//! A person's save: a change set becomes one revision, once, whoever else saves at the same time.

use std::sync::Arc;

use chassis::context::Context;

use crate::{
    app::App,
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        objects::CommitObjects,
        request::{Replay, RequestKey, SaveRequest},
        stage::{Base, Edit, StageResult, StagedTree, stage},
    },
    error::Error,
    git::{FileRef, Folder, Oid},
    merge::MergeMode,
    model::{
        change::ChangeSet,
        condition::Condition,
        project::{self, Member, Project, Role, Target, UNNAMED, User},
        revision::Revision,
    },
    store::{self, Connection, projects, saves},
};

/// What a person saves.
pub(crate) struct Save {
    pub(crate) user: User,
    pub(crate) target: Target,
    /// What the project must be.
    pub(crate) condition: Condition,
    /// What they edited; `None` is whatever is newest.
    pub(crate) base: Option<Oid>,
    pub(crate) set: ChangeSet,
    /// How far to merge if the head moved.
    pub(crate) mode: MergeMode,
    pub(crate) message: String,
    pub(crate) request: Option<RequestKey>,
}

/// The project after a save.
pub(crate) struct SaveResult {
    pub(crate) project: Project,
    /// The head as it was if nothing differed.
    pub(crate) revision: Option<Revision>,
    /// The files that the steps brought.
    pub(crate) files: Vec<(String, FileRef)>,
    /// By an earlier request.
    pub(crate) replayed: bool,
}

/// Saves, or finds what the same request did before.
pub(crate) async fn save(app: &App, context: &Context, save: Save) -> Result<SaveResult, Error> {
    let request = SaveRequest::new(app, context, save.user, save.request.as_ref());
    retry_on_race(SaveWrite { request, save: &save }).await
}

/// What a save comes to: something to commit, or the tree from which no file differs.
enum Step<T> {
    Commit(T),
    Unchanged(Arc<Folder>),
}

/// One save over its attempts.
struct SaveWrite<'a> {
    request: SaveRequest<'a>,
    save: &'a Save,
}

impl OptimisticWrite for SaveWrite<'_> {
    type Output = SaveResult;

    async fn attempt(&mut self) -> Result<Attempt<SaveResult>, Error> {
        let (save, app) = (self.save, self.request.app);
        let found = projects::find(&app.pool, save.user.id, &save.target).await?;
        if let Some(recorded) = self.request.recorded().await? {
            let Replay { project, revision, tree } = self.request.replay(recorded).await?;
            return Ok(Attempt::Done(SaveResult { project, revision, files: self.files(&tree), replayed: true }));
        }
        save.condition.check(found.as_ref().map(|member| &member.project))?;
        match (found, &save.target) {
            (Some(member), _) => {
                project::require(Some(member.role), Role::Editor)?;
                self.save_project(member).await
            }
            (None, Target::Draft(draft)) => self.save_draft(draft.clone()).await,
            (None, Target::Id(_)) => Err(Error::ProjectNotFound),
        }
    }
}

impl SaveWrite<'_> {
    /// The save of a draft that is no project yet makes it one.
    async fn save_draft(&mut self, draft: String) -> Result<Attempt<SaveResult>, Error> {
        if self.save.base.is_some() {
            return Err(Error::RevisionNotFound);
        }
        let project = Project::new(self.save.user, Some(draft), UNNAMED.to_owned(), chassis::clock::now());
        let staged = self.stage(&project, None).await?;
        self.request.count().await?;
        let packed = self.pack(staged).await;
        let mut tx = store::begin(&self.request.app.pool).await?;
        if !self.request.app.quotas.insert(&mut tx, &project).await? {
            return Ok(Attempt::Raced);
        }
        let saved = self.write(&mut tx, Member { project, role: Role::Owner, head: None }, packed).await?;
        if matches!(saved, Attempt::Done(_)) {
            store::commit(tx).await?;
        }
        Ok(saved)
    }

    /// A save on a project that exists.
    async fn save_project(&mut self, mut member: Member) -> Result<Attempt<SaveResult>, Error> {
        self.request.apply_plan(&mut member);
        let staged = self.stage(&member.project, member.head.as_ref()).await?;
        self.request.count().await?;
        if matches!(self.request.lock(&member.project).await, Attempt::Raced) {
            return Ok(Attempt::Raced);
        }
        // Before a connection is taken, which others wait for.
        let packed = self.pack(staged).await;
        let mut db = store::connection(&self.request.app.pool).await?;
        self.write(&mut db, member, packed).await
    }

    /// What the steps come to on the head.
    async fn stage(&self, project: &Project, head: Option<&Revision>) -> Result<Step<StagedTree>, Error> {
        let Save { set, mode, base, .. } = self.save;
        let edit = Edit { project, head, base: base.map_or(Base::Head, Base::Revision), set, mode: *mode };
        match stage(self.request.app, edit).await? {
            StageResult::Applies(staged) => Ok(Step::Commit(staged)),
            StageResult::Unchanged(tree) => Ok(Step::Unchanged(tree)),
            StageResult::Conflicts { paths, .. } => Err(Error::stale(*base, head.map(|head| head.id), paths, *mode)),
        }
    }

    async fn pack(&mut self, staged: Step<StagedTree>) -> Step<CommitObjects> {
        match staged {
            Step::Commit(staged) => Step::Commit(self.request.pack(staged, &self.save.message).await),
            Step::Unchanged(tree) => Step::Unchanged(tree),
        }
    }

    async fn write(&self, db: &mut Connection, member: Member, packed: Step<CommitObjects>) -> Result<Attempt<SaveResult>, Error> {
        match packed {
            Step::Commit(commit) => {
                let Attempt::Done((project, revision)) = self.request.write(db, member, &commit).await? else {
                    return Ok(Attempt::Raced);
                };
                commit.put_into(&self.request.app.cache, project.store);
                let files = self.files(&commit.tree);
                Ok(Attempt::Done(SaveResult { project, revision: Some(revision), files, replayed: false }))
            }
            Step::Unchanged(tree) => self.record_unchanged(db, member, &tree).await,
        }
    }

    /// Nothing to write but that the request was served.
    async fn record_unchanged(&self, db: &mut Connection, member: Member, tree: &Folder) -> Result<Attempt<SaveResult>, Error> {
        let Member { project, head, .. } = member;
        if let Some(request) = &self.save.request {
            let head = head.as_ref().map(|head| head.id);
            if !saves::record_unchanged(db, self.save.user.id, project.id, request.row(), head).await? {
                return Ok(Attempt::Raced);
            }
        }
        Ok(Attempt::Done(SaveResult { project, revision: head, files: self.files(tree), replayed: false }))
    }

    fn files(&self, tree: &Folder) -> Vec<(String, FileRef)> {
        let targets = self.save.set.targets();
        targets.iter().filter_map(|step| Some((step.path.to_owned(), tree.file(step.path)?))).collect()
    }
}
