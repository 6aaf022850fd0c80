//! The commit of a turn: its files, its answer and its end as one.

use proto::id::{MessageId, TurnId, UserId};

use crate::{
    app::App,
    commit::{
        attempt::{Attempt, Racing, retry_on_race},
        lock::Held,
        objects::{Authorship, CommitObjects, CompressedFiles},
        stage::{Base, Edit, StagedTree, Staging, stage},
    },
    error::Error,
    git::Oid,
    merge::Depth,
    model::{
        change::ChangeSet,
        message::{Author, Message},
        project::{Member, Role},
        revision::{self, Revision},
        turn::State,
    },
    read::{
        history,
        work::{self, Work},
    },
    store::{
        self, Tx, messages, projects,
        saves::{self, NewRevision},
        turns::{self, Ending},
    },
};

/// A turn's whole result.
pub(crate) struct CommitTurn {
    pub(crate) turn: TurnId,
    pub(crate) base: Base,
    pub(crate) set: ChangeSet,
    /// SHA-256 of the change set as the turn's log has it.
    pub(crate) digest: Vec<u8>,
    pub(crate) answer: String,
    /// One line for the history.
    pub(crate) message: String,
}

/// How a commit ended.
pub(crate) struct Committed {
    pub(crate) state: State,
    /// Id of the new head, or of the turn's own commit.
    pub(crate) id: Option<Oid>,
    /// What that id stands for; `None` of a commit whose branch has ended.
    pub(crate) revision: Option<Revision>,
    pub(crate) conflict_paths: Vec<String>,
}

/// Commits a turn, or finds what its commit did before.
pub(crate) async fn commit(app: &App, commit: CommitTurn) -> Result<Committed, Error> {
    retry_on_race(TurnRun { app, commit: &commit, compressed: CompressedFiles::new(), held: None }).await
}

/// What a turn comes to, before it is written.
enum TurnResult {
    Unchanged,
    Applies(CommitObjects),
    Conflicts { paths: Vec<String>, commit: CommitObjects },
}

impl TurnResult {
    fn state(&self) -> State {
        match self {
            Self::Unchanged => State::Unchanged,
            Self::Applies(_) => State::Committed,
            Self::Conflicts { .. } => State::Conflicted,
        }
    }

    fn conflict_paths(&self) -> &[String] {
        if let Self::Conflicts { paths, .. } = self { paths } else { &[] }
    }

    fn commit(&self) -> Option<&CommitObjects> {
        match self {
            Self::Unchanged => None,
            Self::Applies(commit) | Self::Conflicts { commit, .. } => Some(commit),
        }
    }
}

/// One commit of a turn over its attempts.
struct TurnRun<'a> {
    app: &'a App,
    commit: &'a CommitTurn,
    compressed: CompressedFiles,
    held: Option<Held<'a>>,
}

impl Racing for TurnRun<'_> {
    type Output = Committed;

    async fn attempt(&mut self) -> Result<Attempt<Committed>, Error> {
        let work = work::find(&self.app.pool, self.commit.turn, Role::Editor).await?;
        if work.turn.state != State::Open {
            return self.replay(work).await.map(Attempt::Done);
        }
        let Member { project, head, .. } = &work.member;
        // A turn cannot ask anybody, so it merges as far as lines go. What comes out clean is one revision that follows the head
        // alone: its difference to the head is what the turn did, all of it, since nothing of it was overlapped. The history
        // stays one line, and the turn's own tree can be had again from its base and its log.
        let edit = Edit { project, head: head.as_ref(), base: self.commit.base, set: &self.commit.set, depth: Depth::Lines };
        let staging = stage(self.app, edit).await?;
        if self.app.locks.hold_once(&mut self.held, project.id).await {
            return Ok(Attempt::Raced);
        }
        let result = match staging {
            Staging::Unchanged(_) => TurnResult::Unchanged,
            Staging::Applies(staged) => TurnResult::Applies(self.pack(work.user, staged).await),
            Staging::Conflicts { paths, staged } => TurnResult::Conflicts { paths, commit: self.pack(work.user, staged).await },
        };
        self.write(&work, result).await
    }
}

