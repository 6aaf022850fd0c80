//! The events of one project, read from project-storage.

use bytes::BytesMut;
use proto::{
    error::{ErrorCode, Fault},
    project_storage::{ProjectEvent, WatchProjectRequest, WatchProjectResponse, project_event::Kind},
};
use tokio::time::timeout;
use tonic::Streaming;

use super::{
    event_log::{Calls, EventLog, Position},
    sse::Format,
    turn_client::OPEN_TIME,
};
use crate::error::{fault, fault_of};

/// The log of one project. It has no end.
#[derive(Clone)]
pub(crate) struct ProjectLog {
    pub(super) calls: Calls,
    pub(super) project: String,
}

impl EventLog for ProjectLog {
    type Message = WatchProjectResponse;
    type Event = ProjectEvent;
    type Projection = Format;

    const SERVICE: &'static str = "project-storage";

    fn id(&self) -> &str {
        &self.project
    }

    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn with_calls(&self, calls: Calls) -> Self {
        Self { calls, ..self.clone() }
    }

    async fn open(&self, after: Option<u32>) -> Result<Streaming<Self::Message>, Fault> {
        let request = WatchProjectRequest { project_id: self.project.clone(), after };
        let request = self.calls.context.stream_request(request);
        match timeout(OPEN_TIME, self.calls.upstream.project_event_streams().watch_project(request)).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| fault_of(&status)),
            Err(_) => Err(fault(ErrorCode::Timeout, "TIMEOUT", "project-storage took too long")),
        }
    }

    async fn has_ended_at(&self, _last: u32) -> Result<bool, Fault> {
        Ok(false)
    }

    fn has_gaps(&self) -> bool {
        false
    }

    fn events(message: Self::Message) -> Vec<ProjectEvent> {
        message.events
    }

    fn position(event: &ProjectEvent) -> Position {
        Position { seq: event.seq, is_reset: matches!(event.kind, Some(Kind::HeadReset(_))), is_terminal: false }
    }

    fn write(format: &mut Format, out: &mut BytesMut, event: &ProjectEvent) -> Result<(), serde_json::Error> {
        format.put(out, event.seq, event.to_json()?.as_bytes());
        Ok(())
    }
}
