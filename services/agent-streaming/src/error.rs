//! What can go wrong in a call.

use std::time::Duration;

use chassis::{error::ServiceError, identity::Caller};
use proto::{
    error::{ErrorCode, Fault},
    id::TurnId,
};

use crate::store;

/// This service in its errors.
pub(crate) const SERVICE: &str = Caller::AgentStreaming.name();

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no such turn")]
    TurnNotFound,
    #[error("another turn of the project is running")]
    TurnActive { turn: Option<TurnId> },
    #[error("the turn is committing or has ended")]
    TooLate,
    #[error("the idempotency key was used with another request")]
    KeyReused,
    #[error("no agent {0:?}")]
    AgentNotFound(String),
    #[error("no model {0:?} on this cluster")]
    ModelNotFound(String),
    #[error("the newest event of the turn is {last}")]
    CursorAhead { last: u32 },
    #[error("the turn's events are no longer kept; GetTurn has its outcome, the project's messages its answer")]
    CursorExpired { last: u32 },
    #[error("the reader fell behind; go on from its last event")]
    SlowReader,
    #[error("this replica is stopping; go on from the last event")]
    Draining { retry_after: Duration },
    #[error("the deadline has passed; go on from the last event")]
    Deadline,
    /// What another service, or the check of the request, says goes to the client as it is.
    #[error(transparent)]
    Refused(#[from] Fault),
    #[error("the database")]
    Store(#[from] store::StoreError),
}

impl Error {
    /// Clients come back within five seconds, not all at once.
    pub(crate) fn draining() -> Self {
        Self::Draining { retry_after: Duration::from_millis(rand::random_range(1_000..5_000)) }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::TurnNotFound | Self::AgentNotFound(_) | Self::ModelNotFound(_) => ErrorCode::NotFound,
            Self::TurnActive { .. } | Self::TooLate | Self::KeyReused | Self::CursorExpired { .. } => ErrorCode::Conflict,
            Self::CursorAhead { .. } => ErrorCode::InvalidArgument,
            Self::SlowReader => ErrorCode::RateLimited,
            Self::Draining { .. } => ErrorCode::Unavailable,
            Self::Deadline => ErrorCode::Timeout,
            Self::Refused(fault) => fault.code,
            Self::Store(error) if error.is_transient() => ErrorCode::Unavailable,
            Self::Store(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::TurnNotFound => "TURN_NOT_FOUND",
            Self::TurnActive { .. } => "TURN_ACTIVE",
            Self::TooLate => "TOO_LATE",
            Self::KeyReused => "KEY_REUSED",
            Self::AgentNotFound(_) => "AGENT_NOT_FOUND",
            Self::ModelNotFound(_) => "MODEL_NOT_FOUND",
            Self::CursorAhead { .. } => "CURSOR_AHEAD",
            Self::CursorExpired { .. } => "CURSOR_EXPIRED",
            Self::SlowReader => "SLOW_READER",
            Self::Draining { .. } => "DRAINING",
            Self::Deadline => "TIMEOUT",
            Self::Refused(fault) => &fault.reason,
            Self::Store(error) if error.is_transient() => "UNAVAILABLE",
            Self::Store(_) => "INTERNAL",
        }
    }
}

impl ServiceError for Error {
    fn fault(&self) -> Fault {
        if let Self::Refused(fault) = self {
            return fault.clone();
        }
        let text = match self {
            Self::Store(_) => "the database does not answer".to_owned(),
            other => other.to_string(),
        };
        let fault = Fault::new(SERVICE, self.code(), self.reason(), text);
        match self {
            Self::TurnActive { turn: Some(turn) } => fault.with("turn_id", turn.to_string()),
            Self::CursorAhead { last } | Self::CursorExpired { last } => fault.with("last_seq", last.to_string()),
            Self::Draining { retry_after } => fault.retry_after(*retry_after),
            Self::SlowReader => fault.retry_after(Duration::from_secs(1)),
            Self::Store(_) if self.code() == ErrorCode::Unavailable => fault.retry_after(Duration::from_secs(1)),
            _ => fault,
        }
    }
}
