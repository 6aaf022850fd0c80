//! Messages: the conversation of a project.

use proto::id::{MessageId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    git::Oid,
    model::{part::Part, turn::TurnState},
};

/// The author of a message. The database stores the number.
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
    /// What the message consists of. Empty if nothing was stored, or if it was not read.
    pub(crate) parts: Vec<Part>,
    /// The turn ended before the answer was complete.
    pub(crate) partial: bool,
    /// The revision of the turn.
    pub(crate) revision: Option<Oid>,
    /// The user who sent the prompt.
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) state: MessageState,
}

/// What happened to a message since it was stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct MessageState {
    pub(crate) edited_at: Option<OffsetDateTime>,
    pub(crate) deleted_at: Option<OffsetDateTime>,
    /// How many people found the answer helpful, and how many did not.
    pub(crate) helpful: u32,
    pub(crate) not_helpful: u32,
    /// That of the reader.
    pub(crate) reaction: Option<Reaction>,
}

/// What a person thinks of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reaction {
    pub(crate) is_helpful: bool,
    pub(crate) reason: String,
}

/// A message that is about to be changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LockedMessage {
    pub(crate) author: Author,
    pub(crate) user: UserId,
    pub(crate) turn: TurnId,
    /// It was replaced, so it is not in the conversation.
    pub(crate) is_hidden: bool,
    pub(crate) is_deleted: bool,
}

/// The outcome of a turn, as the conversation shows it.
#[derive(Debug, Clone)]
pub(crate) struct TurnOutcome {
    pub(crate) state: TurnState,
    /// The conflict of the turn was resolved.
    pub(crate) is_resolved: bool,
    /// The first paths in conflict.
    pub(crate) conflict_paths: Vec<String>,
    /// Empty unless the turn failed.
    pub(crate) failure_reason: String,
}

/// A message with the outcome of its turn.
#[derive(Debug, Clone)]
pub(crate) struct ConversationEntry {
    pub(crate) message: Message,
    pub(crate) outcome: Option<TurnOutcome>,
}

/// The direction in which a conversation is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}
