//! The commit of a turn: its files, its answer and its end as one.

use proto::id::{MessageId, TurnId, UserId};

use crate::{
    app::App,
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        lock::ProjectGuard,
        objects::{CommitAuthor, CommitObjects, CompressedFiles},
        stage::{Base, Edit, StageResult, StagedTree, stage},
    },
    error::Error,
    git::Oid,
    merge::MergeMode,
    model::{
        change::ChangeSet,
        message::{Author, Message},
        project::{Member, Role},
        revision::{self, Revision},
        turn::TurnState,
    },
    read::{
        history,
        turn_access::{self, TurnAccess},
    },
    store::{
        self, Tx, messages, projects,
        saves::{self, NewRevision},
        turns::{self, TurnUpdate},
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
pub(crate) struct CommitResult {
    pub(crate) state: TurnState,
    /// Id of the new head, or of the turn's own commit.
    pub(crate) id: Option<Oid>,
    /// What that id stands for; `None` of a commit whose branch has ended.
    pub(crate) revision: Option<Revision>,
    pub(crate) conflict_paths: Vec<String>,
}

/// Commits a turn, or finds what its commit did before.
pub(crate) async fn commit(app: &App, commit: CommitTurn) -> Result<CommitResult, Error> {
    retry_on_race(TurnWrite { app, commit: &commit, compressed: CompressedFiles::new(), held: None }).await
}

/// What a turn comes to, before it is written.
enum PackedTurn {
    Unchanged,
    Applies(CommitObjects),
    Conflicts { paths: Vec<String>, commit: CommitObjects },
}

impl PackedTurn {
    fn state(&self) -> TurnState {
        match self {
            Self::Unchanged => TurnState::Unchanged,
            Self::Applies(_) => TurnState::Committed,
            Self::Conflicts { .. } => TurnState::Conflicted,
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
struct TurnWrite<'a> {
    app: &'a App,
    commit: &'a CommitTurn,
    compressed: CompressedFiles,
    held: Option<ProjectGuard<'a>>,
}

impl OptimisticWrite for TurnWrite<'_> {
    type Output = CommitResult;

    async fn attempt(&mut self) -> Result<Attempt<CommitResult>, Error> {
        let work = turn_access::find(&self.app.pool, self.commit.turn, Role::Editor).await?;
        if work.turn.state != TurnState::Open {
            return self.replay(work).await.map(Attempt::Done);
        }
        let Member { project, head, .. } = &work.member;
        // A turn cannot ask anybody, so it merges as far as lines go. What comes out clean is one revision that follows the head
        // alone: its difference to the head is what the turn did, all of it, since nothing of it was overlapped. The history
        // stays one line, and the turn's own tree can be had again from its base and its log.
        let edit = Edit { project, head: head.as_ref(), base: self.commit.base, set: &self.commit.set, mode: MergeMode::Lines };
        let staging = stage(self.app, edit).await?;
        if self.app.locks.lock_once(&mut self.held, project.id).await {
            return Ok(Attempt::Raced);
        }
        let result = match staging {
            StageResult::Unchanged(_) => PackedTurn::Unchanged,
            StageResult::Applies(staged) => PackedTurn::Applies(self.pack(work.user, staged).await),
            StageResult::Conflicts { paths, staged } => PackedTurn::Conflicts { paths, commit: self.pack(work.user, staged).await },
        };
        self.write(&work, result).await
    }
}

impl TurnWrite<'_> {
    async fn pack(&mut self, user: UserId, staged: StagedTree) -> CommitObjects {
        let CommitTurn { turn, message, .. } = self.commit;
        let author = CommitAuthor { user, turn: Some(*turn), message, now: chassis::clock::now() };
        CommitObjects::pack(staged, &author, &mut self.compressed).await
    }

    /// Files, answer and the turn's end in one transaction.
    async fn write(&self, work: &TurnAccess, result: PackedTurn) -> Result<Attempt<CommitResult>, Error> {
        let id = work.turn.id;
        let mut tx = store::begin(&self.app.pool).await?;
        // The turn first: a deletion of the project locks in the same order.
        if turns::lock(&mut tx, id).await? != Some(TurnState::Open) {
            return Ok(Attempt::Raced);
        }
        let Attempt::Done(revision) = self.write_files(&mut tx, work, &result).await? else { return Ok(Attempt::Raced) };
        let update = TurnUpdate {
            state: result.state(),
            digest: &self.commit.digest,
            revision: revision.as_ref().map(|revision| revision.id),
            conflict_paths: result.conflict_paths(),
        };
        if !turns::finish(&mut tx, id, &update).await? {
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
        Ok(Attempt::Done(CommitResult {
            state: result.state(),
            id: revision.as_ref().map(|revision| revision.id),
            revision,
            conflict_paths,
        }))
    }

    /// Writes the commit, if there is one. Raced if the head moved or the role went.
    async fn write_files(&self, tx: &mut Tx, work: &TurnAccess, result: &PackedTurn) -> Result<Attempt<Option<Revision>>, Error> {
        let project = work.member.project.id;
        match result {
            PackedTurn::Unchanged => {
                projects::touch(tx, project, None).await?;
                Ok(Attempt::Done(None))
            }
            PackedTurn::Applies(commit) => {
                let new = self.new_revision(work, commit);
                let Some((number, at)) = saves::advance(tx, &new).await? else {
                    self.app.quotas.room(tx, project, &commit.objects).await?;
                    return Ok(Attempt::Raced);
                };
                Ok(Attempt::Done(Some(new.revision(number, at))))
            }
            PackedTurn::Conflicts { commit, .. } => {
                let new = self.new_revision(work, commit);
                self.app.quotas.room(tx, project, &commit.objects).await?;
                let at = saves::create_branch(tx, work.turn.id, &new).await?;
                projects::touch(tx, project, None).await?;
                Ok(Attempt::Done(Some(new.revision(0, at))))
            }
        }
    }

    fn new_revision<'b>(&'b self, work: &TurnAccess, commit: &'b CommitObjects) -> NewRevision<'b> {
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
            max_bytes: self.app.quotas.max_bytes(),
        }
    }

    /// What the commit of this turn answered before.
    async fn replay(&self, work: TurnAccess) -> Result<CommitResult, Error> {
        let TurnAccess { turn, member, .. } = work;
        if turn.state.is_given_up() {
            return Err(Error::TurnEnded);
        }
        if turn.digest != self.commit.digest && !chassis::seeded_bug::is("commit-without-the-digest") {
            return Err(Error::DigestMismatch);
        }
        let revision = match turn.revision {
            Some(id) => match history::find(&self.app.pool, member.project.id, id).await {
                // Somebody may have resolved the conflict before its turn heard of it.
                Err(Error::RevisionNotFound) if turn.state == TurnState::Conflicted => None,
                found => Some(found?),
            },
            None => None,
        };
        Ok(CommitResult { state: turn.state, id: turn.revision, revision, conflict_paths: turn.conflict_paths })
    }
}

fn answer(work: &TurnAccess, text: String, revision: Option<Oid>) -> Message {
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
