//! How turns come in, are found again, and are stopped.

pub(crate) mod cancel;
pub(crate) mod disconnect;
pub(crate) mod list;
pub(crate) mod start;
