//! Bodies that are streamed from a service.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use proto::error::ErrorCode;
use tonic::Streaming;

use crate::error::{Failure, fault, fault_of};

/// The answer has begun, so an error can only abort it.
#[derive(Debug, thiserror::Error)]
#[error("the answer was aborted: {0}")]
pub(crate) struct StreamError(pub(crate) String);

/// How long the first message of a stream may take.
const OPENING_TIME: Duration = Duration::from_secs(30);

/// Opens a stream that has no deadline of its own.
pub(crate) async fn within_opening_time<T>(opening: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(OPENING_TIME, opening).await.map_err(|_| fault(ErrorCode::Timeout, "TIMEOUT", "the service took too long"))?
}

/// The bytes of an answer, part by part.
pub(crate) fn streamed<M: Send + 'static>(parts: Streaming<M>, data: fn(M) -> Bytes) -> impl Stream<Item = Result<Bytes, StreamError>> {
    parts.map_ok(data).map_err(|status| {
        let error = StreamError(fault_of(&status).to_string());
        tracing::warn!("{error}");
        error
    })
}
