//! Deleted projects, and the log of deletions that other services follow.

use chassis::identity::Caller;
use proto::id::{MessageId, ProjectId, TurnId};
use time::{Duration, OffsetDateTime};

/// How long a deleted project can be restored.
const RESTORABLE: Duration = Duration::days(30);
/// The services that keep data of projects. Each acknowledges a deletion.
pub(crate) const FOLLOWERS: &[Caller] = &[Caller::AgentStreaming];

/// When a project that was deleted at this time is purged.
pub(crate) fn purge_time(deleted_at: OffsetDateTime) -> OffsetDateTime {
    deleted_at.saturating_add(RESTORABLE)
}

/// Projects that were deleted before this time are purged.
pub(crate) fn purged_before(now: OffsetDateTime) -> OffsetDateTime {
    now.saturating_sub(RESTORABLE)
}

/// What was deleted for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    Project(ProjectId),
    /// The text of a message.
    Message {
        project: ProjectId,
        turn: TurnId,
        message: MessageId,
    },
}

/// An entry of the log of deletions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) id: i64,
    pub(crate) deleted: Deleted,
    pub(crate) created_at: OffsetDateTime,
}
