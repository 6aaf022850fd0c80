//! The event stream of one turn for one client. It reads the events from agent-streaming and writes them to the client. If its connection
//! to agent-streaming breaks, it opens another one after the last event. It ends cleanly only after the terminal event. A stream that
//! cannot continue fails its body: HTTP/1.1 closes without the last chunk, HTTP/2 resets only that stream.

mod body;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use proto::agent_streaming::StreamTurnEventsResponse;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::body::{Connection, StreamBody, is_transient};
use super::{
    limits::StreamPermit,
    sse::Projection,
    turn_client::{Messages, TurnClient},
};
use crate::{
    app::App,
    error::{Failure, fault_of},
    identity::{authenticate::Authenticated, revocations::Revocations},
};

/// How long the response waits for the first event, so that an early failure is still a problem document.
const PEEK_TIME: Duration = Duration::from_millis(500);

/// The events of one turn for one client.
pub(crate) struct EventStream {
    client: TurnClient,
    projection: Box<dyn Projection>,
    revocations: Arc<Revocations>,
    heartbeat: Duration,
    draining: CancellationToken,
    /// Held until the body is dropped.
    _permit: StreamPermit,
}

impl EventStream {
    pub(crate) fn new(app: &App, caller: Authenticated, turn: String, projection: Box<dyn Projection>, permit: StreamPermit) -> Self {
        let client = TurnClient {
            upstream: Arc::clone(&app.upstream),
            sessions: Arc::clone(&app.sessions),
            context: caller.context,
            credential: caller.credential,
            turn,
            compact: false,
            as_lines: projection.takes_lines(),
        };
        Self {
            client,
            projection,
            revocations: Arc::clone(&app.revocations),
            heartbeat: app.config.heartbeat,
            draining: app.draining.clone(),
            _permit: permit,
        }
    }

    /// Requests the compact form of events that are already in the log.
    pub(crate) fn compact(mut self) -> Self {
        self.client.compact = true;
        self
    }

    /// The response to a client that has the events up to `after`: 204 if there are no more, which keeps an `EventSource` from
    /// reconnecting.
    pub(crate) async fn resume(self, after: u32) -> Result<Response, Failure> {
        let after = if chassis::seeded_bug::is("cursor-off-by-one") { after.saturating_sub(1) } else { after };
        let messages = match self.client.open(after).await {
            Ok(messages) => messages,
            Err(fault) if fault.reason == "CURSOR_AHEAD" && self.client.has_ended_at(after).await? => {
                return Ok(StatusCode::NO_CONTENT.into_response());
            }
            Err(fault) => return Err(fault.into()),
        };
        match peek(messages).await? {
            (Connection::Ended, None) => Ok(StatusCode::NO_CONTENT.into_response()),
            (connection, first) => Ok(self.respond(after, connection, first)),
        }
    }

    /// The response to the request that has started the turn. The turn is recorded, so the response names it even if agent-streaming
    /// cannot be reached now: the stream opens and retries.
    pub(crate) async fn begin(self) -> Result<Response, Failure> {
        let messages = match self.client.open(0).await {
            Ok(messages) => messages,
            Err(fault) if is_transient(fault.code) => return Ok(self.respond(0, Connection::broken(), None)),
            Err(fault) => return Err(fault.into()),
        };
        let (connection, first) = peek(messages).await?;
        Ok(self.respond(0, connection, first))
    }

    fn respond(self, after: u32, connection: Connection, first: Option<StreamTurnEventsResponse>) -> Response {
        let headers = self.projection.headers();
        let chunks = StreamBody::new(self, after, connection, first).into_chunks();
        (headers, Body::from_stream(chunks)).into_response()
    }
}

/// Waits a moment for the first message. A replica that is about to stop breaks the connection; the stream opens and tries another one.
async fn peek(mut messages: Messages) -> Result<(Connection, Option<StreamTurnEventsResponse>), Failure> {
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
