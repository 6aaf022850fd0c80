//! What the saves of people have in common, whatever they save: the request that may be a repeat, the policy that is asked once,
//! the project's lock, and the one statement that writes.

use std::sync::Arc;

use chassis::context::Context;

use crate::{
    app::App,
    commit::{
        attempt::Attempt,
        lock::ProjectGuard,
        objects::{CommitAuthor, CommitObjects, CompressedFiles},
        stage::StagedTree,
    },
    error::{Error, SERVICE},
    git::Folder,
    model::{
        project::{Member, Project, Role, Target, User},
        revision::{self, Revision},
    },
    read::{history, member, tree},
    store::{
        Connection,
        saves::{self, NewRevision, RecordedSave},
    },
};

/// What tells a save from its repeat.
pub(crate) struct RequestKey {
    pub(crate) id: String,
    /// SHA-256 of the request.
    pub(crate) fingerprint: Vec<u8>,
}

impl RequestKey {
    pub(crate) fn row(&self) -> saves::Request<'_> {
        saves::Request { id: &self.id, fingerprint: &self.fingerprint }
    }
}

/// One person's save over its attempts.
pub(crate) struct SaveRequest<'a> {
    pub(crate) app: &'a App,
    context: &'a Context,
    user: User,
    key: Option<&'a RequestKey>,
    compressed: CompressedFiles,
    /// The policy has been asked; a later attempt is the same save.
    counted: bool,
    held: Option<ProjectGuard<'a>>,
}

impl<'a> SaveRequest<'a> {
    pub(crate) fn new(app: &'a App, context: &'a Context, user: User, key: Option<&'a RequestKey>) -> Self {
        Self { app, context, user, key, compressed: CompressedFiles::new(), counted: false, held: None }
    }

    /// What the same request did before. To be asked after the head was read: a repeat that sees the first one's revision also
    /// sees its row.
    pub(crate) async fn recorded(&self) -> Result<Option<RecordedSave>, Error> {
        let Some(key) = self.key else { return Ok(None) };
        match saves::find_recorded(&self.app.pool, self.user.id, &key.id).await? {
            Some(recorded) if recorded.fingerprint != key.fingerprint => Err(Error::KeyReused),
            recorded => Ok(recorded),
        }
    }

    /// Gives the project the plan that its owner has now, if it is the owner who saves.
    pub(crate) fn apply_plan(&self, member: &mut Member) {
        if member.project.owner == self.user.id {
            member.project.plan = self.user.plan;
        }
    }

    /// Asks the policy, once for a save that could be made.
    pub(crate) async fn count(&mut self) -> Result<(), Error> {
        if !self.counted {
            let subject = format!("user:{}", self.user.id);
            let mut limiter = self.app.limiter.clone();
            chassis::limit::check(&mut limiter, self.context, SERVICE, &[("save", &subject)]).await?;
            self.counted = true;
        }
        Ok(())
    }

    /// Takes the project's lock for this attempt and all later ones. Raced if somebody saved while this one waited.
    pub(crate) async fn lock(&mut self, project: &Project) -> Attempt<()> {
        let waited = self.app.locks.lock_once(&mut self.held, project.id).await;
        if waited { Attempt::Raced } else { Attempt::Done(()) }
    }

    /// Makes the commit; `message` is for the history and may be empty.
    pub(crate) async fn pack(&mut self, staged: StagedTree, message: &str) -> CommitObjects {
        let author = CommitAuthor { user: self.user.id, turn: None, message, now: chassis::clock::now() };
        CommitObjects::pack(staged, &author, &mut self.compressed).await
    }

    /// The one statement. Refused if the owner's account has no room. Raced if the head moved, the role went, or the request id
    /// was used meanwhile.
    pub(crate) async fn write(
        &self,
        db: &mut Connection,
        member: Member,
        commit: &CommitObjects,
    ) -> Result<Attempt<(Project, Revision)>, Error> {
        let Member { mut project, head, .. } = member;
        let new = NewRevision {
            project: project.id,
            store: project.store,
            expected: head.map(|head| head.id),
            oid: commit.oid,
            tree: commit.tree_oid,
            parents: &commit.parents,
            actor: revision::Actor::Person,
            user: self.user.id,
            turn: None,
            message: &commit.message,
            stat: commit.stat,
            objects: &commit.objects,
            request: self.key.map(RequestKey::row),
            plan: (project.owner == self.user.id).then_some(self.user.plan),
            max_bytes: self.app.quotas.max_bytes(),
        };
        let (number, created_at) = match saves::advance(db, &new).await {
            Ok(Some(written)) => written,
            Ok(None) => {
                self.app.quotas.room(db, project.id, &commit.objects).await?;
                return Ok(Attempt::Raced);
            }
            Err(error) if error.violates(saves::REQUEST_KEY) => return Ok(Attempt::Raced),
            Err(error) => return Err(error.into()),
        };
        let revision = new.revision(number, created_at);
        set_head(&mut project, Some(&revision));
        Ok(Attempt::Done((project, revision)))
    }

    /// What an earlier request left, as far as the person still may read it.
    pub(crate) async fn replay(&self, recorded: RecordedSave) -> Result<Replay, Error> {
        let Member { mut project, .. } = member::find(&self.app.pool, self.user.id, &Target::Id(recorded.project), Role::Viewer).await?;
        let revision = match recorded.revision {
            Some(id) => Some(history::find(&self.app.pool, recorded.project, id).await?),
            None => None,
        };
        set_head(&mut project, revision.as_ref());
        let tree = tree::at_revision(self.app, project.store, revision.as_ref()).await?;
        Ok(Replay { project, revision, tree })
    }
}

/// A project as an earlier request left it.
pub(crate) struct Replay {
    pub(crate) project: Project,
    pub(crate) revision: Option<Revision>,
    pub(crate) tree: Arc<Folder>,
}

/// Makes a project what a revision left.
fn set_head(project: &mut Project, revision: Option<&Revision>) {
    project.head = revision.map(|revision| (revision.id, revision.number));
    project.updated_at = revision.map_or(project.updated_at, |revision| revision.created_at);
    project.edited_at = revision.map_or(project.edited_at, |revision| revision.created_at);
}
