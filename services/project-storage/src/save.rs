//! A person's save: a change set becomes one revision, once, whoever else saves at the same time.

use std::sync::Arc;

use chassis::context::Context;

use crate::{
    Storage,
    change::ChangeSet,
    condition::Condition,
    edit::{self, Base, Edit, Edited, Outcome, Packed},
    error::Error,
    git::{FileRef, Folder, Oid},
    merge::Depth,
    project::{self, Actor, Member, Project, Role, Target, UNNAMED},
    revision::Revision,
    saver::{self, ATTEMPTS, RequestKey, Saver},
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
    let saver = Saver::new(storage, context, save.actor, save.request.as_ref());
    let mut run = Run { saver, save: &save };
    for _ in 0..ATTEMPTS {
        if let Some(saved) = run.attempt().await? {
            return Ok(saved);
        }
    }
    Err(Error::Busy)
}

/// What a save comes to: a change, or the tree from which no file differs.
enum Made<C> {
    Change(C),
    Nothing(Arc<Folder>),
}

/// One save over its attempts.
struct Run<'a> {
    saver: Saver<'a>,
    save: &'a Save,
}

impl Run<'_> {
    /// `None` if somebody came in between.
    async fn attempt(&mut self) -> Result<Option<Saved>, Error> {
        let (save, storage) = (self.save, self.saver.storage);
        let found = projects::find(&storage.pool, save.actor.id, &save.target).await?;
        if let Some(past) = self.saver.past().await? {
            let (project, revision, tree) = saver::replay(storage, save.actor, past).await?;
            return Ok(Some(Saved { project, revision, files: self.files(&tree), replayed: true }));
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

    /// The save of a draft that is no project yet makes it one.
    async fn first(&mut self, draft: String) -> Result<Option<Saved>, Error> {
        if self.save.base.is_some() {
            return Err(Error::RevisionNotFound);
        }
        let project = Project::new(self.save.actor, Some(draft), UNNAMED.to_owned(), chassis::clock::now());
        let made = self.edit(&project, None).await?;
        self.saver.count().await?;
        let made = self.pack(made).await;
        let mut tx = store::begin(&self.saver.storage.pool).await?;
        if !self.saver.storage.quotas.insert(&mut tx, &project).await? {
            return Ok(None);
        }
        let saved = self.write(&mut tx, Member { project, role: Role::Owner, head: None }, made).await?;
        if saved.is_some() {
            store::commit(tx).await?;
        }
        Ok(saved)
    }

    /// A save on a project that exists.
    async fn on(&mut self, mut member: Member) -> Result<Option<Saved>, Error> {
        self.saver.as_owner(&mut member);
        let made = self.edit(&member.project, member.head.as_ref()).await?;
        self.saver.count().await?;
        if self.saver.waited(&member.project).await {
            // What was read is old.
            return Ok(None);
        }
        // Before a connection is taken, which others wait for.
        let made = self.pack(made).await;
        let mut db = store::connection(&self.saver.storage.pool).await?;
        self.write(&mut db, member, made).await
    }

    /// What the steps come to on the head.
    async fn edit(&self, project: &Project, head: Option<&Revision>) -> Result<Made<Edited>, Error> {
        let Save { set, depth, base, .. } = self.save;
        let edit = Edit { project, head, base: base.map_or(Base::Head, Base::Revision), set, depth: *depth };
        match edit::edit(self.saver.storage, edit).await? {
            Outcome::Applies(edited) => Ok(Made::Change(edited)),
            Outcome::Unchanged(tree) => Ok(Made::Nothing(tree)),
            Outcome::Conflicts { paths, .. } => Err(Error::stale(*base, head.map(|head| head.id), paths, *depth)),
        }
    }

    async fn pack(&mut self, made: Made<Edited>) -> Made<Packed> {
        match made {
            Made::Change(edited) => Made::Change(self.saver.pack(edited, &self.save.message).await),
            Made::Nothing(tree) => Made::Nothing(tree),
        }
    }

    /// `None` if somebody came in between.
    async fn write(&self, db: &mut Connection, member: Member, made: Made<Packed>) -> Result<Option<Saved>, Error> {
        match made {
            Made::Change(packed) => {
                let Some((project, revision)) = self.saver.write(db, member, &packed).await? else { return Ok(None) };
                packed.remember(self.saver.storage, &project);
                let files = self.files(&packed.tree);
                Ok(Some(Saved { project, revision: Some(revision), files, replayed: false }))
            }
            Made::Nothing(tree) => self.unchanged(db, member, &tree).await,
        }
    }

    /// Nothing to write but that the request was served.
    async fn unchanged(&self, db: &mut Connection, member: Member, tree: &Folder) -> Result<Option<Saved>, Error> {
        let Member { project, head, .. } = member;
        if let Some(request) = &self.save.request {
            let head = head.as_ref().map(|head| head.id);
            if !saves::remember(db, self.save.actor.id, project.id, request.row(), head).await? {
                return Ok(None);
            }
        }
        Ok(Some(Saved { project, revision: head, files: self.files(tree), replayed: false }))
    }

    fn files(&self, tree: &Folder) -> Vec<(String, FileRef)> {
        let targets = self.save.set.targets();
        targets.iter().filter_map(|step| Some((step.path.to_owned(), tree.file(step.path)?))).collect()
    }
}
