//! The rules of a turn: its states, its end, and the changes that events make. No transport, no SQL.

pub(crate) mod answer;
pub(crate) mod event;
pub(crate) mod mode;
pub(crate) mod parts;
pub(crate) mod transcript;

use bytes::Bytes;
use chassis::seeded_bug;
use proto::{
    agent_streaming::{AgentSelected, Usage},
    id::{MessageId, ProjectId, TurnId, UserId},
    metadata::Metadata,
    project_storage::TurnEnd,
};
use time::OffsetDateTime;
use uuid::Uuid;

use self::mode::Mode;

/// The state of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Accepted,
    Queued,
    Running,
    Committing,
    Completed,
    Failed,
    Cancelled,
    Conflicted,
}

impl State {
    pub(crate) const ALL: [Self; 8] =
        [Self::Accepted, Self::Queued, Self::Running, Self::Committing, Self::Completed, Self::Failed, Self::Cancelled, Self::Conflicted];

    /// The name in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Committing => "committing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Conflicted => "conflicted",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the state is final: no other one may follow it.
    pub(crate) fn has_ended(self) -> bool {
        Self::ALL.into_iter().all(|next| !self.may_become(next))
    }

    /// The allowed changes of the state.
    pub(crate) fn may_become(self, next: Self) -> bool {
        match self {
            Self::Accepted => matches!(next, Self::Queued | Self::Running | Self::Failed | Self::Cancelled),
            Self::Queued => matches!(next, Self::Running | Self::Failed | Self::Cancelled),
            Self::Running => matches!(next, Self::Committing | Self::Failed | Self::Cancelled),
            // The turn cannot be cancelled any more. Exactly one outcome of the commit follows.
            Self::Committing => matches!(next, Self::Completed | Self::Conflicted | Self::Failed),
            Self::Completed | Self::Failed | Self::Cancelled | Self::Conflicted => false,
        }
    }
}

/// The end of a turn that failed or was cancelled, as EndTurn tells it to project-storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Failed,
    Cancelled,
}

impl End {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Failed, Self::Cancelled].into_iter().find(|end| end.as_str() == text)
    }
}

impl From<End> for TurnEnd {
    fn from(end: End) -> Self {
        match end {
            End::Failed => Self::Failed,
            End::Cancelled => Self::Cancelled,
        }
    }
}

/// Why a turn failed: the reasons of `turn.failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    ProviderError,
    ProviderRefused,
    ProviderStalled,
    Truncated,
    EmptyAnswer,
    TooManySteps,
    LimitExceeded,
    WorkerLost,
    NotBegun,
    AccessLost,
    PathLocked,
    FilesNotClean,
    ChecksUnavailable,
    PromptTooLong,
    PinMissing,
    ProviderKeyMissing,
    Internal,
}

impl Reason {
    pub(crate) const ALL: [Self; 17] = [
        Self::ProviderError,
        Self::ProviderRefused,
        Self::ProviderStalled,
        Self::Truncated,
        Self::EmptyAnswer,
        Self::TooManySteps,
        Self::LimitExceeded,
        Self::WorkerLost,
        Self::NotBegun,
        Self::AccessLost,
        Self::PathLocked,
        Self::FilesNotClean,
        Self::ChecksUnavailable,
        Self::PromptTooLong,
        Self::PinMissing,
        Self::ProviderKeyMissing,
        Self::Internal,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ProviderError => "PROVIDER_ERROR",
            Self::ProviderRefused => "PROVIDER_REFUSED",
            Self::ProviderStalled => "PROVIDER_STALLED",
            Self::Truncated => "TRUNCATED",
            Self::EmptyAnswer => "EMPTY_ANSWER",
            Self::TooManySteps => "TOO_MANY_STEPS",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::WorkerLost => "WORKER_LOST",
            Self::NotBegun => "NOT_BEGUN",
            Self::AccessLost => "ACCESS_LOST",
            Self::PathLocked => "PATH_LOCKED",
            Self::FilesNotClean => "FILES_NOT_CLEAN",
            Self::ChecksUnavailable => "CHECKS_UNAVAILABLE",
            Self::PromptTooLong => "PROMPT_TOO_LONG",
            Self::PinMissing => "PIN_MISSING",
            Self::ProviderKeyMissing => "PROVIDER_KEY_MISSING",
            Self::Internal => "INTERNAL",
        }
    }
}

