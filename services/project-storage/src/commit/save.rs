//! A user's save: a change set becomes one revision.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        request::{MaybeCommit, RequestKey, SavePolicy, SaveRequest},
        stage::{Base, Edit, StageResult, StagedTree, stage},
    },
    error::Error,
    git::{FileRef, Folder, Oid},
    merge::MergeMode,
    model::{
        change::ChangeSet,
        condition::Condition,
        project::{self, Member, Project, Role, Target, UNNAMED, User},
        revision::{Actor, Revision},
    },
    read::checkout::Checkout,
    store::{self, projects},
};

/// What a user saves.
pub(crate) struct Save {
    pub(crate) user: User,
    pub(crate) target: Target,
    /// The project to create if the target does not exist; `None` makes one of a draft id.
    pub(crate) created: Option<Project>,
    /// The condition that the project must meet.
    pub(crate) condition: Condition,
    /// What makes the revision.
    pub(crate) actor: Actor,
    /// The revision that the user edited; `None` for the head.
    pub(crate) base: Option<Oid>,
    pub(crate) set: ChangeSet,
    /// What happens to paths that the head has changed as well.
    pub(crate) mode: MergeMode,
    pub(crate) message: String,
    pub(crate) request: Option<RequestKey>,
    /// The lease of contents that were written before.
    pub(crate) lease: Option<Uuid>,
}

/// The project after a save.
pub(crate) struct SaveResult {
    pub(crate) project: Project,
    /// The new revision; the head if no file differed from it.
    pub(crate) revision: Option<Revision>,
    /// The files that the change set wrote or moved.
    pub(crate) files: Vec<(String, FileRef)>,
    /// An earlier request with the same id made the save.
    pub(crate) replayed: bool,
}

/// Saves, or returns what an earlier request with the same id did.
pub(crate) async fn save(writer: Writer<'_>, policy: SavePolicy<'_>, save: Save, now: OffsetDateTime) -> Result<SaveResult, Error> {
    let mut request = SaveRequest::new(writer, policy, save.user, save.request.as_ref(), now).with_lease(save.lease);
    request.actor = save.actor;
    retry_on_race(SaveWrite { request, save: &save }).await
}

/// One save over its attempts.
struct SaveWrite<'a> {
    request: SaveRequest<'a>,
    save: &'a Save,
}

impl OptimisticWrite for SaveWrite<'_> {
    type Output = SaveResult;

    async fn attempt(&mut self) -> Result<Attempt<SaveResult>, Error> {
        let save = self.save;
        let found = projects::find(self.request.pool(), save.user.id, &save.target).await?;
        if let Some(recorded) = self.request.find_recorded().await? {
            let Checkout { project, revision, tree } = self.request.replay(recorded).await?;
            return Ok(Attempt::Done(SaveResult { project, revision, files: self.files(&tree), replayed: true }));
        }
        save.condition.check(found.as_ref().map(|member| &member.project))?;
        match (found, &save.target) {
            (Some(member), _) => {
                project::require(Some(member.role), Role::Editor)?;
                self.save_project(member).await
            }
            (None, Target::Draft(draft)) => {
                let new = || Project::new(save.user, Some(draft.clone()), UNNAMED.to_owned(), self.request.now);
                let project = save.created.clone().unwrap_or_else(new);
                self.save_new(project).await
            }
            (None, Target::Id(_)) => match save.created.clone() {
                Some(project) => self.save_new(project).await,
                None => Err(Error::ProjectNotFound),
            },
        }
    }
}

impl SaveWrite<'_> {
    /// Saves a project that does not exist yet. The save creates it.
    async fn save_new(&mut self, project: Project) -> Result<Attempt<SaveResult>, Error> {
        if self.save.base.is_some() {
            return Err(Error::RevisionNotFound);
        }
        let staged = self.stage(&project, None).await?;
        self.request.count().await?;
        let packed = self.request.pack_changes(staged, &self.save.message).await;
        let mut tx = store::begin(self.request.pool()).await?;
        if !self.request.writer.quotas.insert(&mut tx, &project).await? {
            return Ok(Attempt::Raced);
        }
        let written = self.request.write_changes(&mut tx, Member { project, role: Role::Owner, head: None }, packed).await?;
        if matches!(written, Attempt::Done(_)) {
            store::commit(tx).await?;
        }
        Ok(self.saved(written))
    }

    /// Saves a project that exists.
    async fn save_project(&mut self, mut member: Member) -> Result<Attempt<SaveResult>, Error> {
        self.request.apply_plan(&mut member);
        let staged = self.stage(&member.project, member.head.as_ref()).await?;
        let written = self.request.commit(member, staged, &self.save.message).await?;
        Ok(self.saved(written))
    }

    fn saved(&self, written: Attempt<Checkout>) -> Attempt<SaveResult> {
        match written {
            Attempt::Done(Checkout { project, revision, tree }) => {
                Attempt::Done(SaveResult { project, revision, files: self.files(&tree), replayed: false })
            }
            Attempt::Raced => Attempt::Raced,
        }
    }

    /// Applies the change set to the head.
    async fn stage(&self, project: &Project, head: Option<&Revision>) -> Result<MaybeCommit<StagedTree>, Error> {
        let Save { set, mode, base, .. } = self.save;
        let base = &base.filter(|_| !chassis::seeded_bug::is("ignore-the-base"));
        let edit = Edit { project, head, base: base.map_or(Base::Head, Base::Revision), set, mode: *mode, slot: self.request.merge_slot() };
        match stage(self.request.writer.objects, edit).await? {
            StageResult::Applies(staged) => Ok(MaybeCommit::Commit(staged)),
            StageResult::Unchanged(tree) => Ok(MaybeCommit::Unchanged(tree)),
            StageResult::Conflicts { paths, .. } => Err(Error::stale(*base, head.map(|head| head.id), paths, *mode)),
        }
    }

    fn files(&self, tree: &Folder) -> Vec<(String, FileRef)> {
        let targets = self.save.set.targets();
        targets.iter().filter_map(|target| Some((target.path.to_owned(), tree.file(target.path)?))).collect()
    }
}
