//! What the tools of a turn read and write before it is committed.

pub(crate) mod overlay;
pub(crate) mod tools;
