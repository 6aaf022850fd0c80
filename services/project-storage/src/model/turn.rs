//! Turns of an agent. A turn carries no token: its beginning writes down who may, and every later call looks at that row and at
//! the person's role of that moment.

use proto::id::{MessageId, ProjectId, TurnId, UserId};

use crate::git::Oid;

/// Where a turn stands. The numbers stand in the rows.
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
    /// From a row; an unknown one is over.
    pub(crate) fn from_number(number: i16) -> Self {
        let known = [Self::Open, Self::Committed, Self::Unchanged, Self::Conflicted, Self::Failed];
        known.into_iter().find(|state| *state as i16 == number).unwrap_or(Self::Cancelled)
    }

    /// Whether it ended without a commit.
    pub(crate) fn is_given_up(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }
}

/// A turn's row.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) id: TurnId,
    /// `None` if it was ended before it began; so for the person and the message.
    pub(crate) project: Option<ProjectId>,
    pub(crate) user: Option<UserId>,
    pub(crate) state: TurnState,
    /// SHA-256 of what it was begun with.
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) message: Option<MessageId>,
    /// SHA-256 of the change set that ended it.
    pub(crate) digest: Vec<u8>,
    pub(crate) revision: Option<Oid>,
    pub(crate) conflict_paths: Vec<String>,
}

/// How a turn ends without files.
pub(crate) enum TurnEnd {
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
