//! Starts, finds, lists and cancels turns.

pub(crate) mod cancel;
pub(crate) mod disconnect;
pub(crate) mod list;
pub(crate) mod start;
