//! AG-UI 1.0, which `HttpAgent` speaks: [`request`] is what a POST means, [`stream`] spells a turn's parts as events.

pub(crate) mod request;
pub(crate) mod stream;
