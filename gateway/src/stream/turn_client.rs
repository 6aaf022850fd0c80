//! The calls of an event stream to agent-streaming.

use std::{sync::Arc, time::Duration};

use chassis::context::Context;
use proto::{
    agent_streaming::{GetTurnRequest, StreamTurnEventsRequest, StreamTurnEventsResponse},
    error::{ErrorCode, Fault},
};
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    error::{fault, fault_of},
    identity::sessions::{Credential, Sessions},
    upstream::{Upstream, present},
};

/// How long agent-streaming may take to open a stream.
const OPEN_TIME: Duration = Duration::from_secs(10);

pub(super) type Messages = Streaming<StreamTurnEventsResponse>;

/// Calls about one turn on behalf of one caller.
#[derive(Clone)]
pub(super) struct TurnClient {
    pub(super) upstream: Arc<Upstream>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) context: Context,
    pub(super) credential: Credential,
    pub(super) turn: String,
    /// Events that are already in the log come in compact form, so that their numbers have gaps.
    pub(super) compact: bool,
    /// Events come as JSON.
    pub(super) as_lines: bool,
}

impl TurnClient {
    /// Opens the stream of the events after a number.
    pub(super) async fn open(&self, after: u32) -> Result<Messages, Fault> {
        let request = StreamTurnEventsRequest { turn_id: self.turn.clone(), after, compact: self.compact, as_lines: self.as_lines };
        let request = self.context.stream_request(request);
        match timeout(OPEN_TIME, self.upstream.event_streams().stream_turn_events(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| fault_of(&status)),
            Err(_) => Err(fault(ErrorCode::Timeout, "TIMEOUT", "agent-streaming took too long")),
        }
    }

    /// The same with a new access token, for a stream that broke.
    pub(super) async fn reopen(&self, after: u32) -> Result<Messages, Fault> {
        self.renewed().await?.open(after).await
    }

    /// A stream may outlive the access token of its request.
    async fn renewed(&self) -> Result<Self, Fault> {
        let user = self.sessions.user(&self.credential, &self.context).await?;
        Ok(Self { context: Context { user: Some(user), ..self.context.clone() }, ..self.clone() })
    }

    /// Whether the turn has ended and has no event after `last`.
    pub(super) async fn has_ended_at(&self, last: u32) -> Result<bool, Fault> {
        let request = self.renewed().await?.context.request(GetTurnRequest { turn_id: self.turn.clone() });
        let answer = self.upstream.agents().get_turn(request).await.map_err(|status| fault_of(&status))?;
        let turn = present(answer.into_inner().turn).map_err(|failure| *failure.0)?;
        Ok(turn.state().has_ended() && last >= turn.last_seq)
    }
}
