//! Archives of projects, without I/O of their own.
//!
//! - [`format`]: the formats, and the names of exported files.
//! - [`write`]: archives whose bytes depend on their files only. [`zip`] has the records of zip files.

pub(crate) mod format;
pub(crate) mod write;
mod zip;
