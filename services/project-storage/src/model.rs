//! Projects and what belongs to them, with the pure rules about them.
//!
//! - [`project`], [`revision`], [`message`], [`part`], [`turn`], [`conflict`]: what the service stores.
//! - [`path`], [`limits`]: how a file may be named and how much a project may hold. [`per_plan`]: settings that depend on the plan.
//! - [`change`]: the tree that a change set makes.
//! - [`undo`]: what an undo and a redo revert. [`lock`]: paths that may not be changed.
//! - [`layout`]: whether a project is compiled for a preview.
//! - [`condition`]: `If-Match`. [`page`]: pages of lists. [`filter`]: filters of projects, and updates of them.
//! - [`deletion`]: deleted projects, and what other services are told of them.
//! - [`site`]: published sites, and the file that an address leads to.
//! - [`template`]: what can be made a project of. [`placeholder`]: variables of templates and their values.

pub(crate) mod change;
pub(crate) mod condition;
pub(crate) mod conflict;
pub(crate) mod deletion;
pub(crate) mod filter;
pub(crate) mod layout;
pub(crate) mod limits;
pub(crate) mod lineage;
pub(crate) mod lock;
pub(crate) mod media;
pub(crate) mod message;
pub(crate) mod page;
pub(crate) mod part;
pub(crate) mod path;
pub(crate) mod per_plan;
pub(crate) mod placeholder;
pub(crate) mod preview;
pub(crate) mod project;
pub(crate) mod publication;
pub(crate) mod revision;
pub(crate) mod site;
pub(crate) mod template;
pub(crate) mod turn;
pub(crate) mod undo;
