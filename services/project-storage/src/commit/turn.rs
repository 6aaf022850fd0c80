//! The commit of a turn: its files, its answer and its end in one transaction.

use chassis::context::Context;
use proto::id::{MessageId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    commit::{
        Writer,
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        lock::ProjectGuard,
        objects::{CommitAuthor, CommitObjects, CompressedFiles},
        stage::{Base, Edit, StageResult, StagedTree, stage},
    },
    error::Error,
    git::Oid,
    locks,
    merge::MergeMode,
    model::{
        change::ChangeSet,
        conflict::{self, ConflictKind, NewConflict},
        message::{Author, Message, MessageState},
        part::{self, Part},
        project::{Member, Role},
        revision::{Actor, Revision},
        turn::TurnState,
    },
    read::{
        history,
        load::MergeSlot,
        turn_access::{self, TurnAccess},
    },
    store::{
        self, Pool, Tx, messages, projects, saves,
        turns::{self, TurnUpdate},
    },
};

/// The result of a turn.
pub(crate) struct CommitTurn {
    pub(crate) turn: TurnId,
    pub(crate) base: Base,
    pub(crate) set: ChangeSet,
    /// SHA-256 of the change set in the turn's log.
    pub(crate) digest: Vec<u8>,
    pub(crate) answer: String,
    /// What the answer consists of, without files.
    pub(crate) parts: Vec<Part>,
    /// One line for the history.
    pub(crate) message: String,
}

/// How a commit ended.
pub(crate) struct CommitResult {
    pub(crate) state: TurnState,
    /// The new head, or the turn's own commit if it conflicts.
    pub(crate) id: Option<Oid>,
    /// The revision of `id`; `None` if its branch has expired.
    pub(crate) revision: Option<Revision>,
    pub(crate) conflict_paths: Vec<String>,
}

/// Commits a turn, or returns what an earlier commit of the turn did.
pub(crate) async fn commit(
    (writer, context): (Writer<'_>, &Context),
    commit: CommitTurn,
    now: OffsetDateTime,
) -> Result<CommitResult, Error> {
    retry_on_race(TurnWrite { writer, context, commit: &commit, now, compressed: CompressedFiles::new(), guard: None }).await
}

/// What the change set of a turn makes, ready to be written.
enum PackedTurn {
    Unchanged,
    Applies(CommitObjects),
    Conflicts {
        paths: Vec<String>,
        /// The revision that the turn worked on, and its tree.
        base: Option<(Oid, Oid)>,
        commit: CommitObjects,
    },
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
    writer: Writer<'a>,
    context: &'a Context,
    commit: &'a CommitTurn,
    now: OffsetDateTime,
    compressed: CompressedFiles,
    guard: Option<ProjectGuard<'a>>,
}

impl OptimisticWrite for TurnWrite<'_> {
    type Output = CommitResult;

    async fn attempt(&mut self) -> Result<Attempt<CommitResult>, Error> {
        let access = turn_access::find(self.pool(), self.commit.turn, Role::Editor).await?;
        if access.turn.state != TurnState::Open {
            return self.replay(access).await.map(Attempt::Done);
        }
        let Member { project, head, .. } = &access.member;
        // A turn cannot ask the user, so it merges by lines. A merged revision has the head as its only parent: its difference to the
        // head is exactly the turn's change, and the history stays linear. The turn's own tree can be restored from its base and its
        // log.
        let CommitTurn { base, set, .. } = self.commit;
        let base = if chassis::seeded_bug::is("commit-without-the-base") { Base::Head } else { *base };
        let slot = MergeSlot { slots: self.writer.load_slots, context: self.context, user: access.user };
        let edit = Edit { project, head: head.as_ref(), base, set, mode: MergeMode::Lines, slot };
        let staged = stage(self.writer.objects, edit).await?;
        if self.writer.locks.lock_once(&mut self.guard, project.id).await {
            return Ok(Attempt::Raced);
        }
        let packed = match staged {
            StageResult::Unchanged(_) => PackedTurn::Unchanged,
            StageResult::Applies(staged) => PackedTurn::Applies(self.pack(access.user, staged).await),
            StageResult::Conflicts { paths, base, staged } => {
                PackedTurn::Conflicts { paths, base, commit: self.pack(access.user, staged).await }
            }
        };
        self.write(&access, packed).await
    }
}

