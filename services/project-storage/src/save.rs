//! A person's save: a change set becomes one revision, once, whoever else saves at the same time.

use std::sync::Arc;

use chassis::context::Context;

use crate::{
    Storage,
    attempt::{Attempt, Write, retry_on_race},
    change::ChangeSet,
    condition::Condition,
    edit::{self, Base, CommitObjects, Edit, Outcome, StagedTree},
    error::Error,
    git::{FileRef, Folder, Oid},
    merge::Depth,
    project::{self, Actor, Member, Project, Role, Target, UNNAMED},
    revision::Revision,
    saver::{self, RequestKey, SaveRequest},
    store::{self, Connection, projects, saves},
};

/// What a person saves.
pub struct Save {
    pub actor: Actor,
    pub target: Target,
    /// What the project must be.
    pub condition: Condition,
    /// What they edited; `None` is whatever is newest.
    pub base: Option<Oid>,
    pub set: ChangeSet,
    /// How far to merge if the head moved.
    pub depth: Depth,
    pub message: String,
    pub request: Option<RequestKey>,
}

/// The project after a save.
pub struct Saved {
    pub project: Project,
    /// The head as it was if nothing differed.
    pub revision: Option<Revision>,
    /// The files that the steps brought.
    pub files: Vec<(String, FileRef)>,
    /// By an earlier request.
    pub replayed: bool,
}

/// Saves, or finds what the same request did before.
pub async fn save(storage: &Storage, context: &Context, save: Save) -> Result<Saved, Error> {
    let request = SaveRequest::new(storage, context, save.actor, save.request.as_ref());
    retry_on_race(SaveRun { request, save: &save }).await
}

/// What a save writes: a commit, or nothing because no file differs from this tree.
enum Staged<C> {
    Commit(C),
    Unchanged(Arc<Folder>),
}

/// One save over its attempts.
struct SaveRun<'a> {
    request: SaveRequest<'a>,
    save: &'a Save,
}

impl Write for SaveRun<'_> {
    type Done = Saved;

    async fn attempt(&mut self) -> Result<Attempt<Saved>, Error> {
        let (save, storage) = (self.save, self.request.storage);
        let found = projects::find(&storage.pool, save.actor.id, &save.target).await?;
        if let Some(past) = self.request.past().await? {
            let (project, revision, tree) = saver::replay(storage, save.actor, past).await?;
            return Ok(Attempt::Done(Saved { project, revision, files: self.files(&tree), replayed: true }));
        }
        save.condition.check(found.as_ref().map(|member| &member.project))?;
        match (found, &save.target) {
            (Some(member), _) => {
                project::require(Some(member.role), Role::Editor)?;
                self.on(member).await
            }
            (None, Target::Draft(draft)) => self.first(draft.clone()).await,
            (None, Target::Id(_)) => Err(Error::ProjectNotFound),
        }
    }
}

impl SaveRun<'_> {
    /// The save of a draft that is no project yet makes it one.
    async fn first(&mut self, draft: String) -> Result<Attempt<Saved>, Error> {
        if self.save.base.is_some() {
            return Err(Error::RevisionNotFound);
        }
        let project = Project::new(self.save.actor, Some(draft), UNNAMED.to_owned(), chassis::clock::now());
        let staged = self.edit(&project, None).await?;
        self.request.count().await?;
        let staged = self.pack(staged).await;
        let mut tx = store::begin(&self.request.storage.pool).await?;
        if !self.request.storage.quotas.insert(&mut tx, &project).await? {
            return Ok(Attempt::Raced);
        }
        let saved = self.write(&mut tx, Member { project, role: Role::Owner, head: None }, staged).await?;
        if let Attempt::Done(_) = saved {
            store::commit(tx).await?;
        }
        Ok(saved)
    }

    /// A save on a project that exists.
    async fn on(&mut self, mut member: Member) -> Result<Attempt<Saved>, Error> {
        self.request.as_owner(&mut member);
        let staged = self.edit(&member.project, member.head.as_ref()).await?;
        self.request.count().await?;
        if self.request.waited(&member.project).await {
            // What was read is old.
            return Ok(Attempt::Raced);
        }
        // Before a connection is taken, which others wait for.
        let staged = self.pack(staged).await;
        let mut db = store::connection(&self.request.storage.pool).await?;
        self.write(&mut db, member, staged).await
    }

    /// What the steps come to on the head.
    async fn edit(&self, project: &Project, head: Option<&Revision>) -> Result<Staged<StagedTree>, Error> {
        let Save { set, depth, base, .. } = self.save;
        let edit = Edit { project, head, base: base.map_or(Base::Head, Base::Revision), set, depth: *depth };
        match edit::edit(self.request.storage, edit).await? {
            Outcome::Applies(staged) => Ok(Staged::Commit(staged)),
            Outcome::Unchanged(tree) => Ok(Staged::Unchanged(tree)),
            Outcome::Conflicts { paths, .. } => Err(Error::stale(*base, head.map(|head| head.id), paths, *depth)),
        }
    }

    async fn pack(&mut self, staged: Staged<StagedTree>) -> Staged<CommitObjects> {
        match staged {
            Staged::Commit(tree) => Staged::Commit(self.request.pack(tree, &self.save.message).await),
            Staged::Unchanged(tree) => Staged::Unchanged(tree),
        }
    }

    async fn write(&self, db: &mut Connection, member: Member, staged: Staged<CommitObjects>) -> Result<Attempt<Saved>, Error> {
        match staged {
            Staged::Commit(objects) => {
                let Attempt::Done((project, revision)) = self.request.write(db, member, &objects).await? else { return Ok(Attempt::Raced) };
                objects.remember(self.request.storage, &project);
                let files = self.files(&objects.tree);
                Ok(Attempt::Done(Saved { project, revision: Some(revision), files, replayed: false }))
            }
            Staged::Unchanged(tree) => self.unchanged(db, member, &tree).await,
        }
    }

    /// Nothing to write but that the request was served.
    async fn unchanged(&self, db: &mut Connection, member: Member, tree: &Folder) -> Result<Attempt<Saved>, Error> {
        let Member { project, head, .. } = member;
        if let Some(request) = &self.save.request {
            let head = head.as_ref().map(|head| head.id);
            if !saves::remember(db, self.save.actor.id, project.id, request.row(), head).await? {
                return Ok(Attempt::Raced);
            }
        }
        Ok(Attempt::Done(Saved { project, revision: head, files: self.files(tree), replayed: false }))
    }

    fn files(&self, tree: &Folder) -> Vec<(String, FileRef)> {
        let targets = self.save.set.targets();
        targets.iter().filter_map(|step| Some((step.path.to_owned(), tree.file(step.path)?))).collect()
    }
}
