//! Revisions: the commits of a project.

use proto::id::{TurnId, UserId};
use time::OffsetDateTime;

use crate::{
    git::{DiffStat, Oid},
    model::path::FilePath,
};

/// What made a revision. The database stores the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Person = 1,
    Agent = 2,
    /// An archive that the user imported.
    Import = 3,
    /// A template, with the first revision of a project. The user is the one who used the template.
    Template = 4,
    /// A merge of another project by the user.
    Merge = 5,
}

impl Actor {
    /// An actor by its number. An unknown number, which a later release may have written, is a person.
    pub(crate) fn from_number(number: i16) -> Self {
        match number {
            2 => Self::Agent,
            3 => Self::Import,
            4 => Self::Template,
            5 => Self::Merge,
            _ => Self::Person,
        }
    }
}

/// What an undo or a redo reverts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Undoes {
    /// The change that is undone, or the undo that is redone.
    pub revision: Oid,
    /// The revision is an undo.
    pub is_redo: bool,
}

/// One commit of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) id: Oid,
    /// The number in the project's log, from 1; 0 on the branch of a conflict.
    pub(crate) number: u32,
    pub(crate) tree: Oid,
    pub(crate) parents: Vec<Oid>,
    pub(crate) message: String,
    pub(crate) actor: Actor,
    pub(crate) user: UserId,
    pub(crate) turn: Option<TurnId>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) stat: DiffStat,
    /// The revision that an undo or a redo reverts.
    pub(crate) undoes: Option<Oid>,
    /// `None` if a release made the revision that did not count.
    pub(crate) totals: Option<Totals>,
}

/// All files of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub files: u32,
    /// Bytes of the files together.
    pub bytes: u64,
}

impl Revision {
    /// The revision whose files this one changed. The first revision of a log has none, even if it merged a fork and so has a parent.
    pub(crate) fn previous(&self) -> Option<Oid> {
        self.parents.first().copied().filter(|_| self.number != 1)
    }

    /// Whether it is on the branch of a conflict, and not in the log.
    pub(crate) fn is_on_branch(&self) -> bool {
        self.number == 0
    }
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

/// Which revisions a list has: those that meet every condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RevisionFilter {
    /// The revision changed this file, or a file in this folder.
    pub(crate) path: Option<FilePath>,
    pub(crate) user: Option<UserId>,
    pub(crate) turn: Option<TurnId>,
    /// The revision was made at this time or later.
    pub(crate) start: Option<OffsetDateTime>,
    /// The revision was made before this time.
    pub(crate) end: Option<OffsetDateTime>,
}

impl RevisionFilter {
    /// Whether every revision meets it.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether author and time are those that are asked for.
    pub(crate) fn admits(&self, revision: &Revision) -> bool {
        self.user.is_none_or(|user| user == revision.user)
            && self.start.is_none_or(|start| start <= revision.created_at)
            && self.end.is_none_or(|end| revision.created_at < end)
    }
}
