//! Streams the event log to viewers.

pub(crate) mod compact;
pub(crate) mod follow;
pub(crate) mod followers;
pub(crate) mod tail;
