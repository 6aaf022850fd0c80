//! Writing projects: their creation, saves, the resolution of conflicts, and the beginning and the end of turns.
//!
//! - [`attempt`]: a write that lost a race is repeated. [`lock`]: one save per project at a time. [`quota`]: what an account may have.
//! - [`blobs`]: contents that are written before their revision, large ones in chunks.
//! - [`stage`]: the tree that a change set makes. [`objects`]: the git objects of its commit.
//! - [`create`]: an empty project. [`fork`]: a project that continues the log of another one.
//! - [`save`], [`restore`], [`revert`], [`resolve`]: a user's save, the restore of an old revision, reverts with undo and redo, and the
//!   resolution of a conflict. [`request`]: what these have in common. [`merge`]: the merge of a whole tree with the head, and [`outcome`]:
//!   its outcome. [`merge_project`]: the merge of another project.
//!   [`upload`]: the save of a file that arrives in parts. [`import`]: the files of an archive.
//! - [`publish`], [`use_template`]: a template of a revision, and a project of a template. [`starters`]: the templates that ship with
//!   Backlot. [`copy`]: a tree from one store to another one.
//! - [`deploy`]: the built files of a revision, which the project's site serves.
//! - [`begin`], [`turn`], [`end`]: the beginning of a turn, its commit, and its end without files.

use self::{lock::Locks, quota::Quotas};
use crate::{
    read::{load::LoadSlots, objects::Objects},
    watch::changes::Changes,
};

pub(crate) mod attempt;
pub(crate) mod begin;
pub(crate) mod blobs;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod deploy;
pub(crate) mod end;
pub(crate) mod fillable;
pub(crate) mod fork;
pub(crate) mod import;
pub(crate) mod lock;
pub(crate) mod merge;
pub(crate) mod merge_project;
pub(crate) mod objects;
pub(crate) mod outcome;
pub(crate) mod publish;
pub(crate) mod quota;
pub(crate) mod request;
pub(crate) mod resolve;
pub(crate) mod restore;
pub(crate) mod revert;
pub(crate) mod save;
pub(crate) mod stage;
pub(crate) mod starters;
pub(crate) mod turn;
pub(crate) mod upload;
pub(crate) mod use_template;

/// What a commit of files uses.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) objects: &'a Objects,
    pub(crate) locks: &'a Locks,
    pub(crate) quotas: Quotas,
    pub(crate) load_slots: &'a LoadSlots,
    /// Gets every revision of a project that exists, after it is committed.
    pub(crate) changes: &'a Changes,
}
