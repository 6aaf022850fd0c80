//! A person's save: a change set becomes one revision, once, whoever else saves at the same time.

use chassis::context::Context;

use crate::{
    Storage,
    change::ChangeSet,
    edit::{self, Authorship, Base, Blobs, Edit, Edited, Outcome, Packed},
    error::{Error, SERVICE},
    git::{FileRef, Folder, Oid},
    lock::Held,
    project::{self, Actor, Member, Project, Role, Target, UNNAMED},
    revision::{self, Revision},
    store::{
        self, Connection, projects,
        saves::{self, NewRevision},
    },
    tree,
};

/// Saves of other replicas that one save gives way to before it says that the project is busy.
const ATTEMPTS: u32 = 16;

/// What a person saves.
pub struct Save {
    pub actor: Actor,
    pub target: Target,
    /// What they edited; `None` is whatever is newest.
    pub base: Option<Oid>,
    pub set: ChangeSet,
    pub message: String,
    pub request: Option<RequestKey>,
}

/// What tells a save from its repeat.
pub struct RequestKey {
    pub id: String,
    /// SHA-256 of the request.
    pub fingerprint: Vec<u8>,
}

/// The project after a save.
pub struct Saved {
    pub project: Project,
    /// The head as it was if nothing differed.
    pub revision: Option<Revision>,
    /// The files that the steps brought.
    pub files: Vec<(String, FileRef)>,
}

/// Saves, or finds what the same request did before.
pub async fn save(storage: &Storage, context: &Context, save: Save) -> Result<Saved, Error> {
    let mut run = Run { storage, context, save: &save, blobs: Blobs::new(), counted: false, held: None };
    for _ in 0..ATTEMPTS {
        if let Some(saved) = run.attempt().await? {
            return Ok(saved);
        }
    }
    Err(Error::Busy)
}

/// One save over its attempts.
struct Run<'a> {
    storage: &'a Storage,
    context: &'a Context,
    save: &'a Save,
    blobs: Blobs,
    /// The policy has been asked; a later attempt is the same save.
    counted: bool,
    held: Option<Held<'a>>,
}