impl TurnRun<'_> {
    async fn pack(&mut self, user: UserId, staged: StagedTree) -> CommitObjects {
        let CommitTurn { turn, message, .. } = self.commit;
        let author = Authorship { user, turn: Some(*turn), message, now: chassis::clock::now() };
        CommitObjects::pack(staged, &author, &mut self.compressed).await
    }

    /// Files, answer and the turn's end in one transaction.
    async fn write(&self, work: &Work, result: TurnResult) -> Result<Attempt<Committed>, Error> {
        let id = work.turn.id;
        let mut tx = store::begin(&self.app.pool).await?;
        // The turn first: a deletion of the project locks in the same order.
        if turns::lock(&mut tx, id).await? != Some(State::Open) {
            return Ok(Attempt::Raced);
        }
        let Attempt::Done(revision) = self.write_files(&mut tx, work, &result).await? else { return Ok(Attempt::Raced) };
        let ending = Ending {
            state: result.state(),
            digest: &self.commit.digest,
            revision: revision.as_ref().map(|revision| revision.id),
            conflict_paths: result.conflict_paths(),
        };
        if !turns::finish(&mut tx, id, &ending).await? {
            return Ok(Attempt::Raced);
        }
        if !self.commit.answer.is_empty() || revision.is_some() {
            let answer = answer(work, self.commit.answer.clone(), revision.as_ref().map(|revision| revision.id));
            messages::insert(&mut tx, work.member.project.id, &answer).await?;
        }
        store::commit(tx).await?;
        if let Some(commit) = result.commit() {
            commit.put_into(&self.app.cache, work.member.project.store);
        }
        let conflict_paths = result.conflict_paths().to_vec();
        Ok(Attempt::Done(Committed { state: result.state(), id: revision.as_ref().map(|revision| revision.id), revision, conflict_paths }))
    }

    /// Writes the commit, if there is one. Raced if the head moved or the role went.
    async fn write_files(&self, tx: &mut Tx, work: &Work, result: &TurnResult) -> Result<Attempt<Option<Revision>>, Error> {
        let project = work.member.project.id;
        match result {
            TurnResult::Unchanged => {
                projects::touch(tx, project, None).await?;
                Ok(Attempt::Done(None))
            }
            TurnResult::Applies(commit) => {
                let new = self.new_revision(work, commit);
                let Some((number, at)) = saves::advance(tx, &new).await? else {
                    self.app.quotas.room(tx, project, &commit.objects).await?;
                    return Ok(Attempt::Raced);
                };
                Ok(Attempt::Done(Some(new.revision(number, at))))
            }
            TurnResult::Conflicts { commit, .. } => {
                let new = self.new_revision(work, commit);
                self.app.quotas.room(tx, project, &commit.objects).await?;
                let at = saves::branch(tx, work.turn.id, &new).await?;
                projects::touch(tx, project, None).await?;
                Ok(Attempt::Done(Some(new.revision(0, at))))
            }
        }
    }

    fn new_revision<'b>(&'b self, work: &Work, commit: &'b CommitObjects) -> NewRevision<'b> {
        let Member { project, head, .. } = &work.member;
        NewRevision {
            project: project.id,
            store: project.store,
            expected: head.as_ref().map(|head| head.id),
            oid: commit.oid,
            tree: commit.tree_oid,
            parents: &commit.parents,
            actor: revision::Actor::Agent,
            user: work.user,
            turn: Some(work.turn.id),
            message: &commit.message,
            stat: commit.stat,
            objects: &commit.objects,
            request: None,
            plan: None,
            most_bytes: self.app.quotas.most_bytes(),
        }
    }

    /// What the commit of this turn answered before.
    async fn replay(&self, work: Work) -> Result<Committed, Error> {
        let Work { turn, member, .. } = work;
        if turn.state.is_given_up() {
            return Err(Error::TurnEnded);
        }
        if turn.digest != self.commit.digest && !chassis::seeded_bug::is("commit-without-the-digest") {
            return Err(Error::DigestMismatch);
        }
        let revision = match turn.revision {
            Some(id) => match history::find(&self.app.pool, member.project.id, id).await {
                // Somebody may have resolved the conflict before its turn heard of it.
                Err(Error::RevisionNotFound) if turn.state == State::Conflicted => None,
                found => Some(found?),
            },
            None => None,
        };
        Ok(Committed { state: turn.state, id: turn.revision, revision, conflict_paths: turn.conflict_paths })
    }
}

fn answer(work: &Work, text: String, revision: Option<Oid>) -> Message {
    Message {
        id: MessageId::generate(),
        turn: work.turn.id,
        author: Author::Agent,
        text,
        partial: false,
        revision,
        user: work.user,
        created_at: chassis::clock::now(),
    }
}
