//! Messages: the conversation of a project.

use proto::id::{MessageId, TurnId, UserId};
use time::OffsetDateTime;

use crate::{git::Oid, model::turn::TurnState};

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
    /// The turn ended before the answer was complete.
    pub(crate) partial: bool,
    /// The revision of the turn.
    pub(crate) revision: Option<Oid>,
    /// The user who sent the prompt.
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
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

/// Replaces NUL, which the database cannot store in a text, by U+FFFD.
pub(crate) fn replace_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
