//! The staged files of a turn, and the tools that read and change them.

pub(crate) mod overlay;
pub(crate) mod tools;
