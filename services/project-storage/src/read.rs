//! Reading projects. Functions that take a user check the user's role.
//!
//! - [`objects`]: files of a store, from the [`cache`] or the database. [`tree`]: trees. [`merge`]: merging trees,
//!   and [`merge_base`]: what a merge of two projects begins with.
//! - [`blob`]: the content of a file part by part.
//! - [`member`], [`forks`], [`history`], [`conversation`]: projects, their forks, their revisions and their messages.
//!   [`message_search`]: hits in these.
//! - [`checkout`]: a project's files at one revision. [`load`]: the same in pages. [`search`]: hits in them.
//! - [`export`]: a revision's files as an archive. [`contents`]: many files as they are.
//! - [`diff`]: what differs between two revisions, by [`changes`]. [`walk`]: back through the log along one path, of which [`spine`] reads
//!   only the folders above it; [`filter`], [`file_history`] and [`blame`] use it. [`commits`]: commits that are in no log.
//! - [`conflict`]: a conflicted turn beside the head. [`turn_access`]: a turn with the project that it works on.

pub(crate) mod blame;
pub(crate) mod blob;
pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod checkout;
pub(crate) mod commits;
pub(crate) mod conflict;
pub(crate) mod contents;
pub(crate) mod conversation;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod file_history;
pub(crate) mod filter;
pub(crate) mod forks;
pub(crate) mod history;
pub(crate) mod load;
pub(crate) mod member;
pub(crate) mod merge;
pub(crate) mod merge_base;
pub(crate) mod message_search;
pub(crate) mod objects;
pub(crate) mod search;
pub(crate) mod spine;
pub(crate) mod tree;
pub(crate) mod turn_access;
pub(crate) mod walk;
