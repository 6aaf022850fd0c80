//! The one conversation of a project.

use proto::id::{MessageId, ProjectId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    Storage,
    error::Error,
    git::Oid,
    project::{self, Role},
    revision::Page,
    store::{messages, turns},
    turn::State,
};

/// Who wrote a message. The numbers stand in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    Person = 1,
    Agent = 2,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: MessageId,
    pub turn: TurnId,
    pub author: Author,
    pub text: String,
    /// The turn ended before the answer was whole.
    pub partial: bool,
    /// The revision that came with it.
    pub revision: Option<Oid>,
    /// Who sent the prompt.
    pub user: UserId,
    pub created_at: OffsetDateTime,
}

/// How a turn stands, as its conversation tells.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub state: State,
    /// Somebody has resolved its conflict.
    pub is_resolved: bool,
    /// The first of them.
    pub conflict_paths: Vec<String>,
    /// Empty unless it failed.
    pub failure_reason: String,
}

/// A message and how its turn stands.
#[derive(Debug, Clone)]
pub struct Entry {
    pub message: Message,
    pub outcome: Option<Outcome>,
}

/// In which direction a conversation is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// A page of the conversation and the key of the next one.
pub async fn list(
    storage: &Storage,
    user: UserId,
    project: ProjectId,
    order: Order,
    page: Page<MessageId>,
) -> Result<(Vec<Entry>, Option<MessageId>), Error> {
    let wanted = Page { size: page.size + 1, after: page.after };
    let rows = match order {
        Order::NewestFirst => messages::newest(&storage.pool, project, user, wanted).await?,
        Order::OldestFirst => messages::oldest(&storage.pool, project, user, wanted).await?,
    };
    project::require(rows.as_ref().map(|(role, _)| *role), Role::Viewer)?;
    let (messages, next) = page.cut(rows.map(|(_, messages)| messages).unwrap_or_default(), |message| message.id);
    let outcomes = turns::outcomes(&storage.pool, messages.iter().map(|message| message.turn)).await?;
    let entry = |message: Message| Entry { outcome: outcomes.get(&message.turn).cloned(), message };
    Ok((messages.into_iter().map(entry).collect(), next))
}

/// What a model wrote, as the database can keep it: NUL is the one character that a text there cannot hold.
pub fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
