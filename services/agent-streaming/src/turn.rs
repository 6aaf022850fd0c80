//! What a turn is and what may happen to it: pure rules, no transport, no SQL.

pub(crate) mod answer;
pub(crate) mod event;
pub(crate) mod transcript;

use bytes::Bytes;
use chassis::{clock, seeded_bug};
use proto::{
    agent_streaming::{self as wire, Usage},
    id::{MessageId, ProjectId, TurnId, UserId},
    project_storage::TurnEnd,
};
use time::OffsetDateTime;

/// Where a turn stands.
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

    /// As the database spells it.
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

    /// Whether the turn stays in this state.
    pub(crate) fn has_ended(self) -> bool {
        self.wire().has_ended()
    }

    /// The arrows of the turn's life. A change that is not one of them is a mistake of this program.
    pub(crate) fn may_become(self, next: Self) -> bool {
        match self {
            Self::Accepted => matches!(next, Self::Queued | Self::Running | Self::Failed | Self::Cancelled),
            Self::Queued => matches!(next, Self::Running | Self::Failed | Self::Cancelled),
            Self::Running => matches!(next, Self::Committing | Self::Failed | Self::Cancelled),
            // Too late to cancel: exactly one outcome of the commit follows.
            Self::Committing => matches!(next, Self::Completed | Self::Conflicted | Self::Failed),
            Self::Completed | Self::Failed | Self::Cancelled | Self::Conflicted => false,
        }
    }

    fn wire(self) -> wire::TurnState {
        match self {
            Self::Accepted => wire::TurnState::Accepted,
            Self::Queued => wire::TurnState::Queued,
            Self::Running => wire::TurnState::Running,
            Self::Committing => wire::TurnState::Committing,
            Self::Completed => wire::TurnState::Completed,
            Self::Failed => wire::TurnState::Failed,
            Self::Cancelled => wire::TurnState::Cancelled,
            Self::Conflicted => wire::TurnState::Conflicted,
        }
    }
}

/// How project-storage is told that a turn ended without files.
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

/// Why a turn failed: the stable words of `turn.failed`.
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
    Internal,
}

impl Reason {
    pub(crate) const ALL: [Self; 11] = [
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
            Self::Internal => "INTERNAL",
        }
    }
}

/// A turn that ends as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// One sentence for people.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A turn as it is on record.
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
    /// It comes before every other turn of the project that waits.
    pub(crate) goes_first: bool,
    pub(crate) client_message_id: String,
    /// The turn whose messages and all later ones it replaces.
    pub(crate) replaces: Option<TurnId>,
    /// Nobody following it cancels it.
    pub(crate) cancel_unfollowed: bool,
    pub(crate) state: State,
    pub(crate) epoch: i64,
    /// Owners that were lost since the last finished step.
    pub(crate) recoveries: u32,
    pub(crate) base_revision: String,
    /// The messages that it tells the model. Absent unless it runs.
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

impl Turn {
    /// As clients see it.
    pub(crate) fn wire(&self) -> wire::Turn {
        let used = self.usage != Usage::default();
        wire::Turn {
            id: self.id.to_string(),
            project_id: self.project_id.map(|id| id.to_string()).unwrap_or_default(),
            user_id: self.user_id.to_string(),
            state: self.state.wire() as i32,
            agent: self.agent.clone(),
            model: self.model.clone(),
            base_revision: self.base_revision.clone(),
            revision: self.revision.clone(),
            failure_reason: self.failure_reason.clone(),
            last_seq: self.last_seq,
            create_time: Some(clock::timestamp(self.created_at)),
            start_time: self.started_at.map(clock::timestamp),
            end_time: self.ended_at.map(clock::timestamp),
            usage: used.then_some(self.usage),
            client_message_id: self.client_message_id.clone(),
            on_disconnect: if self.cancel_unfollowed { wire::OnDisconnect::Cancel } else { wire::OnDisconnect::Continue } as i32,
        }
    }
}

/// What every owner of a turn starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) base_revision: String,
    /// The messages that the model is told.
    pub(crate) history: Vec<MessageId>,
}

/// What an event does to the turn's row, in the statement that writes the event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Change {
    pub(crate) state: Option<State>,
    /// Set once, with the slot.
    pub(crate) started: Option<Started>,
    pub(crate) revision: Option<String>,
    pub(crate) failure_reason: Option<Reason>,
    pub(crate) usage: Option<Usage>,
    /// The encoded `CommitTurnRequest` that every later owner sends.
    pub(crate) change_set: Option<Bytes>,
    /// EndTurn has not been said yet.
    pub(crate) end_due: Option<End>,
    /// A step is finished: owners that were lost before it do not count any more.
    pub(crate) progress: bool,
}

impl Change {
    pub(crate) fn queued() -> Self {
        Self { state: Some(State::Queued), ..Self::default() }
    }

    pub(crate) fn started(base_revision: String, history: Vec<MessageId>) -> Self {
        Self { started: Some(Started { base_revision, history }), ..Self::default() }
    }

    pub(crate) fn usage(usage: Usage) -> Self {
        Self { usage: Some(usage), ..Self::default() }
    }

