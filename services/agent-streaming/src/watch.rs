//! The event log as its viewers see it.

pub(crate) mod compact;
pub(crate) mod follow;
pub(crate) mod followers;
pub(crate) mod tail;
