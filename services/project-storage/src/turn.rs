//! Turns of an agent. A turn carries no token: its beginning writes down who may, and every later call looks at that row and at
//! the person's role of that moment.

use proto::id::{MessageId, ProjectId, TurnId, UserId};

use crate::{
    Storage,
    attempt::{Attempt, Write, retry_on_race},
    change::ChangeSet,
    edit::{self, Authorship, Base, Blobs, CommitObjects, Edit, Outcome, StagedTree},
    error::Error,
    git::Oid,
    lock::Held,
    merge::Depth,
    message::{Author, Message},
    project::{self, Member, Role, Target},
    revision::{self, Revision},
    store::{
        self, Tx, messages, projects,
        saves::{self, NewRevision},
        turns::{self, Ending},
    },
};

/// Where a turn stands. The numbers stand in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open = 1,
    Committed = 2,
    Unchanged = 3,
    Conflicted = 4,
    Failed = 5,
    Cancelled = 6,
}

impl State {
    /// From a row; an unknown one is over.
    pub fn of(number: i16) -> Self {
        let known = [Self::Open, Self::Committed, Self::Unchanged, Self::Conflicted, Self::Failed];
        known.into_iter().find(|state| *state as i16 == number).unwrap_or(Self::Cancelled)
    }

    /// Whether it ended without a commit.
    pub fn is_given_up(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }
}

/// A turn's row.
#[derive(Debug)]
pub struct Turn {
    pub id: TurnId,
    /// `None` if it was ended before it began; so for the person and the message.
    pub project: Option<ProjectId>,
    pub user: Option<UserId>,
    pub state: State,
    /// SHA-256 of what it was begun with.
    pub fingerprint: Vec<u8>,
    pub message: Option<MessageId>,
    /// SHA-256 of the change set that ended it.
    pub digest: Vec<u8>,
    pub revision: Option<Oid>,
    pub conflict_paths: Vec<String>,
}

/// A turn that began, with the project as its person may see it now.
pub struct Work {
    pub turn: Turn,
    pub user: UserId,
    pub member: Member,
}

/// What a turn works on, if its person's role suffices.
pub async fn find(storage: &Storage, id: TurnId, needed: Role) -> Result<Work, Error> {
    let turn = turns::find(&storage.pool, id).await?.ok_or(Error::TurnNotFound)?;
    let (Some(project), Some(user)) = (turn.project, turn.user) else { return Err(Error::TurnEnded) };
    let member = project::find(storage, user, &Target::Id(project), needed).await?;
    Ok(Work { turn, user, member })
}

/// Which messages before a turn are wanted.
pub enum Selection {
    /// So many of those that are to be seen now.
    Newest(i32),
    /// Those that the turn has read before, whatever was replaced since.
    These(Vec<MessageId>),
}

/// The conversation before a turn, the oldest first.
pub async fn messages_before(storage: &Storage, id: TurnId, selection: &Selection) -> Result<Vec<Message>, Error> {
    let Work { turn, member, .. } = find(storage, id, Role::Viewer).await?;
    let Some(own) = turn.message else { return Ok(Vec::new()) };
    let mut messages = match selection {
        Selection::Newest(limit) => messages::before(&storage.pool, member.project.id, own, i64::from(*limit)).await?,
        Selection::These(ids) => messages::these_before(&storage.pool, member.project.id, own, ids).await?,
    };
    messages.reverse();
    Ok(messages)
}

/// A turn's whole result.
pub struct CommitTurn {
    pub turn: TurnId,
    pub base: Base,
    pub set: ChangeSet,
    /// SHA-256 of the change set as the turn's log has it.
    pub digest: Vec<u8>,
    pub answer: String,
    /// One line for the history.
    pub message: String,
}

/// How a commit ended.
pub struct Committed {
    pub state: State,
    /// Id of the new head, or of the turn's own commit.
    pub id: Option<Oid>,
    /// What that id stands for; `None` of a commit whose branch has ended.
    pub revision: Option<Revision>,
    pub conflict_paths: Vec<String>,
}

