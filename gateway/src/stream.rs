//! The events of a turn or of a project as a stream that a client can resume.

mod event_log;
pub(crate) mod event_stream;
pub(crate) mod limits;
mod project_client;
pub(crate) mod sse;
mod turn_client;
