//! Requests that start a turn and stream its events in the same response.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use proto::agent_streaming::{StartTurnRequest, Turn};

use crate::{
    app::App,
    error::Failure,
    http::{headers::TURN_ID, idempotency::Replay},
    identity::authenticate::Authenticated,
    json::reply::Reply,
    stream::{event_stream::EventStream, limits::StreamPermit, sse::Projection},
};

/// A stream that is permitted, and whose turn is not started yet.
pub(super) struct TurnStream {
    pub(super) app: Arc<App>,
    pub(super) caller: Authenticated,
    permit: StreamPermit,
}

impl TurnStream {
    /// Takes the permit of the stream. Call it before the turn exists, so that a refusal starts nothing.
    ///
    /// # Errors
    /// RATE_LIMITED by the policy `streams` or `openings`.
    pub(super) fn open(app: Arc<App>, caller: Authenticated) -> Result<Self, Failure> {
        let permit = app.streams.open(caller.user.id)?;
        Ok(Self { app, caller, permit })
    }

    pub(super) async fn start_turn(&self, request: StartTurnRequest) -> Result<(Turn, Replay), Failure> {
        self.app.upstream.start_turn(&self.caller.context, request).await
    }

    /// The response: all events of the turn, with the headers that name it. `form` says how the
    /// events are sent that are already in the log.
    pub(super) async fn respond(self, turn: &str, replay: Replay, projection: impl Projection + 'static, form: Form) -> Reply {
        let stream = EventStream::new(&self.app, self.caller, turn.to_owned(), Box::new(projection), self.permit);
        let stream = if form == Form::Compact { stream.compact() } else { stream };
        Ok(replay.mark(with_turn_headers(stream.begin().await?, turn)))
    }
}

/// How events are sent that are already in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they were sent.
    Original,
    /// Deltas are joined, and superseded events are left out.
    Compact,
}

/// Adds the headers that name the turn of an event stream.
pub(super) fn with_turn_headers(mut response: Response, turn: &str) -> Response {
    if response.status() == StatusCode::OK {
        for (name, value) in [(TURN_ID, turn.to_owned()), (header::LOCATION, location(turn))] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}

/// The path of a turn.
pub(super) fn location(turn: &str) -> String {
    format!("/api/turns/{turn}")
}
