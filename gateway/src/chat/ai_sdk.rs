//! The UI message stream of the AI SDK (protocol v1), which `useChat` reads: [`request`] reads a POST, [`turns`] finds the turns of a chat,
//! [`stream`] writes the parts of a turn as chunks.

pub(crate) mod request;
pub(crate) mod stream;
pub(crate) mod turns;
