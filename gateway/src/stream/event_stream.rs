//! The event stream of one turn or project for one client. It reads the events from their service and writes them to the client. If its
//! connection to the service breaks, it opens another one after the last event. It ends cleanly only after the terminal event. A stream that
//! cannot continue fails its body: HTTP/1.1 closes without the last chunk, HTTP/2 resets only that stream.

mod body;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chassis::revocations::Revocations;
use futures::StreamExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use self::body::{Connection, StreamBody, is_transient};
use super::{
    event_log::{Calls, EventLog},
    limits::StreamPermit,
    project_client::ProjectLog,
    sse::{Format, Framing as _, Projection},
    turn_client::TurnLog,
};
use crate::{
    app::App,
    error::{Failure, fault_of},
    identity::authenticate::Authenticated,
};

/// How long the response waits for the first event, so that an early failure is still a problem document.
const PEEK_TIME: Duration = Duration::from_millis(500);

/// The events of one log for one client.
pub(crate) struct EventStream<L: EventLog> {
    log: L,
    projection: Box<L::Projection>,
    revocations: Arc<Revocations>,
    heartbeat: Duration,
    draining: CancellationToken,
    /// Held until the body is dropped.
    _permit: StreamPermit,
}

impl<L: EventLog> EventStream<L> {
    fn of(app: &App, log: L, projection: Box<L::Projection>, permit: StreamPermit) -> Self {
        Self {
            log,
            projection,
            revocations: Arc::clone(&app.revocations),
            heartbeat: app.config.heartbeat,
            draining: app.draining.clone(),
            _permit: permit,
        }
    }

    fn respond(self, after: Option<u32>, connection: Connection<L::Message>, first: Option<L::Message>) -> Response {
        let headers = self.projection.headers();
        let chunks = StreamBody::new(self, after, connection, first).into_chunks();
        (headers, Body::from_stream(chunks)).into_response()
    }
}

impl EventStream<ProjectLog> {
    /// The events of a project.
    pub(crate) fn of_project(app: &App, caller: Authenticated, project: String, format: Format, permit: StreamPermit) -> Self {
        Self::of(app, ProjectLog { calls: Calls::new(app, caller), project }, Box::new(format), permit)
    }

    /// The response to a client that has the events up to `after`, or that has none.
    pub(crate) async fn watch(self, after: Option<u32>) -> Result<Response, Failure> {
        // The service has checked the request when the stream is open, and the next event may be far away.
        let messages = self.log.open(after).await?;
        Ok(self.respond(after, Connection::Open(Box::new(messages)), None))
    }
}

impl EventStream<TurnLog> {
    /// The events of a turn.
    pub(crate) fn new(app: &App, caller: Authenticated, turn: String, projection: Box<dyn Projection>, permit: StreamPermit) -> Self {
        let as_lines = projection.takes_lines();
        Self::of(app, TurnLog { calls: Calls::new(app, caller), turn, compact: false, as_lines }, projection, permit)
    }

    /// Requests the compact form of events that are already in the log.
    pub(crate) fn compact(mut self) -> Self {
        self.log.compact = true;
        self
    }

    /// The response to a client that has the events up to `after`: 204 if there are no more, which keeps an `EventSource` from
    /// reconnecting.
    pub(crate) async fn resume(self, after: u32) -> Result<Response, Failure> {
        let after = if chassis::seeded_bug::is("cursor-off-by-one") { after.saturating_sub(1) } else { after };
        let messages = match self.log.open(Some(after)).await {
            Ok(messages) => messages,
            Err(fault) if fault.reason == "CURSOR_AHEAD" && self.log.has_ended_at(after).await? => {
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            Err(fault) => return Err(fault.into()),
        };
        match peek(messages).await? {
            (Connection::Ended, None) => Ok(StatusCode::NO_CONTENT.into_response()),
            (connection, first) => Ok(self.respond(Some(after), connection, first)),
        }
    }

    /// The response to the request that has started the turn. The turn is recorded, so the response names it even if agent-streaming
    /// cannot be reached now: the stream opens and retries.
    pub(crate) async fn begin(self) -> Result<Response, Failure> {
        let messages = match self.log.open(Some(0)).await {
            Ok(messages) => messages,
            Err(fault) if is_transient(fault.code) => return Ok(self.respond(Some(0), Connection::broken(), None)),
            Err(fault) => return Err(fault.into()),
        };
        let (connection, first) = peek(messages).await?;
        Ok(self.respond(Some(0), connection, first))
    }
}

/// Waits a moment for the first message. A replica that is about to stop breaks the connection; the stream opens and tries another one.
async fn peek<M>(mut messages: Streaming<M>) -> Result<(Connection<M>, Option<M>), Failure> {
    Ok(match timeout(PEEK_TIME, messages.next()).await {
        Err(_) => (Connection::Open(Box::new(messages)), None),
        Ok(Some(Ok(first))) => (Connection::Open(Box::new(messages)), Some(first)),
        Ok(Some(Err(status))) => match fault_of(&status) {
            fault if is_transient(fault.code) => (Connection::broken(), None),
            fault => return Err(fault.into()),
        },
        Ok(None) => (Connection::Ended, None),
    })
}