    pub(crate) fn committing(change_set: Bytes) -> Self {
        Self { state: Some(State::Committing), change_set: Some(change_set), ..Self::default() }
    }

    pub(crate) fn completed(revision: String) -> Self {
        Self { state: Some(State::Completed), revision: Some(revision), ..Self::default() }
    }

    pub(crate) fn conflicted(revision: String) -> Self {
        Self { state: Some(State::Conflicted), revision: Some(revision), ..Self::default() }
    }

    /// EndTurn follows: said before, by an owner that has lost the turn without knowing, it would end a turn that goes on.
    pub(crate) fn failed(reason: Reason) -> Self {
        Self { state: Some(State::Failed), failure_reason: Some(reason), end_due: Some(End::Failed), ..Self::default() }
    }

    pub(crate) fn progress() -> Self {
        Self { progress: true, ..Self::default() }
    }

    /// Whether nobody drives the turn after it.
    pub(crate) fn releases(&self) -> bool {
        self.state.is_some_and(|state| state.has_ended() || state == State::Queued)
    }

    /// Adds what a later event of the same batch does.
    pub(crate) fn merge(&mut self, later: Self) {
        fn take<T>(mine: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *mine = later;
            }
        }
        take(&mut self.state, later.state);
        take(&mut self.started, later.started);
        take(&mut self.revision, later.revision);
        take(&mut self.failure_reason, later.failure_reason);
        take(&mut self.usage, later.usage);
        take(&mut self.change_set, later.change_set);
        take(&mut self.end_due, later.end_due);
        self.progress |= later.progress;
    }
}

/// Owners that a turn may lose without finishing a step; the next one ends it.
const MAX_RECOVERIES: u32 = 3;

/// What an owner does first with a turn that it has just claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// It was never begun at project-storage in time.
    FailNotBegun,
    /// It has no slot yet, or has one and has not started: nothing was done for it.
    Begin,
    /// Its owner was lost, or let go of it, in the middle.
    Resume,
    /// It has lost too many owners.
    FailWorkersLost,
    /// Its change set is fixed and has to be sent.
    Commit,
}

impl Task {
    pub(crate) fn of(turn: &Turn) -> Option<Self> {
        if turn.state.has_ended() {
            return None;
        }
        Some(match turn.state {
            _ if turn.project_id.is_none() => Self::FailNotBegun,
            // Only project-storage knows how it ends.
            State::Committing => Self::Commit,
            _ if turn.recoveries > MAX_RECOVERIES && !seeded_bug::is("never-give-up") => Self::FailWorkersLost,
            State::Running if turn.started_at.is_some() => Self::Resume,
            _ => Self::Begin,
        })
    }
}

/// What a request to stop a turn comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancel {
    Now,
    /// It is cancelled already.
    Done,
    TooLate,
}

impl Cancel {
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
    fn a_state_has_one_spelling() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(state.wire().as_str_name(), format!("TURN_STATE_{}", state.as_str().to_uppercase()));
        }
        assert_eq!(State::parse("sleeping"), None);
    }

    #[test]
    fn an_ended_turn_stays_ended_and_every_other_one_can_end() {
        for state in State::ALL {
            let onward: Vec<_> = State::ALL.into_iter().filter(|next| state.may_become(*next)).collect();
            assert_eq!(state.has_ended(), onward.is_empty(), "{state:?}");
            assert!(state.has_ended() || onward.contains(&State::Failed), "{state:?}");
            assert!(!onward.contains(&state));
        }
    }

    #[test]
    fn an_owner_does_what_the_turn_needs() {
        let of = |state, started: bool, recoveries| {
            let started_at = started.then(clock::now);
            Task::of(&Turn { project_id: Some(ProjectId::generate()), state, started_at, recoveries, ..crate::testing::draft() })
        };
        for (state, started, recoveries, task) in [
            (State::Accepted, false, 0, Task::Begin),
            (State::Queued, false, 3, Task::Begin),
            (State::Queued, false, 4, Task::FailWorkersLost),
            (State::Running, false, 0, Task::Begin),
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
    fn a_turn_can_be_cancelled_exactly_while_it_may_become_cancelled() {
        for state in State::ALL {
            assert_eq!(Cancel::of(state) == Cancel::Now, state.may_become(State::Cancelled), "{state:?}");
        }
        assert_eq!(Cancel::of(State::Cancelled), Cancel::Done);
        assert_eq!(Cancel::of(State::Committing), Cancel::TooLate);
    }

    #[test]
    fn a_later_change_of_a_batch_wins_and_keeps_the_rest() {
        let mut change = Change::usage(Usage { input_tokens: 1, ..Usage::default() });
        change.merge(Change::usage(Usage { input_tokens: 2, ..Usage::default() }));
        change.merge(Change::committing(Bytes::from_static(b"set")));
        assert_eq!(change.usage.as_ref().map(|u| u.input_tokens), Some(2));
        assert_eq!((change.state, change.change_set.as_deref()), (Some(State::Committing), Some(&b"set"[..])));
        assert!(!change.releases());
        change.merge(Change::completed("r".into()));
        assert!(change.releases());
    }
}