/// The failure of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// One sentence for the user.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A turn as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) id: TurnId,
    pub(crate) user_id: UserId,
    /// Absent until project-storage has begun the turn.
    pub(crate) project_id: Option<ProjectId>,
    pub(crate) draft_id: Option<String>,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) prompt: String,
    pub(crate) agent: String,
    pub(crate) agent_rule: String,
    pub(crate) model: String,
    pub(crate) asked_revision: String,
    pub(crate) reject_if_active: bool,
    /// The turn goes before all other queued turns of the project.
    pub(crate) goes_first: bool,
    pub(crate) client_message_id: String,
    /// A map of the client's own.
    pub(crate) metadata: Metadata,
    /// The turn whose messages, and all later ones, this turn replaces.
    pub(crate) replaces: Option<TurnId>,
    /// The turn is cancelled when it has no follower (`ON_DISCONNECT_CANCEL`).
    pub(crate) cancel_unfollowed: bool,
    /// Only files without errors are committed.
    pub(crate) require_clean_files: bool,
    /// Files and folders that the prompt must have.
    pub(crate) pinned: Vec<String>,
    /// Files and folders that the prompt must not have.
    pub(crate) excluded: Vec<String>,
    /// What the turn may do.
    pub(crate) mode: Mode,
    /// The steps that the turn carries out. Absent for most turns, and after its end.
    pub(crate) plan: Option<String>,
    /// The names of its tools. Absent for turns of releases that did not store them.
    pub(crate) tools: Option<Vec<String>>,
    /// The version of the skills of the cluster, in the table `skill_sets`.
    pub(crate) skills: Option<String>,
    /// Why the agent was selected. Absent for turns of releases without selection.
    pub(crate) selection: Option<AgentSelected>,
    /// The version of the agent, in the table `agents`.
    pub(crate) agent_version: Option<String>,
    /// The stored key of a person or a project that the turn uses, in the table `provider_keys`. Absent: that of the cluster.
    pub(crate) provider_key: Option<Uuid>,
    pub(crate) state: State,
    pub(crate) epoch: i64,
    /// Workers that were lost since the last finished step.
    pub(crate) recoveries: u32,
    pub(crate) base_revision: String,
    /// The messages of the conversation that the model gets. Absent before the start of the turn and after its end. The column has this
    /// name, too.
    pub(crate) history: Option<Vec<MessageId>>,
    pub(crate) revision: String,
    pub(crate) failure_reason: String,
    pub(crate) last_seq: u32,
    pub(crate) usage: Usage,
    pub(crate) trace_id: String,
    pub(crate) traceparent: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) started_at: Option<OffsetDateTime>,
    pub(crate) ended_at: Option<OffsetDateTime>,
}

/// The input of a turn, stored at its start so that every worker uses the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TurnInput {
    pub(crate) base_revision: String,
    /// The messages of the conversation that the model gets.
    pub(crate) history: Vec<MessageId>,
}

/// The change of a turn's row that is written in one statement with an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Change {
    pub(crate) state: Option<State>,
    /// Set once, by `turn.started`.
    pub(crate) started: Option<TurnInput>,
    pub(crate) revision: Option<String>,
    pub(crate) failure_reason: Option<Reason>,
    pub(crate) usage: Option<Usage>,
    /// The encoded `CommitTurnRequest` that every later worker sends.
    pub(crate) change_set: Option<Bytes>,
    /// The first files that the change set changes.
    pub(crate) files: Option<Vec<String>>,
    /// Adds an entry to the outbox.
    pub(crate) end_due: Option<End>,
    /// A step is finished. Resets the number of recoveries.
    pub(crate) progress: bool,
}

impl Change {
    pub(crate) fn queued() -> Self {
        Self { state: Some(State::Queued), ..Self::default() }
    }

    pub(crate) fn started(base_revision: String, history: Vec<MessageId>) -> Self {
        Self { started: Some(TurnInput { base_revision, history }), ..Self::default() }
    }

    pub(crate) fn usage(usage: Usage) -> Self {
        Self { usage: Some(usage), ..Self::default() }
    }

    pub(crate) fn committing(change_set: Bytes, files: Vec<String>) -> Self {
        Self { state: Some(State::Committing), change_set: Some(change_set), files: Some(files), ..Self::default() }
    }

    pub(crate) fn completed(revision: String) -> Self {
        Self { state: Some(State::Completed), revision: Some(revision), ..Self::default() }
    }

    pub(crate) fn conflicted(revision: String) -> Self {
        Self { state: Some(State::Conflicted), revision: Some(revision), ..Self::default() }
    }

    /// Adds EndTurn to the outbox. EndTurn must not be sent before this change is written: a worker that has lost the turn without
    /// noticing would end a turn that continues elsewhere.
    pub(crate) fn failed(reason: Reason) -> Self {
        Self { state: Some(State::Failed), failure_reason: Some(reason), end_due: Some(End::Failed), ..Self::default() }
    }

    pub(crate) fn progress() -> Self {
        Self { progress: true, ..Self::default() }
    }

    /// Whether the change ends the lease: the turn has ended or waits in the queue.
    pub(crate) fn releases(&self) -> bool {
        self.state.is_some_and(|state| state.has_ended() || state == State::Queued)
    }