/// Commits a turn, or finds what its commit did before.
pub async fn commit(storage: &Storage, commit: CommitTurn) -> Result<Committed, Error> {
    retry_on_race(CommitRun { storage, commit: &commit, blobs: Blobs::new(), held: None }).await
}

/// One commit over its attempts.
struct CommitRun<'a> {
    storage: &'a Storage,
    commit: &'a CommitTurn,
    blobs: Blobs,
    held: Option<Held<'a>>,
}

impl Write for CommitRun<'_> {
    type Done = Committed;

    async fn attempt(&mut self) -> Result<Attempt<Committed>, Error> {
        let work = find(self.storage, self.commit.turn, Role::Editor).await?;
        if work.turn.state != State::Open {
            return self.replay(work).await.map(Attempt::Done);
        }
        let Member { project, head, .. } = &work.member;
        // A turn cannot ask anybody, so it merges as far as lines go. What comes out clean is one revision that follows the head
        // alone: its difference to the head is what the turn did, all of it, since nothing of it was overlapped. The history
        // stays one line, and the turn's own tree can be had again from its base and its log.
        let edit = Edit { project, head: head.as_ref(), base: self.commit.base, set: &self.commit.set, depth: Depth::Lines };
        let outcome = edit::edit(self.storage, edit).await?;
        if self.storage.locks.hold_once(&mut self.held, project.id).await {
            // Somebody saved meanwhile, so what was read is old.
            return Ok(Attempt::Raced);
        }
        let result = match outcome {
            Outcome::Unchanged(_) => TurnResult { state: State::Unchanged, objects: None, conflict_paths: Vec::new() },
            Outcome::Applies(staged) => {
                TurnResult { state: State::Committed, objects: Some(self.pack(work.user, staged).await), conflict_paths: Vec::new() }
            }
            Outcome::Conflicts { paths, staged } => {
                TurnResult { state: State::Conflicted, objects: Some(self.pack(work.user, staged).await), conflict_paths: paths }
            }
        };
        self.write(&work, result).await
    }
}

impl CommitRun<'_> {
    async fn pack(&mut self, user: UserId, staged: StagedTree) -> CommitObjects {
        let CommitTurn { turn, message, .. } = self.commit;
        let author = Authorship { user, turn: Some(*turn), message, now: chassis::clock::now() };
        edit::pack(staged, &author, &mut self.blobs).await
    }

    /// Files, answer and the turn's end in one transaction.
    async fn write(&self, work: &Work, result: TurnResult) -> Result<Attempt<Committed>, Error> {
        let id = work.turn.id;
        let mut tx = store::begin(&self.storage.pool).await?;
        // The turn first: a deletion of the project locks in the same order.
        if turns::lock(&mut tx, id).await? != Some(State::Open) {
            return Ok(Attempt::Raced);
        }
        let Attempt::Done(revision) = self.revision(&mut tx, work, &result).await? else { return Ok(Attempt::Raced) };
        let TurnResult { state, objects, conflict_paths } = result;
        let ending = Ending {
            state,
            digest: &self.commit.digest,
            revision: revision.as_ref().map(|revision| revision.id),
            conflict_paths: &conflict_paths,
        };
        if !turns::finish(&mut tx, id, &ending).await? {
            return Ok(Attempt::Raced);
        }
        if !self.commit.answer.is_empty() || revision.is_some() {
            let answer = answer(work, self.commit.answer.clone(), revision.as_ref().map(|revision| revision.id));
            messages::insert(&mut tx, work.member.project.id, &answer).await?;
        }
        store::commit(tx).await?;
        if let Some(objects) = objects {
            objects.remember(self.storage, &work.member.project);
        }
        Ok(Attempt::Done(Committed { state, id: revision.as_ref().map(|revision| revision.id), revision, conflict_paths }))
    }

    /// Writes the commit, if there is one. It is a race if the head moved or the person lost the role.
    async fn revision(&self, tx: &mut Tx, work: &Work, result: &TurnResult) -> Result<Attempt<Option<Revision>>, Error> {
        let project = &work.member.project;
        let Some(objects) = &result.objects else {
            projects::touch(tx, project.id, None).await?;
            return Ok(Attempt::Done(None));
        };
        let new = NewRevision {
            project: project.id,
            store: project.store,
            expected: work.member.head.as_ref().map(|head| head.id),
            oid: objects.oid,
            tree: objects.tree_oid,
            parents: &objects.parents,
            actor: revision::Actor::Agent,
            user: work.user,
            turn: Some(work.turn.id),
            message: &self.commit.message,
            stat: objects.stat,
            objects: &objects.objects,
            request: None,
            plan: None,
            most_bytes: self.storage.quotas.most_bytes(),
        };
        if result.state == State::Conflicted {
            self.storage.quotas.room(tx, project.id, &objects.objects).await?;
            let at = saves::branch(tx, work.turn.id, &new).await?;
            projects::touch(tx, project.id, None).await?;
            return Ok(Attempt::Done(Some(new.revision(0, at))));
        }
        let Some((number, at)) = saves::advance(tx, &new).await? else {
            self.storage.quotas.room(tx, project.id, &objects.objects).await?;
            return Ok(Attempt::Raced);
        };
        Ok(Attempt::Done(Some(new.revision(number, at))))
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
            Some(id) => match revision::find(self.storage, member.project.id, id).await {
                // Somebody may have resolved the conflict before its turn heard of it.
                Err(Error::RevisionNotFound) if turn.state == State::Conflicted => None,
                found => Some(found?),
            },
            None => None,
        };
        Ok(Committed { state: turn.state, id: turn.revision, revision, conflict_paths: turn.conflict_paths })
    }
}

