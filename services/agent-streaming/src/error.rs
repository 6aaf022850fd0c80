//! The errors of this service's RPCs.

use std::time::Duration;

use chassis::{error::ServiceError, identity::Caller, secret::SealError, tail::StreamEnd};
use proto::{
    error::{ErrorCode, Fault, FieldViolation},
    id::TurnId,
};

use crate::{store, turn::State};

/// The name of this service in errors, logs and telemetry.
pub(crate) const SERVICE: &str = Caller::AgentStreaming.name();

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the turn does not exist")]
    TurnNotFound,
    #[error("{}", not_running(.state))]
    TurnNotRunning { state: State, revision: String },
    #[error("there is no file {0:?} in the turn")]
    FileNotFound(String),
    #[error("another turn of the project is running")]
    TurnActive { turn: Option<TurnId> },
    #[error("the turn is committing or has ended")]
    TooLate,
    #[error("the idempotency key was used with another request")]
    KeyReused,
    #[error("the agent {0:?} does not exist")]
    AgentNotFound(String),
    #[error("the model {0:?} is not available on this cluster")]
    ModelNotFound(String),
    #[error("there is no such stored key of a provider")]
    ProviderKeyNotFound,
    #[error("there is a stored key for {0} already; change or delete it")]
    ProviderKeyExists(&'static str),
    #[error("the stored key was changed at the same time; try again")]
    KeyChanged,
    #[error("the address leads elsewhere, so the key has to be entered again")]
    KeyRequired,
    #[error("this needs a proof of who you are from the last 10 minutes; prove it with POST /api/auth/step-up, or sign in again")]
    StepUpRequired,
    #[error("this needs a session of a sign-in; a program cannot do it")]
    SessionRequired,
    #[error("only the owner of the project may see and change its keys")]
    OwnerRequired,
    #[error("this cluster cannot store keys of providers: its agent-streaming has no key to seal them with")]
    ProviderKeysDisabled,
    #[error("a key could not be sealed")]
    Seal(#[from] SealError),
    #[error("the events of the turn were deleted; GetTurn returns its outcome, and the messages of the project include its answer")]
    CursorExpired { last: u32 },
    #[error("the deadline has passed; continue after the last event")]
    Deadline,
    /// A fault of another service or of the request's check. The client gets it unchanged.
    #[error(transparent)]
    Refused(#[from] Fault),
    #[error("the database failed")]
    Store(#[from] store::StoreError),
}

/// The characters of an unknown name that its error repeats.
const MAX_NAME_CHARS: usize = 80;

impl Error {
    /// The end of a viewer's stream.
    pub(crate) fn end(end: StreamEnd) -> Self {
        Self::Refused(end.fault(SERVICE))
    }

    pub(crate) fn agent_not_found(name: &str) -> Self {
        Self::AgentNotFound(name.chars().take(MAX_NAME_CHARS).collect())
    }

    pub(crate) fn file_not_found(path: &str) -> Self {
        Self::FileNotFound(path.chars().take(MAX_NAME_CHARS).collect())
    }

    pub(crate) fn model_not_found(name: &str) -> Self {
        Self::ModelNotFound(name.chars().take(MAX_NAME_CHARS).collect())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::TurnNotFound | Self::FileNotFound(_) | Self::AgentNotFound(_) | Self::ModelNotFound(_) | Self::ProviderKeyNotFound => {
                ErrorCode::NotFound
            }
            Self::TurnNotRunning { .. }
            | Self::TurnActive { .. }
            | Self::TooLate
            | Self::KeyReused
            | Self::CursorExpired { .. }
            | Self::ProviderKeyExists(_)
            | Self::KeyChanged => ErrorCode::Conflict,
            Self::KeyRequired => ErrorCode::InvalidArgument,
            Self::OwnerRequired | Self::StepUpRequired | Self::SessionRequired => ErrorCode::Forbidden,
            Self::ProviderKeysDisabled => ErrorCode::Unimplemented,
            Self::Seal(_) => ErrorCode::Internal,
            Self::Deadline => ErrorCode::Timeout,
            Self::Refused(fault) => fault.code,
            Self::Store(error) if error.is_transient() => ErrorCode::Unavailable,
            Self::Store(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::TurnNotFound => "TURN_NOT_FOUND",
            Self::TurnNotRunning { .. } => "TURN_NOT_RUNNING",
            Self::FileNotFound(_) => "FILE_NOT_FOUND",
            Self::TurnActive { .. } => "TURN_ACTIVE",
            Self::TooLate => "TOO_LATE",
            Self::KeyReused => "KEY_REUSED",
            Self::AgentNotFound(_) => "AGENT_NOT_FOUND",
            Self::ModelNotFound(_) => "MODEL_NOT_FOUND",
            Self::CursorExpired { .. } => "CURSOR_EXPIRED",
            Self::ProviderKeyNotFound => "PROVIDER_KEY_NOT_FOUND",
            Self::ProviderKeyExists(_) => "PROVIDER_KEY_EXISTS",
            Self::KeyChanged => "PROVIDER_KEY_CHANGED",
            Self::KeyRequired => "KEY_REQUIRED",
            Self::OwnerRequired => "ROLE_REQUIRED",
            Self::StepUpRequired => "STEP_UP_REQUIRED",
            Self::SessionRequired => "SESSION_REQUIRED",
            Self::ProviderKeysDisabled => "PROVIDER_KEYS_DISABLED",
            Self::Seal(_) => "INTERNAL",
            Self::Deadline => "TIMEOUT",
            Self::Refused(fault) => &fault.reason,
            Self::Store(error) if error.is_transient() => "UNAVAILABLE",
            Self::Store(_) => "INTERNAL",
        }
    }
}

/// Why a turn has no staged files.
fn not_running(state: &State) -> String {
    match state {
        State::Accepted | State::Queued | State::Running | State::Committing => {
            "the turn has not started, so it has no files yet".to_owned()
        }
        ended => format!("the turn has ended ({}); the project has the files that it committed", ended.as_str()),
    }
}

impl ServiceError for Error {
    fn fault(&self) -> Fault {
        if let Self::Refused(fault) = self {
            return fault.clone();
        }
        let text = match self {
            Self::Store(_) => "the database failed".to_owned(),
            other => other.to_string(),
        };
        let mut fault = Fault::new(SERVICE, self.code(), self.reason(), text);
        if let Self::KeyRequired = self {
            fault.violations.push(FieldViolation { field: "key".into(), description: self.to_string() });
        }
        match self {
            Self::TurnNotRunning { state, revision } if revision.is_empty() => fault.with("state", state.as_str()),
            Self::TurnNotRunning { state, revision } => fault.with("state", state.as_str()).with("revision", revision),
            Self::TurnActive { turn: Some(turn) } => fault.with("turn_id", turn.to_string()),
            Self::CursorExpired { last } => fault.with("last_seq", last.to_string()),
            Self::Store(_) if self.code() == ErrorCode::Unavailable => fault.retry_after(Duration::from_secs(1)),
            _ => fault,
        }
    }
}