impl<'a> TurnWrite<'a> {
    fn pool(&self) -> &'a Pool {
        &self.writer.objects.pool
    }

    async fn pack(&mut self, user: UserId, staged: StagedTree) -> CommitObjects {
        let CommitTurn { turn, message, .. } = self.commit;
        let author = CommitAuthor { user, turn: Some(*turn), message, now: self.now };
        CommitObjects::pack(staged, &author, &mut self.compressed).await
    }

    /// Writes files, answer and the end of the turn in one transaction.
    async fn write(&self, access: &TurnAccess, packed: PackedTurn) -> Result<Attempt<CommitResult>, Error> {
        let project = &access.member.project;
        let mut tx = store::begin(self.pool()).await?;
        // The turn first: a deletion of the project locks in the same order.
        if turns::lock(&mut tx, access.turn.id).await? != Some(TurnState::Open) {
            return Ok(Attempt::Raced);
        }
        if let Some(commit) = packed.commit() {
            locks::check(&mut tx, &access.member, Actor::Agent, (&commit.differences, &commit.tree)).await?;
        }
        let Attempt::Done(revision) = self.write_files(&mut tx, access, &packed).await? else { return Ok(Attempt::Raced) };
        let id = revision.as_ref().map(|revision| revision.id);
        let conflict_paths = packed.conflict_paths();
        let update = TurnUpdate { state: packed.state(), digest: &self.commit.digest, revision: id, conflict_paths };
        if !turns::finish(&mut tx, access.turn.id, &update).await? {
            return Ok(Attempt::Raced);
        }
        if (!self.commit.answer.is_empty() || revision.is_some()) && !chassis::seeded_bug::is("lose-the-answer") {
            messages::insert(&mut tx, project.id, &self.answer(access.user, &packed)).await?;
        }
        store::commit(tx).await?;
        // The commit of a conflict is not in the log, and has the number 0.
        if let Some(revision) = revision.as_ref().filter(|revision| !revision.is_on_branch()) {
            self.writer.changes.committed(project.id, revision.number);
        }
        if let Some(commit) = packed.commit() {
            commit.put_into(&self.writer.objects.cache, project.store);
        }
        Ok(Attempt::Done(CommitResult { state: packed.state(), id, revision, conflict_paths: conflict_paths.to_vec() }))
    }

    /// Writes the revision, if there is one. Raced if the head moved or the role was withdrawn.
    async fn write_files(&self, tx: &mut Tx, access: &TurnAccess, packed: &PackedTurn) -> Result<Attempt<Option<Revision>>, Error> {
        let (member, project, quotas) = (&access.member, &access.member.project, self.writer.quotas);
        match packed {
            PackedTurn::Unchanged => {
                projects::touch(tx, project.id, None).await?;
                Ok(Attempt::Done(None))
            }
            PackedTurn::Applies(commit) => {
                let new = commit.new_revision(member, quotas);
                let Some((number, created_at)) = saves::advance(tx, &new).await? else {
                    quotas.check_bytes(tx, project, &commit.objects).await?;
                    return Ok(Attempt::Raced);
                };
                Ok(Attempt::Done(Some(new.revision(number, created_at))))
            }
            PackedTurn::Conflicts { paths, base, commit } => {
                let id = conflict::id_of_turn(access.turn.id);
                let conflict = NewConflict { id, kind: ConflictKind::Turn, base: *base, paths, fingerprint: None };
                let new = commit.new_revision(member, quotas);
                quotas.check_bytes(tx, project, &commit.objects).await?;
                let Some(created_at) = saves::create_branch(tx, &conflict, &new).await? else { return Ok(Attempt::Raced) };
                projects::touch(tx, project.id, None).await?;
                Ok(Attempt::Done(Some(new.revision(0, created_at))))
            }
        }
    }

    fn answer(&self, user: UserId, packed: &PackedTurn) -> Message {
        let parts = self.commit.parts.clone();
        Message {
            id: MessageId::generate(),
            turn: self.commit.turn,
            author: Author::Agent,
            text: self.commit.answer.clone(),
            parts: match packed.commit() {
                Some(commit) => part::with_files(parts, commit.changes(), commit.oid),
                None => parts,
            },
            partial: false,
            revision: packed.commit().map(|commit| commit.oid),
            user,
            created_at: self.now,
            state: MessageState::default(),
        }
    }

    /// What an earlier commit of this turn returned.
    async fn replay(&self, access: TurnAccess) -> Result<CommitResult, Error> {
        let TurnAccess { turn, member, .. } = access;
        if turn.state.has_ended_without_commit() {
            return Err(Error::TurnEnded);
        }
        if turn.digest != self.commit.digest && !chassis::seeded_bug::is("commit-without-the-digest") {
            return Err(Error::DigestMismatch);
        }
        let revision = match turn.revision {
            Some(id) => match history::find(self.pool(), member.project.id, id).await {
                // The branch is gone: the conflict was resolved before this repeat, or it has expired.
                Err(Error::RevisionNotFound) if turn.state == TurnState::Conflicted => None,
                found => Some(found?),
            },
            None => None,
        };
        Ok(CommitResult { state: turn.state, id: turn.revision, revision, conflict_paths: turn.conflict_paths })
    }
}
