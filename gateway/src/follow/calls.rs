//! What a viewer asks of agent-streaming.

use std::{sync::Arc, time::Duration};

use chassis::context::Context;
use proto::{
    agent_streaming::{GetTurnRequest, StreamTurnEventsRequest, StreamTurnEventsResponse, TurnState},
    error::{ErrorCode, Fault},
};
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    app::App,
    auth::Credential,
    error::{fault, fault_of},
    json::present,
};

/// How long agent-streaming may take to open a stream.
const OPEN_TIME: Duration = Duration::from_secs(10);

pub(super) type Events = Streaming<StreamTurnEventsResponse>;

/// Whose calls they are, and about which turn.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) app: Arc<App>,
    pub(super) context: Context,
    pub(super) credential: Credential,
    pub(super) turn: String,
    /// What is in the log already comes in short form, so that numbers have gaps.
    pub(super) compact: bool,
    /// Events come as JSON.
    pub(super) as_lines: bool,
}

impl Calls {
    pub(super) async fn open(&self, after: u32) -> Result<Events, Fault> {
        let request = StreamTurnEventsRequest { turn_id: self.turn.clone(), after, compact: self.compact, as_lines: self.as_lines };
        let request = self.context.stream_request(request);
        match timeout(OPEN_TIME, self.app.upstream.viewers().stream_turn_events(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| fault_of(&status)),
            Err(_) => Err(fault(ErrorCode::Timeout, "TIMEOUT", "agent-streaming took too long")),
        }
    }

    /// The same for a stream that broke, with a fresh token.
    pub(super) async fn reopen(&self, after: u32) -> Result<Events, Fault> {
        self.renewed().await?.open(after).await
    }

    /// A stream may be older than the token that it was opened with.
    async fn renewed(&self) -> Result<Self, Fault> {
        let user = self.app.sessions.user(&self.credential, &self.context).await?;
        Ok(Self { context: Context { user: Some(user), ..self.context.clone() }, ..self.clone() })
    }

    /// Whether the turn is over and `last` was its last event.
    pub(super) async fn is_over(&self, last: u32) -> Result<bool, Fault> {
        let request = self.renewed().await?.context.request(GetTurnRequest { turn_id: self.turn.clone() });
        let answer = self.app.upstream.agents().get_turn(request).await.map_err(|status| fault_of(&status))?;
        let turn = present(answer.into_inner().turn).map_err(|failure| *failure.0)?;
        let ended = [TurnState::Completed, TurnState::Failed, TurnState::Cancelled, TurnState::Conflicted].contains(&turn.state());
        Ok(ended && last >= turn.last_seq)
    }
}
