//! Revisions: the commits of a project.

use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::git::{DiffStat, Oid};

/// Who made a revision. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Person = 1,
    Agent = 2,
}

/// One commit of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) id: Oid,
    /// The number in the project's log, from 1; 0 on the branch of a conflicted turn.
    pub(crate) number: u32,
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
    pub(crate) message: String,
    pub(crate) actor: Actor,
    pub(crate) user: UserId,
    pub(crate) turn: Option<TurnId>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) stat: DiffStat,
}

/// A name of a revision, unique in its project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) name: String,
    pub(crate) revision: Oid,
    /// The user who set it.
    pub(crate) user: UserId,
    pub(crate) created_at: OffsetDateTime,
}

/// A revision with its labels, sorted.
pub(crate) struct LabelledRevision {
    pub(crate) revision: Revision,
    pub(crate) labels: Vec<String>,
}
