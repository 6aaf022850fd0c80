//! Turns of agents. A turn has no access token. Its row stores the user, and each later call checks the row and the present role of
//! the user.

use proto::id::{MessageId, ProjectId, TurnId, UserId};

use crate::{git::Oid, model::part::Part};

/// The state of a turn. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnState {
    Open = 1,
    Committed = 2,
    Unchanged = 3,
    Conflicted = 4,
    Failed = 5,
    Cancelled = 6,
}

impl TurnState {
    /// A state by its number. An unknown number, which a later release may have written, is an end.
    pub(crate) fn from_number(number: i16) -> Self {
        let known = [Self::Open, Self::Committed, Self::Unchanged, Self::Conflicted, Self::Failed];
        known.into_iter().find(|state| *state as i16 == number).unwrap_or(Self::Cancelled)
    }

    /// Whether the turn ended without a commit.
    pub(crate) fn has_ended_without_commit(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }
}

/// A turn's row.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) id: TurnId,
    /// `None` if the turn was ended before it began. The same holds for the user and the message.
    pub(crate) project: Option<ProjectId>,
    pub(crate) user: Option<UserId>,
    pub(crate) state: TurnState,
    /// SHA-256 of the request that began the turn.
    pub(crate) fingerprint: Vec<u8>,
    /// The user's message.
    pub(crate) message: Option<MessageId>,
    /// SHA-256 of the committed change set.
    pub(crate) digest: Vec<u8>,
    pub(crate) revision: Option<Oid>,
    pub(crate) conflict_paths: Vec<String>,
}

/// An answer that is not complete.
pub(crate) struct PartialAnswer {
    pub(crate) text: String,
    pub(crate) parts: Vec<Part>,
}

/// How a turn ends without files.
pub(crate) enum TurnEnd {
    Failed {
        /// The answer so far, kept as a partial message.
        partial: PartialAnswer,
        /// The reason that the conversation shows.
        reason: String,
    },
    Cancelled {
        /// The answer so far, kept as a partial message.
        partial: PartialAnswer,
    },
    /// The question is removed from the conversation, as if the turn had never been there.
    Withdrawn,
}

impl TurnEnd {
    pub(crate) fn state(&self) -> TurnState {
        match self {
            Self::Failed { .. } => TurnState::Failed,
            Self::Cancelled { .. } | Self::Withdrawn => TurnState::Cancelled,
        }
    }

    pub(crate) fn failure_reason(&self) -> &str {
        if let Self::Failed { reason, .. } = self { reason } else { "" }
    }
}
