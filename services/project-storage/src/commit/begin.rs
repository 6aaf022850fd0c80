//! The beginning of a turn: role, the project of a new draft, the person's message, and what it replaces, as one.

use proto::id::{MessageId, ProjectId, TurnId};
use ring::digest::{Context as Digest, SHA256};

use crate::{
    app::App,
    commit::attempt::{Attempt, OptimisticWrite, retry_on_race},
    error::Error,
    git::Oid,
    model::{
        message::{Author, Message},
        project::{self, Project, Role, Target, User},
    },
    read::history,
    store::{
        self, messages, projects,
        turns::{self, NewTurn},
    },
};

/// A turn's beginning.
pub(crate) struct Begin {
    pub(crate) turn: TurnId,
    pub(crate) user: User,
    pub(crate) target: Target,
    pub(crate) prompt: String,
    /// Whose messages, with all later ones, give way to this turn's.
    pub(crate) replaces: Option<TurnId>,
    /// What the turn is to work on, if not the head.
    pub(crate) base: Option<Oid>,
}

/// Opens a turn: role, the project of a new draft and the message as one. A repeat answers the same project.
pub(crate) async fn begin(app: &App, begin: Begin) -> Result<ProjectId, Error> {
    let fingerprint = begin.fingerprint();
    retry_on_race(BeginWrite { app, begin: &begin, fingerprint }).await
}

/// One `BeginTurn` over its attempts.
struct BeginWrite<'a> {
    app: &'a App,
    begin: &'a Begin,
    fingerprint: Vec<u8>,
}

impl OptimisticWrite for BeginWrite<'_> {
    type Output = ProjectId;

    async fn attempt(&mut self) -> Result<Attempt<ProjectId>, Error> {
        let Some(turn) = turns::find(&self.app.pool, self.begin.turn).await? else {
            return open(self.app, self.begin, &self.fingerprint).await;
        };
        match turn.project {
            _ if turn.state.is_given_up() => Err(Error::TurnEnded),
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
        // Nothing at all without it, so that a turn begun by the release before is still known.
        if let Some(replaced) = self.replaces {
            digest.update(replaced.0.as_bytes());
        }
        digest.finish().as_ref().to_vec()
    }
}

/// Raced if somebody else began the same turn or made the same draft a project.
async fn open(app: &App, begin: &Begin, fingerprint: &[u8]) -> Result<Attempt<ProjectId>, Error> {
    let Begin { turn, user, target, prompt, replaces, base } = begin;
    let found = projects::find(&app.pool, user.id, target).await?;
    let now = chassis::clock::now();
    let (project, is_new) = match (found, target) {
        (Some(member), _) => {
            project::require(Some(member.role), Role::Editor)?;
            (member.project, false)
        }
        (None, Target::Id(_)) => return Err(Error::ProjectNotFound),
        (None, Target::Draft(draft)) => (Project::new(*user, Some(draft.clone()), project::name_from_prompt(prompt), now), true),
    };
    if let Some(base) = *base {
        // A project that is new has none.
        history::find(&app.pool, project.id, base).await?;
    }
    let mut tx = store::begin(&app.pool).await?;
    if is_new && !app.quotas.insert(&mut tx, &project).await? {
        return Ok(Attempt::Raced);
    }
    // Looked up before this turn is there, which would find itself.
    let hidden = match *replaces {
        Some(replaced) => {
            messages::lock(&mut tx, project.id).await?;
            let question = turns::question(&mut tx, project.id, replaced).await?.ok_or_else(no_such_turn)?;
            if let Some(by) = question.hidden_by {
                return Err(Error::TurnReplaced { by });
            }
            Some(question.message)
        }
        None => None,
    };
    let message = MessageId::generate();
    if !turns::insert(&mut tx, *turn, project.id, user.id, NewTurn { fingerprint, message }).await? {
        return Ok(Attempt::Raced);
    }
    if let Some(first) = hidden {
        // Whoever ends one of these turns has the turn's lock: it has written its answer, which is hidden now, or will find its
        // question hidden.
        turns::lock_open_since(&mut tx, project.id, first).await?;
        messages::hide_since(&mut tx, project.id, first, *turn).await?;
    }
    let message = Message {
        id: message,
        turn: *turn,
        author: Author::Person,
        text: prompt.clone(),
        partial: false,
        revision: None,
        user: user.id,
        created_at: now,
    };
    messages::insert(&mut tx, project.id, &message).await?;
    projects::touch(&mut tx, project.id, (project.owner == user.id).then_some(user.plan)).await?;
    store::commit(tx).await?;
    Ok(Attempt::Done(project.id))
}

fn no_such_turn() -> Error {
    Error::Field { field: "replaces_turn_id".to_owned(), problem: "must be a turn of the project".to_owned() }
}
