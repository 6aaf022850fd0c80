//! AG-UI 1.0, which `HttpAgent` reads: [`request`] reads a POST, [`stream`] writes the parts of a turn as events.

pub(crate) mod request;
pub(crate) mod stream;
