//! Checks of files by the role compile: those of a revision, and the staged ones of a turn. In reading order:
//!
//! - [`tree`]: the files of a tree, and whether it is checked.
//! - [`dialogue`]: sends compile the files that it asks for. [`conversation`]: asks compile for the findings of a tree.
//! - [`findings`]: the rules: which findings are new, how many of them are kept, and what the model reads.
//! - [`revision`]: the check of a revision. [`staged`]: the check of staged files.

mod conversation;
pub(crate) mod dialogue;
pub(crate) mod findings;
pub(crate) mod revision;
pub(crate) mod staged;
pub(crate) mod tree;