impl Run<'_> {
    /// `None` if somebody came in between.
    async fn attempt(&mut self) -> Result<Option<Saved>, Error> {
        let save = self.save;
        let found = projects::find(&self.storage.pool, save.actor.id, &save.target).await?;
        // After the head: a repeat that sees the first one's revision also sees its row.
        if let Some(request) = &save.request
            && let Some(past) = saves::past(&self.storage.pool, save.actor.id, &request.id).await?
        {
            return if past.fingerprint == request.fingerprint { self.replay(past).await.map(Some) } else { Err(Error::KeyReused) };
        }
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
        let outcome = self.edit(&project, None).await?;
        self.count().await?;
        let packed = match outcome {
            Outcome::Applies(edited) => Some(self.pack(edited).await),
            Outcome::Unchanged(_) | Outcome::Conflicts { .. } => None,
        };
        let mut tx = store::begin(&self.storage.pool).await?;
        if !projects::insert(&mut tx, &project).await? {
            return Ok(None);
        }
        let member = Member { project, role: Role::Owner, head: None };
        let saved = match packed {
            Some(packed) => self.write(&mut tx, member, packed).await?,
            None => self.unchanged(&mut tx, member, &Folder::default()).await?,
        };
        if saved.is_some() {
            store::commit(tx).await?;
        }
        Ok(saved)
    }

    /// A save on a project that exists.
    async fn on(&mut self, mut member: Member) -> Result<Option<Saved>, Error> {
        if member.project.owner == self.save.actor.id {
            member.project.plan = self.save.actor.plan;
        }
        let outcome = self.edit(&member.project, member.head.as_ref()).await?;
        if let Outcome::Conflicts { paths, .. } = outcome {
            let etag = |oid: Option<Oid>| oid.map(|oid| oid.etag()).unwrap_or_default();
            let head = member.head.as_ref().map(|head| head.id);
            return Err(Error::StaleRevision { base: etag(self.save.base), head: etag(head), paths });
        }
        self.count().await?;
        if self.held.is_none() {
            let held = self.storage.locks.hold(member.project.id).await;
            let waited = held.waited;
            self.held = Some(held);
            if waited {
                // Somebody saved meanwhile, so what was read is old.
                return Ok(None);
            }
        }
        match outcome {
            Outcome::Applies(edited) => {
                let packed = self.pack(edited).await;
                let mut db = store::connection(&self.storage.pool).await?;
                self.write(&mut db, member, packed).await
            }
            Outcome::Unchanged(tree) => {
                let mut db = store::connection(&self.storage.pool).await?;
                self.unchanged(&mut db, member, &tree).await
            }
            Outcome::Conflicts { .. } => Ok(None),
        }
    }

    async fn edit(&self, project: &Project, head: Option<&Revision>) -> Result<Outcome, Error> {
        let base = self.save.base.map_or(Base::Head, Base::Revision);
        edit::edit(self.storage, Edit { project, head, base, set: &self.save.set }).await
    }

    /// Asks the policy, once for a save that could be made.
    async fn count(&mut self) -> Result<(), Error> {
        if !self.counted {
            let subject = format!("user:{}", self.save.actor.id);
            let mut limiter = self.storage.limiter.clone();
            chassis::limit::check(&mut limiter, self.context, SERVICE, &[("save", &subject)]).await?;
            self.counted = true;
        }
        Ok(())
    }

    async fn pack(&mut self, edited: Edited) -> Packed {
        let Save { actor, message, .. } = self.save;
        let author = Authorship { user: actor.id, turn: None, message, now: chassis::clock::now() };
        edit::pack(edited, &self.save.set, &author, &mut self.blobs).await
    }

    /// The one statement. `None` if the head moved, the role went, or the request id was used in between.
    async fn write(&self, db: &mut Connection, member: Member, packed: Packed) -> Result<Option<Saved>, Error> {
        let Save { actor, message, .. } = self.save;
        let Member { mut project, head, .. } = member;
        let new = NewRevision {
            project: project.id,
            store: project.store,
            expected: head.map(|head| head.id),
            oid: packed.oid,
            tree: packed.tree_oid,
            parents: &packed.parents,
            actor: revision::Actor::Person,
            user: actor.id,
            turn: None,
            message,
            stat: packed.stat,
            objects: &packed.objects,
            request: self.request(),
            plan: (project.owner == actor.id).then_some(actor.plan),
        };
        let (number, created_at) = match saves::advance(db, &new).await {
            Ok(Some(written)) => written,
            Ok(None) => return Ok(None),
            Err(failure) if failure.is_taken(saves::REQUEST_KEY) => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        packed.remember(self.storage, &project);
        let revision = new.revision(number, created_at);
        project.stands_at(Some(&revision));
        let files = self.files(&packed.tree);
        Ok(Some(Saved { project, revision: Some(revision), files }))
    }

    /// Nothing to write but that the request was served.
    async fn unchanged(&self, db: &mut Connection, member: Member, tree: &Folder) -> Result<Option<Saved>, Error> {
        let Member { project, head, .. } = member;
        if let Some(request) = self.request() {
            let head = head.as_ref().map(|head| head.id);
            if !saves::remember(db, self.save.actor.id, project.id, request, head).await? {
                return Ok(None);
            }
        }
        Ok(Some(Saved { project, revision: head, files: self.files(tree) }))
    }

    /// What the same request answered before, as far as the person still may read it.
    async fn replay(&self, past: saves::Past) -> Result<Saved, Error> {
        let Member { mut project, .. } = project::find(self.storage, self.save.actor.id, &Target::Id(past.project), Role::Viewer).await?;
        let revision = match past.revision {
            Some(id) => Some(revision::find(self.storage, past.project, id).await?),
            None => None,
        };
        project.stands_at(revision.as_ref());
        let tree = tree::of(self.storage, project.store, revision.as_ref()).await?;
        Ok(Saved { project, revision, files: self.files(&tree) })
    }

    fn request(&self) -> Option<saves::Request<'_>> {
        self.save.request.as_ref().map(|key| saves::Request { id: &key.id, fingerprint: &key.fingerprint })
    }

    fn files(&self, tree: &Folder) -> Vec<(String, FileRef)> {
        let targets = self.save.set.targets();
        targets.iter().filter_map(|step| Some((step.path.to_owned(), tree.file(step.path)?))).collect()
    }
}

impl Project {
    /// The project as a revision left it.
    fn stands_at(&mut self, revision: Option<&Revision>) {
        self.head = revision.map(|revision| (revision.id, revision.number));
        self.updated_at = revision.map_or(self.updated_at, |revision| revision.created_at);
    }
}
