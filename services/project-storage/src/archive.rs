//! Archives of projects, without I/O of their own.
//!
//! - [`format`]: the formats, and the names of exported files.
//! - [`read`]: archives that nobody trusts. [`error`]: why they are refused.
//! - [`write`]: archives whose bytes depend on their files only. [`zip`] has the records of zip files.

pub(crate) mod error;
pub(crate) mod format;
pub(crate) mod read;
pub(crate) mod write;
mod zip;
