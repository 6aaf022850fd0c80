//! What the saves of people have in common, whatever they save: the request that may be a repeat, the policy that is asked once,
//! the project's lock, and the one statement that writes.

use chassis::context::Context;

use crate::{
    Storage,
    attempt::Attempt,
    edit::{self, Authorship, Blobs, CommitObjects, StagedTree},
    error::{Error, SERVICE},
    git::Folder,
    lock::Held,
    project::{self, Actor, Member, Project, Role, Target},
    revision::{self, Revision},
    store::{
        Connection,
        saves::{self, NewRevision, Past},
    },
    tree,
};

/// What tells a save from its repeat.
pub struct RequestKey {
    pub id: String,
    /// SHA-256 of the request.
    pub fingerprint: Vec<u8>,
}

/// One person's request to save, over its attempts.
pub struct SaveRequest<'a> {
    pub storage: &'a Storage,
    pub context: &'a Context,
    pub actor: Actor,
    pub request: Option<&'a RequestKey>,
    blobs: Blobs,
    /// The policy has been asked; a later attempt is the same save.
    counted: bool,
    held: Option<Held<'a>>,
}

impl<'a> SaveRequest<'a> {
    pub fn new(storage: &'a Storage, context: &'a Context, actor: Actor, request: Option<&'a RequestKey>) -> Self {
        Self { storage, context, actor, request, blobs: Blobs::new(), counted: false, held: None }
    }

    /// What the same request did before. To be asked after the head was read: a repeat that sees the first one's revision also
    /// sees its row.
    pub async fn past(&self) -> Result<Option<Past>, Error> {
        let Some(request) = self.request else { return Ok(None) };
        match saves::past(&self.storage.pool, self.actor.id, &request.id).await? {
            Some(past) if past.fingerprint != request.fingerprint => Err(Error::KeyReused),
            past => Ok(past),
        }
    }

    /// The project with the plan that its owner has now, if it is the owner who saves.
    pub fn as_owner(&self, member: &mut Member) {
        if member.project.owner == self.actor.id {
            member.project.plan = self.actor.plan;
        }
    }

    /// Asks the policy, once for a save that could be made.
    pub async fn count(&mut self) -> Result<(), Error> {
        if !self.counted {
            let subject = format!("user:{}", self.actor.id);
            let mut limiter = self.storage.limiter.clone();
            chassis::limit::check(&mut limiter, self.context, SERVICE, &[("save", &subject)]).await?;
            self.counted = true;
        }
        Ok(())
    }

    /// Takes the project's lock; answers whether somebody saved meanwhile.
    pub async fn waited(&mut self, project: &Project) -> bool {
        self.storage.locks.hold_once(&mut self.held, project.id).await
    }

    /// Makes the commit; `message` is for the history and may be empty.
    pub async fn pack(&mut self, staged: StagedTree, message: &str) -> CommitObjects {
        let author = Authorship { user: self.actor.id, turn: None, message, now: chassis::clock::now() };
        edit::pack(staged, &author, &mut self.blobs).await
    }

    /// The one statement. It is refused if the owner's account has no room. It is a race if the head moved, the person lost the role,
    /// or the request id was used in between.
    pub async fn write(&self, db: &mut Connection, member: Member, objects: &CommitObjects) -> Result<Attempt<(Project, Revision)>, Error> {
        let Member { mut project, head, .. } = member;
        let new = NewRevision {
            project: project.id,
            store: project.store,
            expected: head.map(|head| head.id),
            oid: objects.oid,
            tree: objects.tree_oid,
            parents: &objects.parents,
            actor: revision::Actor::Person,
            user: self.actor.id,
            turn: None,
            message: &objects.message,
            stat: objects.stat,
            objects: &objects.objects,
            request: self.request.map(RequestKey::row),
            plan: (project.owner == self.actor.id).then_some(self.actor.plan),
            most_bytes: self.storage.quotas.most_bytes(),
        };
        let (number, created_at) = match saves::advance(db, &new).await {
            Ok(Some(written)) => written,
            Ok(None) => {
                self.storage.quotas.room(db, project.id, &objects.objects).await?;
                return Ok(Attempt::Raced);
            }
            Err(failure) if failure.violates(saves::REQUEST_KEY) => return Ok(Attempt::Raced),
            Err(failure) => return Err(failure.into()),
        };
        let revision = new.revision(number, created_at);
        project.stands_at(Some(&revision));
        Ok(Attempt::Done((project, revision)))
    }
}

impl RequestKey {
    pub fn row(&self) -> saves::Request<'_> {
        saves::Request { id: &self.id, fingerprint: &self.fingerprint }
    }
}

/// A project as an earlier request left it, as far as the person still may read it.
pub async fn replay(storage: &Storage, actor: Actor, past: Past) -> Result<(Project, Option<Revision>, std::sync::Arc<Folder>), Error> {
    let Member { mut project, .. } = project::find(storage, actor.id, &Target::Id(past.project), Role::Viewer).await?;
    let revision = match past.revision {
        Some(id) => Some(revision::find(storage, past.project, id).await?),
        None => None,
    };
    project.stands_at(revision.as_ref());
    let tree = tree::of(storage, project.store, revision.as_ref()).await?;
    Ok((project, revision, tree))
}

impl Project {
    /// The project as a revision left it.
    fn stands_at(&mut self, revision: Option<&Revision>) {
        self.head = revision.map(|revision| (revision.id, revision.number));
        self.updated_at = revision.map_or(self.updated_at, |revision| revision.created_at);
        self.edited_at = revision.map_or(self.edited_at, |revision| revision.created_at);
    }
}
