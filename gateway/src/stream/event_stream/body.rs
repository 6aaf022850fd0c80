//! The body of an event stream: it reads messages from the service of the log, reconnects, and writes events, heartbeats and the end.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use chassis::{jitter::spread, propagation, task::spawn_and_wait};
use futures::{FutureExt as _, Stream, StreamExt as _};
use proto::error::{ErrorCode, Fault};
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;
use tracing::{Instrument as _, info_span};

use super::EventStream;
use crate::{
    error::{fault, fault_of},
    stream::{event_log::EventLog, sse::Framing as _},
};

/// For how long the service is tried before the stream fails.
const MAX_OUTAGE: Duration = Duration::from_secs(15);
/// The wait before the first attempt to reconnect. It doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The pause between the last bytes of a stream and its failure, so that they reach the socket.
const FLUSH_TIME: Duration = Duration::from_millis(250);
/// Events that have arrived are sent together, up to about this many bytes.
const CHUNK_SIZE: usize = 64 * 1024;

/// Why a stream failed before its terminal event. The client sees only a broken connection, and resumes.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("the gateway is draining")]
    Draining,
    #[error("the session has ended")]
    SessionEnded,
    #[error("the service refused the stream")]
    Refused(#[source] Fault),
    #[error("the service could not be reached for too long")]
    Outage(#[source] Fault),
    #[error("an event cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Whether another attempt may succeed.
pub(super) fn is_transient(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unavailable | ErrorCode::Timeout)
}

/// The connection to the service.
pub(super) enum Connection<M> {
    Open(Box<Streaming<M>>),
    Broken {
        since: Instant,
        attempt: u32,
        retry_at: Instant,
    },
    /// It failed after a message that has to be written first.
    Failed(Fault),
    /// It ended cleanly. It is not known yet whether the log has ended.
    Ended,
}

impl<M> Connection<M> {
    pub(super) fn broken() -> Self {
        let now = Instant::now();
        Self::Broken { since: now, attempt: 0, retry_at: now + spread(FIRST_WAIT) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Live,
    /// Everything is written; the failure follows.
    Closing,
    /// The terminal event is written, or the stream has failed.
    Done,
}

/// The body of the response.
pub(super) struct StreamBody<L: EventLog> {
    stream: EventStream<L>,
    /// Later calls stay in the trace of the request.
    traceparent: String,
    /// The number of the last event written, or the cursor of the client; `None` if neither is known.
    last: Option<u32>,
    connection: Connection<L::Message>,
    first: Option<L::Message>,
    phase: Phase,
    /// When a heartbeat is due.
    heartbeat_at: Instant,
}

impl<L: EventLog> StreamBody<L> {
    pub(super) fn new(stream: EventStream<L>, after: Option<u32>, connection: Connection<L::Message>, first: Option<L::Message>) -> Self {
        let heartbeat_at = Instant::now() + stream.heartbeat;
        let traceparent = propagation::traceparent().unwrap_or_default();
        Self { stream, traceparent, last: after, connection, first, phase: Phase::Opening, heartbeat_at }
    }

    pub(super) fn into_chunks(self) -> impl Stream<Item = Result<Bytes, StreamError>> {
        futures::stream::unfold(self, |mut body| async move {
            let chunk = body.next().await?;
            if let Err(error) = &chunk {
                tracing::debug!(id = body.stream.log.id(), last = body.last, "event stream broken: {}", chassis::error::chain(error));
            }
            Some((chunk, body))
        })
    }

    /// The next bytes of the body; `None` is its clean end.
    async fn next(&mut self) -> Option<Result<Bytes, StreamError>> {
        let mut out = BytesMut::new();
        let written = match self.phase {
            Phase::Done => return None,
            Phase::Closing => Err(StreamError::Draining),
            Phase::Opening => {
                self.phase = Phase::Live;
                self.stream.projection.opening(&mut out);
                match self.first.take() {
                    Some(first) => self.write(&mut out, first),
                    None => Ok(()),
                }
            }
            Phase::Live => self.live(&mut out).await,
        };
        if let Err(error) = written {
            // hyper drops unsent bytes when a body fails. It sends them during this wait.
            tokio::time::sleep(FLUSH_TIME).await;
            self.phase = Phase::Done;
            return Some(Err(error));
        }
        self.heartbeat_at = Instant::now() + self.stream.heartbeat;
        // Only a stream of lines can have nothing to write at its beginning or its end.
        if out.is_empty() && self.phase == Phase::Done { None } else { Some(Ok(out.freeze())) }
    }

    /// Waits until there is something to write.
    async fn live(&mut self, out: &mut BytesMut) -> Result<(), StreamError> {
        let (revocations, draining) = (Arc::clone(&self.stream.revocations), self.stream.draining.clone());
        let session = self.stream.log.calls().context.user.as_ref().map(|user| user.session_id);
        let mut ended = pin!(async {
            match session {
                Some(session) => revocations.until_ended(session).await,
                None => std::future::pending().await,
            }
        });
        while out.is_empty() && self.phase == Phase::Live {
            let heartbeat_at = self.heartbeat_at;
            tokio::select! {
                biased;
                () = draining.cancelled() => {
                    self.phase = if chassis::seeded_bug::is("clean-end-on-drain") { Phase::Done } else { Phase::Closing };
                    return Ok(());
                }
                () = &mut ended => return Err(StreamError::SessionEnded),
                message = self.message() => match message? {
                    Some(message) => self.write(out, message)?,
                    None => self.phase = Phase::Done,
                },
                () = sleep_until(heartbeat_at) => self.stream.projection.heartbeat(out),
            }
        }
        Ok(())
    }

    /// The next message, over another connection if necessary; `None` when the log has ended. The future may be dropped at any time: its
    /// state is in `connection`.
    async fn message(&mut self) -> Result<Option<L::Message>, StreamError> {
        loop {
            match &mut self.connection {
                Connection::Open(events) => match events.next().await {
                    Some(Ok(message)) => return Ok(Some(message)),
                    Some(Err(status)) => self.reconnect(fault_of(&status))?,
                    None => self.connection = Connection::Ended,
                },
                Connection::Ended => {
                    let (log, last) = (self.stream.log.clone(), self.last.unwrap_or(0));
                    // In its own task: if the client stops reading, this body is not polled, and its unread bytes would use the window of
                    // other calls.
                    match spawn_and_wait(async move { log.has_ended_at(last).await }).await {
                        Ok(true) => return Ok(None),
                        Ok(false) => self.reconnect(fault(ErrorCode::Unavailable, "DRAINING", "the stream ended too early"))?,
                        Err(fault) => self.reconnect(fault)?,
                    };
                }
                Connection::Failed(fault) => {
                    let fault = fault.clone();
                    self.reconnect(fault)?;
                }
                Connection::Broken { retry_at, .. } => {
                    sleep_until(*retry_at).await;
                    self.reopen().await?;
                }
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), StreamError> {
        let span = info_span!("resume", svc = "gateway", id = self.stream.log.id(), after = self.last);
        propagation::adopt_traceparent(&span, &self.traceparent);
        let (log, last) = (self.stream.log.clone(), self.last);
        match spawn_and_wait(async move { log.reopen(last).await }.instrument(span)).await {
            Ok(events) => {
                self.connection = Connection::Open(Box::new(events));
                Ok(())
            }
            Err(fault) => self.reconnect(fault),
        }
    }

    /// Plans the next attempt to connect. An error if another attempt cannot succeed.
    fn reconnect(&mut self, fault: Fault) -> Result<(), StreamError> {
        if !is_transient(fault.code) {
            return Err(StreamError::Refused(fault));
        }
        let now = Instant::now();
        let (since, attempt) = match &self.connection {
            Connection::Broken { since, attempt, .. } => (*since, attempt + 1),
            Connection::Open(_) | Connection::Failed(_) | Connection::Ended => (now, 0),
        };
        if now.duration_since(since) >= MAX_OUTAGE {
            return Err(StreamError::Outage(fault));
        }
        let wait = spread((FIRST_WAIT * 2_u32.saturating_pow(attempt.min(8))).min(MAX_WAIT));
        tracing::debug!(id = self.stream.log.id(), last = self.last, "reconnecting to {}: {fault}", L::SERVICE);
        self.connection = Connection::Broken { since, attempt, retry_at: now + wait };
        Ok(())
    }

    /// Writes a message and those that have arrived after it.
    fn write(&mut self, out: &mut BytesMut, message: L::Message) -> Result<(), StreamError> {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            for event in L::events(message) {
                let position = L::position(&event);
                if let Some(last) = self.last.filter(|_| !position.is_reset) {
                    // A new connection may repeat events. It must not leave any out.
                    if position.seq <= last {
                        continue;
                    }
                    if position.seq != last + 1 && !self.stream.log.has_gaps() {
                        return self.reconnect(fault(ErrorCode::Unavailable, "UNAVAILABLE", "an event is missing"));
                    }
                }
                L::write(&mut self.stream.projection, out, &event).map_err(StreamError::Json)?;
                self.last = Some(position.seq);
                if position.is_terminal {
                    self.phase = Phase::Done;
                    return Ok(());
                }
            }
            if out.len() < CHUNK_SIZE
                && let Connection::Open(events) = &mut self.connection
            {
                match events.next().now_or_never() {
                    Some(Some(Ok(message))) => next = Some(message),
                    Some(Some(Err(status))) => self.connection = Connection::Failed(fault_of(&status)),
                    Some(None) => self.connection = Connection::Ended,
                    None => {}
                }
            }
        }
        Ok(())
    }
}
