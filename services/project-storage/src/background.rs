//! Tasks that run beside the calls, from the start of the service to its end.

pub(crate) mod accounts;
pub(crate) mod garbage;
pub(crate) mod sessions;
pub(crate) mod starters;
pub(crate) mod sweep;
