//! What an event stream needs of the log that it follows, and the calls for it.

use std::sync::Arc;

use bytes::BytesMut;
use chassis::context::Context;
use proto::error::Fault;
use tonic::Streaming;

use super::sse::Framing;
use crate::{
    app::App,
    identity::{
        authenticate::Authenticated,
        sessions::{Credential, Sessions},
    },
    upstream::Upstream,
};

/// A log of a service, read on behalf of one caller.
pub(crate) trait EventLog: Clone + Send + Sync + 'static {
    /// A message of the service, with events.
    type Message: Send + 'static;
    type Event: Send;
    /// How events become bytes.
    type Projection: Framing + ?Sized;

    /// The service, in texts.
    const SERVICE: &'static str;

    /// The id of what the log is about, for traces.
    fn id(&self) -> &str;

    fn calls(&self) -> &Calls;

    fn with_calls(&self, calls: Calls) -> Self;

    /// Opens the stream of the events after a number; without one it begins where the service says.
    fn open(&self, after: Option<u32>) -> impl Future<Output = Result<Streaming<Self::Message>, Fault>> + Send;

    /// Whether the log has ended and has no event after `last`.
    fn has_ended_at(&self, last: u32) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Whether numbers may be left out.
    fn has_gaps(&self) -> bool;

    fn events(message: Self::Message) -> Vec<Self::Event>;

    fn position(event: &Self::Event) -> Position;

    /// Writes one event.
    ///
    /// # Errors
    /// The event cannot be written as JSON.
    fn write(projection: &mut Self::Projection, out: &mut BytesMut, event: &Self::Event) -> Result<(), serde_json::Error>;

    /// As [`EventLog::open`], with a new access token, for a stream that broke. A stream may outlive the access token of its request.
    fn reopen(&self, after: Option<u32>) -> impl Future<Output = Result<Streaming<Self::Message>, Fault>> + Send {
        async move { self.with_calls(self.calls().renewed().await?).open(after).await }
    }
}

/// Where an event stands in its log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) seq: u32,
    /// The stream continues at this number, whatever was before.
    pub(crate) is_reset: bool,
    /// No event follows.
    pub(crate) is_terminal: bool,
}

/// Calls on behalf of one caller.
#[derive(Clone)]
pub(crate) struct Calls {
    pub(crate) upstream: Arc<Upstream>,
    sessions: Arc<Sessions>,
    pub(crate) context: Context,
    credential: Credential,
}

impl Calls {
    pub(crate) fn new(app: &App, caller: Authenticated) -> Self {
        let Authenticated { context, credential, .. } = caller;
        Self { upstream: Arc::clone(&app.upstream), sessions: Arc::clone(&app.sessions), context, credential }
    }

    /// The same with a new access token.
    pub(crate) async fn renewed(&self) -> Result<Self, Fault> {
        let user = self.sessions.user(&self.credential, &self.context).await?;
        Ok(Self { context: Context { user: Some(user), ..self.context.clone() }, ..self.clone() })
    }
}
