//! The events of a turn as a stream that a client can resume.

pub(crate) mod event_stream;
pub(crate) mod limits;
pub(crate) mod sse;
mod turn_client;
