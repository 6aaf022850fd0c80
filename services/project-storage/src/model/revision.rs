//! Revisions: what the log of a project says about its commits.

use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::git::{DiffStat, Oid};

/// Who made a revision. The numbers stand in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Person = 1,
    Agent = 2,
}

/// One commit of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) id: Oid,
    /// Its place in the project's log; 0 on a turn's own branch.
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
