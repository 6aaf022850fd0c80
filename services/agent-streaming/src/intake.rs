//! Starts, finds, lists and cancels turns.

pub(crate) mod cancel;
pub(crate) mod choose;
pub(crate) mod disconnect;
pub(crate) mod earlier_plan;
pub(crate) mod list;
pub(crate) mod plan;
pub(crate) mod restriction;
pub(crate) mod select;
pub(crate) mod start;
pub(crate) mod usage;
