//! An error like those of the transport, for tests.

use std::error::Error;

/// Its text does not include its cause.
#[derive(Debug, thiserror::Error)]
#[error("transport error")]
pub(super) struct TransportError(#[source] pub(super) Box<dyn Error + Send + Sync>);
