//! A scripted agent-streaming. Each stream that is opened runs the next list of steps.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use chassis::{task, testing::listener};
use proto::agent_streaming::{
    self as pb, StreamTurnEventsResponse, TextDelta, Turn, TurnCompleted, TurnEvent, TurnState, agent_streaming_service_server::*,
    turn_event::Kind,
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status};

pub(crate) const TURN: &str = "01890000-0000-7000-8000-000000000001";
/// The script's turn has this many events; the last one is terminal.
pub(crate) const LAST: u32 = 10;

/// One step of a stream.
#[derive(Clone)]
pub(crate) enum Step {
    /// These events in one message.
    Events(RangeInclusive<u32>),
    /// The stream fails.
    Fail(Code),
    /// An endless sequence of large events.
    Flood,
    /// The stream stays open and sends nothing more.
    Hang,
}

#[derive(Default)]
pub(crate) struct Script {
    /// The steps of the next streams. A stream without steps hangs.
    streams: Mutex<VecDeque<Vec<Step>>>,
    /// The cursors that streams were opened with.
    cursors: Mutex<Vec<u32>>,
    starts: Mutex<Vec<pb::StartTurnRequest>>,
    open: AtomicUsize,
    /// The number of large events so far.
    floods: AtomicUsize,
    /// The turns that ListTurns returns.
    turns: Mutex<Vec<Turn>>,
    /// The requests of ListTurns.
    lists: Mutex<Vec<pb::ListTurnsRequest>>,
    cancels: Mutex<Vec<String>>,
    /// The refusal of the next start or cancel.
    refusal: Mutex<Option<proto::error::Fault>>,
    /// The number of the last event in GetTurn; 0 while the turn runs.
    ended_at: AtomicUsize,
}

impl Script {
    pub(crate) fn cursors(&self) -> Vec<u32> {
        self.cursors.lock().unwrap().clone()
    }

    pub(crate) fn starts(&self) -> Vec<pb::StartTurnRequest> {
        self.starts.lock().unwrap().clone()
    }

    pub(crate) fn set_turns(&self, turns: impl IntoIterator<Item = Turn>) {
        *self.turns.lock().unwrap() = turns.into_iter().collect();
    }

    pub(crate) fn lists(&self) -> Vec<pb::ListTurnsRequest> {
        self.lists.lock().unwrap().clone()
    }

    pub(crate) fn cancels(&self) -> Vec<String> {
        self.cancels.lock().unwrap().clone()
    }

    pub(crate) fn refuse(&self, fault: proto::error::Fault) {
        *self.refusal.lock().unwrap() = Some(fault);
    }

