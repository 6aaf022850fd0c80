//! The log of one turn, read from agent-streaming.

use std::time::Duration;

use bytes::BytesMut;
use proto::{
    agent_streaming::{EventLine, GetTurnRequest, StreamTurnEventsRequest, StreamTurnEventsResponse, TurnEvent},
    error::{ErrorCode, Fault},
};
use tokio::time::timeout;
use tonic::Streaming;

use super::{
    event_log::{Calls, EventLog, Position},
    sse::Projection,
};
use crate::{
    error::{fault, fault_of},
    upstream::present,
};

/// How long a service may take to open a stream.
pub(super) const OPEN_TIME: Duration = Duration::from_secs(10);

/// The log of one turn.
#[derive(Clone)]
pub(crate) struct TurnLog {
    pub(super) calls: Calls,
    pub(super) turn: String,
    /// Events that are already in the log come in compact form, so that their numbers have gaps.
    pub(super) compact: bool,
    /// Events come as JSON.
    pub(super) as_lines: bool,
}

/// An event in one of its forms.
pub(crate) enum Event {
    Message(Box<TurnEvent>),
    Line(EventLine),
}

impl EventLog for TurnLog {
    type Message = StreamTurnEventsResponse;
    type Event = Event;
    type Projection = dyn Projection;

    const SERVICE: &'static str = "agent-streaming";

    fn id(&self) -> &str {
        &self.turn
    }

    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn with_calls(&self, calls: Calls) -> Self {
        Self { calls, ..self.clone() }
    }

    async fn open(&self, after: Option<u32>) -> Result<Streaming<Self::Message>, Fault> {
        let Self { calls, turn, compact, as_lines } = self;
        let request = StreamTurnEventsRequest { turn_id: turn.clone(), after: after.unwrap_or(0), compact: *compact, as_lines: *as_lines };
        let request = calls.context.stream_request(request);
        match timeout(OPEN_TIME, calls.upstream.event_streams().stream_turn_events(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| fault_of(&status)),
            Err(_) => Err(fault(ErrorCode::Timeout, "TIMEOUT", "agent-streaming took too long")),
        }
    }

    async fn has_ended_at(&self, last: u32) -> Result<bool, Fault> {
        let Calls { context, upstream, .. } = self.calls.renewed().await?;
        let request = context.request(GetTurnRequest { turn_id: self.turn.clone() });
        let answer = upstream.agents().get_turn(request).await.map_err(|status| fault_of(&status))?;
        let turn = present(answer.into_inner().turn).map_err(|failure| *failure.0)?;
        Ok(turn.state().has_ended() && last >= turn.last_seq)
    }

    fn has_gaps(&self) -> bool {
        self.compact
    }

    fn events(message: Self::Message) -> Vec<Event> {
        let StreamTurnEventsResponse { events, lines } = message;
        events.into_iter().map(|event| Event::Message(Box::new(event))).chain(lines.into_iter().map(Event::Line)).collect()
    }

    fn position(event: &Event) -> Position {
        let (seq, is_terminal) = match event {
            Event::Message(event) => (event.seq, event.is_terminal()),
            Event::Line(line) => (line.seq, line.terminal),
        };
        Position { seq, is_reset: false, is_terminal }
    }

    fn write(projection: &mut Self::Projection, out: &mut BytesMut, event: &Event) -> Result<(), serde_json::Error> {
        match event {
            Event::Message(event) => projection.event(out, event)?,
            Event::Line(line) => projection.line(out, line),
        }
        Ok(())
    }
}
