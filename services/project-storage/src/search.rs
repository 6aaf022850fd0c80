//! Finding a text or a pattern in the files of a project. Pure.
//!
//! - [`pattern`]: what is searched for. [`filter`]: which paths. [`lines`]: the hits in one file.

pub(crate) mod filter;
pub(crate) mod lines;
pub(crate) mod pattern;
