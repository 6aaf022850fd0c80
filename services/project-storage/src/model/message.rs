//! The one conversation of a project.

use proto::id::{MessageId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{git::Oid, model::turn::TurnState};

/// Who wrote a message. The numbers stand in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    Person = 1,
    Agent = 2,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) turn: TurnId,
    pub(crate) author: Author,
    pub(crate) text: String,
    /// The turn ended before the answer was whole.
    pub(crate) partial: bool,
    /// The revision that came with it.
    pub(crate) revision: Option<Oid>,
    /// Who sent the prompt.
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
}

/// How a turn stands, as its conversation tells.
#[derive(Debug, Clone)]
pub(crate) struct TurnOutcome {
    pub(crate) state: TurnState,
    /// Somebody has resolved its conflict.
    pub(crate) is_resolved: bool,
    /// The first of them.
    pub(crate) conflict_paths: Vec<String>,
    /// Empty unless it failed.
    pub(crate) failure_reason: String,
}

/// A message and how its turn stands.
#[derive(Debug, Clone)]
pub(crate) struct ConversationEntry {
    pub(crate) message: Message,
    pub(crate) outcome: Option<TurnOutcome>,
}

/// In which direction a conversation is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

/// What a model wrote, as the database can keep it: NUL is the one character that a text there cannot hold.
pub(crate) fn replace_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
