//! The beginning of a turn.

use proto::id::{MessageId, ProjectId, TurnId};
use ring::digest::{Context as Digest, SHA256};
use time::OffsetDateTime;

use crate::{
    commit::{
        attempt::{Attempt, OptimisticWrite, retry_on_race},
        quota::Quotas,
    },
    error::Error,
    git::Oid,
    model::{
        message::{Author, Message, MessageState},
        project::{self, Project, Role, Target, User},
    },
    read::history,
    store::{
        self, Pool, Tx, messages, projects,
        turns::{self, NewTurn},
    },
};

/// A turn to begin.
pub(crate) struct Begin {
    pub(crate) turn: TurnId,
    pub(crate) user: User,
    pub(crate) target: Target,
    pub(crate) prompt: String,
    /// The turn whose messages, with all later ones, this turn replaces.
    pub(crate) replaces: Option<TurnId>,
    /// The revision that the turn works on; `None` for the head.
    pub(crate) base: Option<Oid>,
}

/// Begins a turn: checks the role, creates the project of a new draft id, and adds the user's message, in one transaction. A repeat
/// returns the same project.
pub(crate) async fn begin(pool: &Pool, quotas: Quotas, begin: Begin, now: OffsetDateTime) -> Result<ProjectId, Error> {
    let fingerprint = begin.fingerprint();
    retry_on_race(BeginWrite { pool, quotas, begin: &begin, fingerprint, now }).await
}

/// One `BeginTurn` over its attempts.
struct BeginWrite<'a> {
    pool: &'a Pool,
    quotas: Quotas,
    begin: &'a Begin,
    fingerprint: Vec<u8>,
    now: OffsetDateTime,
}

impl OptimisticWrite for BeginWrite<'_> {
    type Output = ProjectId;

    async fn attempt(&mut self) -> Result<Attempt<ProjectId>, Error> {
        let Some(turn) = turns::find(self.pool, self.begin.turn).await? else { return self.insert().await };
        match turn.project {
            _ if turn.state.has_ended_without_commit() => Err(Error::TurnEnded),
            Some(project) if turn.fingerprint == self.fingerprint => Ok(Attempt::Done(project)),
            _ => Err(Error::KeyReused),
        }
    }
}

impl Begin {
    fn fingerprint(&self) -> Vec<u8> {
        let (kind, target) = match &self.target {
            Target::Id(id) => (b"i", id.to_string()),
            Target::Draft(draft) => (b"d", draft.clone()),
        };
        let mut digest = Digest::new(&SHA256);
        for part in [kind.as_slice(), target.as_bytes(), self.user.id.0.as_bytes(), self.prompt.as_bytes()] {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        // Without a replaced turn nothing is added, so that a repeat of a turn that the previous release began has the same fingerprint.
        if let Some(replaced) = self.replaces {
            digest.update(replaced.0.as_bytes());
        }
        digest.finish().as_ref().to_vec()
    }
}

impl BeginWrite<'_> {
    /// Inserts the turn. Raced if another request began the same turn or created the project of the same draft id.
    async fn insert(&self) -> Result<Attempt<ProjectId>, Error> {
        let Begin { turn, user, prompt, replaces, base, .. } = self.begin;
        let (project, is_new) = self.project().await?;
        if let Some(base) = *base {
            // A new project has no revision, so this fails.
            history::find(self.pool, project.id, base).await?;
        }
        let mut tx = store::begin(self.pool).await?;
        if !is_new && !projects::keep(&mut tx, project.id).await? {
            return Err(Error::ProjectNotFound);
        }
        if is_new && !self.quotas.insert(&mut tx, &project).await? {
            return Ok(Attempt::Raced);
        }
        // Before the insertion, so that a turn cannot replace itself.
        let first_hidden = match *replaces {
            Some(replaced) => Some(replaced_question(&mut tx, project.id, replaced).await?),
            None => None,
        };
        let message = MessageId::generate();
        let new = NewTurn { id: *turn, project: project.id, user: user.id, fingerprint: &self.fingerprint, message };
        if !turns::insert(&mut tx, &new).await? {
            return Ok(Attempt::Raced);
        }
        if let Some(first) = first_hidden {
            // The end of such a turn takes the turn's lock. Either it has written its answer, which is hidden here, or it will see that
            // its question is hidden.
            turns::lock_open_since(&mut tx, project.id, first).await?;
            messages::hide_since(&mut tx, project.id, first, *turn).await?;
        }
        let message = Message {
            id: message,
            turn: *turn,
            author: Author::Person,
            text: prompt.clone(),
            parts: Vec::new(),
            partial: false,
            revision: None,
            user: user.id,
            created_at: self.now,
            state: MessageState::default(),
        };
        messages::insert(&mut tx, project.id, &message).await?;
        projects::touch(&mut tx, project.id, (project.owner == user.id).then_some(user.plan)).await?;
        store::commit(tx).await?;
        Ok(Attempt::Done(project.id))
    }

    /// The project of the turn, and whether it has to be inserted.
    async fn project(&self) -> Result<(Project, bool), Error> {
        let Begin { user, target, prompt, .. } = self.begin;
        match (projects::find(self.pool, user.id, target).await?, target) {
            (Some(member), _) => {
                project::require(Some(member.role), Role::Editor)?;
                Ok((member.project, false))
            }
            (None, Target::Id(_)) => Err(Error::ProjectNotFound),
            (None, Target::Draft(draft)) => {
                Ok((Project::new(*user, Some(draft.clone()), project::name_from_prompt(prompt), self.now), true))
            }
        }
    }
}

/// The message that a replaced turn began with. Locks the conversation.
async fn replaced_question(tx: &mut Tx, project: ProjectId, replaced: TurnId) -> Result<MessageId, Error> {
    messages::lock(tx, project).await?;
    let not_found = || Error::Field { field: "replaces_turn_id".to_owned(), problem: "must be a turn of the project".to_owned() };
    let question = turns::question(tx, project, replaced).await?.ok_or_else(not_found)?;
    match question.hidden_by {
        Some(by) => Err(Error::TurnReplaced { by }),
        None => Ok(question.message),
    }
}