    /// Adds the change of a later event of the same batch.
    pub(crate) fn merge(&mut self, later: Self) {
        fn take<T>(field: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *field = later;
            }
        }
        take(&mut self.state, later.state);
        take(&mut self.started, later.started);
        take(&mut self.revision, later.revision);
        take(&mut self.failure_reason, later.failure_reason);
        take(&mut self.usage, later.usage);
        take(&mut self.change_set, later.change_set);
        take(&mut self.files, later.files);
        take(&mut self.end_due, later.end_due);
        self.progress |= later.progress;
    }
}

/// Workers that a turn may lose without finishing a step. The next worker fails the turn.
const MAX_RECOVERIES: u32 = 3;

/// What a worker has to do with a turn that it has just claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Fail the turn, because project-storage did not begin it in time.
    FailNotBegun,
    /// Start the turn, or put it into the queue.
    Start,
    /// Continue a turn whose worker was lost or has released it.
    Resume,
    /// Fail the turn, because it has lost too many workers.
    FailWorkersLost,
    /// Send the sealed change set.
    Commit,
}

impl Task {
    pub(crate) fn of(turn: &Turn) -> Option<Self> {
        if turn.state.has_ended() {
            return None;
        }
        Some(match turn.state {
            _ if turn.project_id.is_none() => Self::FailNotBegun,
            // Only project-storage knows whether the commit has happened.
            State::Committing => Self::Commit,
            _ if turn.recoveries > MAX_RECOVERIES && !seeded_bug::is("never-give-up") => Self::FailWorkersLost,
            State::Running if turn.started_at.is_some() => Self::Resume,
            _ => Self::Start,
        })
    }
}

/// What a request to cancel a turn does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelDecision {
    /// The turn is cancelled now.
    Now,
    /// The turn was cancelled before.
    Done,
    /// The turn is committing or has ended in another way.
    TooLate,
}

impl CancelDecision {
    pub(crate) fn of(state: State) -> Self {
        match state {
            State::Accepted | State::Queued | State::Running => Self::Now,
            State::Cancelled => Self::Done,
            State::Committing | State::Completed | State::Failed | State::Conflicted => Self::TooLate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_its_name() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("sleeping"), None);
    }

    #[test]
    fn every_state_that_is_not_final_can_fail() {
        for state in State::ALL {
            let successors: Vec<_> = State::ALL.into_iter().filter(|next| state.may_become(*next)).collect();
            assert!(state.has_ended() || successors.contains(&State::Failed), "{state:?}");
            assert!(!successors.contains(&state));
        }
    }

    #[test]
    fn the_task_of_a_worker_follows_from_the_turn() {
        let of = |state, started: bool, recoveries| {
            let started_at = started.then(chassis::clock::now);
            Task::of(&Turn { project_id: Some(ProjectId::generate()), state, started_at, recoveries, ..crate::testing::draft() })
        };
        for (state, started, recoveries, task) in [
            (State::Accepted, false, 0, Task::Start),
            (State::Queued, false, 3, Task::Start),
            (State::Queued, false, 4, Task::FailWorkersLost),
            (State::Running, false, 0, Task::Start),
            (State::Running, true, 0, Task::Resume),
            (State::Running, true, 3, Task::Resume),
            (State::Running, true, 4, Task::FailWorkersLost),
            (State::Committing, true, 9, Task::Commit),
        ] {
            assert_eq!(of(state, started, recoveries), Some(task), "{state:?} {started} {recoveries}");
        }
        assert_eq!(of(State::Completed, true, 0), None);
        assert_eq!(Task::of(&crate::testing::draft()), Some(Task::FailNotBegun));
    }

    #[test]
    fn a_cancel_follows_the_allowed_changes_of_the_state() {
        for state in State::ALL {
            assert_eq!(CancelDecision::of(state) == CancelDecision::Now, state.may_become(State::Cancelled), "{state:?}");
        }
        assert_eq!(CancelDecision::of(State::Cancelled), CancelDecision::Done);
        assert_eq!(CancelDecision::of(State::Committing), CancelDecision::TooLate);
    }

    #[test]
    fn a_merge_keeps_the_latest_value_of_each_field() {
        let mut change = Change::usage(Usage { input_tokens: 1, ..Usage::default() });
        change.merge(Change::usage(Usage { input_tokens: 2, ..Usage::default() }));
        change.merge(Change::committing(Bytes::from_static(b"set"), Vec::new()));
        assert_eq!(change.usage.as_ref().map(|u| u.input_tokens), Some(2));
        assert_eq!((change.state, change.change_set.as_deref()), (Some(State::Committing), Some(&b"set"[..])));
        assert!(!change.releases());
        change.merge(Change::completed("r".into()));
        assert!(change.releases());
    }
}