/// What a turn comes to, before it is written.
struct TurnResult {
    state: State,
    objects: Option<CommitObjects>,
    conflict_paths: Vec<String>,
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

/// How a turn ends without files.
pub enum End {
    /// What it had answered stays as a partial message.
    Failed {
        partial: String,
        /// For those who read the conversation.
        reason: String,
    },
    Cancelled {
        partial: String,
    },
    /// As if it had never been asked for.
    Withdrawn,
}

impl End {
    fn state(&self) -> State {
        match self {
            Self::Failed { .. } => State::Failed,
            Self::Cancelled { .. } | Self::Withdrawn => State::Cancelled,
        }
    }

    fn failure_reason(&self) -> &str {
        if let Self::Failed { reason, .. } = self { reason } else { "" }
    }
}

/// Ends a turn without files.
pub async fn end(storage: &Storage, id: TurnId, end: End) -> Result<(), Error> {
    let begun = if matches!(end, End::Withdrawn) { turns::find(&storage.pool, id).await?.and_then(|turn| turn.project) } else { None };
    let mut tx = store::begin(&storage.pool).await?;
    if let Some(project) = begun {
        messages::lock(&mut tx, project).await?;
        // As where they were hidden: whoever ends one of these has written its answer, or will find its question as it is then.
        turns::lock_hidden_by(&mut tx, project, id).await?;
    }
    let Some(ended) = turns::end(&mut tx, id, end.state(), end.failure_reason()).await? else {
        drop(tx);
        let turn = turns::find(&storage.pool, id).await?;
        // A turn that was given up is given up; one that was committed cannot be.
        return if turn.is_none_or(|turn| turn.state.is_given_up()) { Ok(()) } else { Err(Error::TurnEnded) };
    };
    match (end, ended.conversation) {
        (End::Withdrawn, _) if chassis::seeded_bug::is("keep-a-refused-question") => {}
        (End::Withdrawn, _) => messages::withdraw(&mut tx, id).await?,
        (End::Failed { partial, .. } | End::Cancelled { partial }, Some((project, user))) if !partial.is_empty() => {
            let message = Message {
                id: MessageId::generate(),
                turn: id,
                author: Author::Agent,
                text: partial,
                partial: true,
                revision: None,
                user,
                created_at: chassis::clock::now(),
            };
            messages::insert(&mut tx, project, &message).await?;
            projects::touch(&mut tx, project, None).await?;
        }
        (End::Failed { .. } | End::Cancelled { .. }, _) => {}
    }
    store::commit(tx).await?;
    Ok(())
}