    fn refused(&self) -> Result<(), Status> {
        self.refusal.lock().unwrap().take().map_or(Ok(()), |fault| Err(fault.into()))
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(crate) fn floods(&self) -> usize {
        self.floods.load(Ordering::SeqCst)
    }

    pub(crate) fn end_at(&self, seq: u32) {
        self.ended_at.store(seq as usize, Ordering::SeqCst);
    }
}

/// Starts a scripted agent-streaming. Returns its URL.
pub(crate) async fn play(streams: Vec<Vec<Step>>) -> (Arc<Script>, String) {
    let script = Arc::new(Script { streams: Mutex::new(streams.into()), ..Script::default() });
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = AgentStreamingServiceServer::new(ScriptedAgent(Arc::clone(&script)));
    task::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    (script, url)
}

pub(crate) fn event(seq: u32) -> TurnEvent {
    let kind = match seq {
        LAST => Kind::TurnCompleted(TurnCompleted { revision: String::new() }),
        _ => Kind::TextDelta(TextDelta { block_id: "t1".into(), text: format!("word {seq} ") }),
    };
    TurnEvent { seq, turn_id: TURN.into(), kind: Some(kind), ..TurnEvent::default() }
}

struct ScriptedAgent(Arc<Script>);

impl ScriptedAgent {
    fn turn(&self) -> Turn {
        let ended = u32::try_from(self.0.ended_at.load(Ordering::SeqCst)).unwrap();
        let state = if ended == 0 { TurnState::Running } else { TurnState::Completed };
        Turn { id: TURN.into(), state: state.into(), last_seq: ended, ..Turn::default() }
    }
}

/// Counts an open stream.
struct OpenStream(Arc<Script>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<StreamTurnEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AgentStreamingService for ScriptedAgent {
    type StreamTurnEventsStream = Events;

    async fn start_turn(&self, request: Request<pb::StartTurnRequest>) -> Result<Response<pb::StartTurnResponse>, Status> {
        self.0.refused()?;
        self.0.starts.lock().unwrap().push(request.into_inner());
        Ok(Response::new(pb::StartTurnResponse { turn: Some(self.turn()), replayed: false }))
    }

    async fn get_turn(&self, _: Request<pb::GetTurnRequest>) -> Result<Response<pb::GetTurnResponse>, Status> {
        Ok(Response::new(pb::GetTurnResponse { turn: Some(self.turn()) }))
    }

    async fn list_turns(&self, request: Request<pb::ListTurnsRequest>) -> Result<Response<pb::ListTurnsResponse>, Status> {
        let request = request.into_inner();
        let of_message = |turn: &Turn| request.client_message_id.is_empty() || request.client_message_id == turn.client_message_id;
        let is_open = |turn: &Turn| !request.open_only || turn.state() == TurnState::Running;
        let turns = self.0.turns.lock().unwrap().iter().filter(|turn| of_message(turn) && is_open(turn)).cloned().collect();
        self.0.lists.lock().unwrap().push(request);
        Ok(Response::new(pb::ListTurnsResponse { turns, next_page_token: String::new() }))
    }

    async fn stream_turn_events(&self, request: Request<pb::StreamTurnEventsRequest>) -> Result<Response<Events>, Status> {
        self.0.cursors.lock().unwrap().push(request.get_ref().after);
        let steps = self.0.streams.lock().unwrap().pop_front().unwrap_or_else(|| vec![Step::Hang]);
        if let [Step::Fail(code)] = steps[..] {
            return Err(Status::from(refusal(code)));
        }
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let open = OpenStream(Arc::clone(&self.0));
        let (sender, receiver) = mpsc::channel(1);
        let script = Arc::clone(&self.0);
        task::spawn(async move {
            for step in steps {
                if matches!(step, Step::Flood) {
                    return flood(&sender, &script.floods).await;
                }
                let message = match step {
                    Step::Events(range) => Ok(StreamTurnEventsResponse { events: range.map(event).collect(), ..Default::default() }),
                    Step::Fail(code) => Err(Status::from(refusal(code))),
                    Step::Hang | Step::Flood => return sender.closed().await,
                };
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver).map(move |message| {
            let _open = &open;
            message
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn cancel_turn(&self, request: Request<pb::CancelTurnRequest>) -> Result<Response<pb::CancelTurnResponse>, Status> {
        self.0.refused()?;
        self.0.cancels.lock().unwrap().push(request.into_inner().turn_id);
        Ok(Response::new(pb::CancelTurnResponse { turn: Some(self.turn()) }))
    }

    async fn list_agents(&self, _: Request<pb::ListAgentsRequest>) -> Result<Response<pb::ListAgentsResponse>, Status> {
        Ok(Response::new(pb::ListAgentsResponse::default()))
    }

    async fn select_agent(&self, _: Request<pb::SelectAgentRequest>) -> Result<Response<pb::SelectAgentResponse>, Status> {
        Ok(Response::new(pb::SelectAgentResponse::default()))
    }

    async fn plan_turn(&self, _: Request<pb::PlanTurnRequest>) -> Result<Response<pb::PlanTurnResponse>, Status> {
        Ok(Response::new(pb::PlanTurnResponse::default()))
    }

    async fn create_provider_key(
        &self,
        _: Request<pb::CreateProviderKeyRequest>,
    ) -> Result<Response<pb::CreateProviderKeyResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn list_provider_keys(&self, _: Request<pb::ListProviderKeysRequest>) -> Result<Response<pb::ListProviderKeysResponse>, Status> {
        Ok(Response::new(pb::ListProviderKeysResponse::default()))
    }

    async fn update_provider_key(
        &self,
        _: Request<pb::UpdateProviderKeyRequest>,
    ) -> Result<Response<pb::UpdateProviderKeyResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn delete_provider_key(
        &self,
        _: Request<pb::DeleteProviderKeyRequest>,
    ) -> Result<Response<pb::DeleteProviderKeyResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn get_token_usage(&self, _: Request<pb::GetTokenUsageRequest>) -> Result<Response<pb::GetTokenUsageResponse>, Status> {
        Ok(Response::new(pb::GetTokenUsageResponse::default()))
    }

    async fn replay_selection(&self, _: Request<pb::ReplaySelectionRequest>) -> Result<Response<pb::ReplaySelectionResponse>, Status> {
        Ok(Response::new(pb::ReplaySelectionResponse::default()))
    }

    async fn get_findings(&self, _: Request<pb::GetFindingsRequest>) -> Result<Response<pb::GetFindingsResponse>, Status> {
        Ok(Response::new(pb::GetFindingsResponse::default()))
    }

    async fn list_staged_files(&self, _: Request<pb::ListStagedFilesRequest>) -> Result<Response<pb::ListStagedFilesResponse>, Status> {
        Ok(Response::new(pb::ListStagedFilesResponse::default()))
    }

    async fn get_staged_file(&self, _: Request<pb::GetStagedFileRequest>) -> Result<Response<pb::GetStagedFileResponse>, Status> {
        Ok(Response::new(pb::GetStagedFileResponse::default()))
    }

    async fn get_staged_tree(&self, _: Request<pb::GetStagedTreeRequest>) -> Result<Response<pb::GetStagedTreeResponse>, Status> {
        Ok(Response::new(pb::GetStagedTreeResponse::default()))
    }

    async fn read_staged_contents(
        &self,
        _: Request<pb::ReadStagedContentsRequest>,
    ) -> Result<Response<pb::ReadStagedContentsResponse>, Status> {
        Ok(Response::new(pb::ReadStagedContentsResponse::default()))
    }

    async fn get_agent(&self, _: Request<pb::GetAgentRequest>) -> Result<Response<pb::GetAgentResponse>, Status> {
        Ok(Response::new(pb::GetAgentResponse::default()))
    }
}

async fn flood(sender: &mpsc::Sender<Result<StreamTurnEventsResponse, Status>>, floods: &AtomicUsize) {
    for seq in 1.. {
        let kind = Kind::TextDelta(TextDelta { block_id: "t1".into(), text: "x".repeat(32 * 1024) });
        let event = TurnEvent { seq, turn_id: TURN.into(), kind: Some(kind), ..TurnEvent::default() };
        if sender.send(Ok(StreamTurnEventsResponse { events: vec![event], ..Default::default() })).await.is_err() {
            return;
        }
        floods.fetch_add(1, Ordering::SeqCst);
    }
}

fn refusal(code: Code) -> proto::error::Fault {
    let reason = match code {
        Code::NotFound => "TURN_NOT_FOUND",
        Code::InvalidArgument => "CURSOR_AHEAD",
        Code::Unavailable => "DRAINING",
        Code::ResourceExhausted => "SLOW_READER",
        _ => "INTERNAL",
    };
    proto::error::Fault::new("agent-streaming", proto::error::ErrorCode::from_grpc(code), reason, "refused by the script")
}
