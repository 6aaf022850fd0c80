//! The RPCs: decode, call one function, encode.

mod decode;
mod encode;
mod provider_keys;

use std::{pin::Pin, sync::Arc};

use chassis::{clock, context::Context, error::status};
use futures::{Stream, StreamExt as _};
use proto::{
    agent_streaming::{
        self as pb, CancelTurnRequest, CancelTurnResponse, CreateProviderKeyRequest, CreateProviderKeyResponse, DeleteProviderKeyRequest,
        DeleteProviderKeyResponse, GetAgentRequest, GetAgentResponse, GetFindingsRequest, GetFindingsResponse, GetStagedFileRequest,
        GetStagedFileResponse, GetStagedTreeRequest, GetStagedTreeResponse, GetTokenUsageRequest, GetTokenUsageResponse, GetTurnRequest,
        GetTurnResponse, ListAgentsRequest, ListAgentsResponse, ListProviderKeysRequest, ListProviderKeysResponse, ListStagedFilesRequest,
        ListStagedFilesResponse, ListTurnsRequest, ListTurnsResponse, PlanTurnRequest, PlanTurnResponse, ReadStagedContentsRequest,
        ReadStagedContentsResponse, ReplaySelectionRequest, ReplaySelectionResponse, SelectAgentRequest, SelectAgentResponse,
        StartTurnRequest, StartTurnResponse, StreamTurnEventsRequest, StreamTurnEventsResponse, UpdateProviderKeyRequest,
        UpdateProviderKeyResponse, agent_streaming_service_server::AgentStreamingService,
    },
    id::TurnId,
};
use tonic::{Request, Response, Status};

use self::decode::ListAgents;
use crate::{
    app::App,
    check::revision,
    error::Error,
    intake::cancel,
    intake::list,
    intake::plan,
    intake::restriction,
    intake::select,
    intake::start::{self, StartResult},
    intake::usage,
    model::agents::{Agent, Model},
    staged,
    watch::follow::{self, FollowOptions},
    watch::tail::Frame,
};

pub(crate) struct Service(pub(crate) Arc<App>);

type Events = Pin<Box<dyn Stream<Item = Result<StreamTurnEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AgentStreamingService for Service {
    async fn start_turn(&self, request: Request<StartTurnRequest>) -> Result<Response<StartTurnResponse>, Status> {
        let context = Context::of(&request);
        let start = decode::start(request.into_inner())?;
        let StartResult { turn, replayed } = start::start(&self.0, &context, start, clock::now()).await.map_err(status)?;
        Ok(Response::new(StartTurnResponse { turn: Some(encode::turn(&turn)), replayed }))
    }

    async fn get_turn(&self, request: Request<GetTurnRequest>) -> Result<Response<GetTurnResponse>, Status> {
        let context = Context::of(&request);
        let id = turn_id(&request.get_ref().turn_id)?;
        let turn = list::get(&self.0.db, context.user()?, id).await.map_err(status)?;
        Ok(Response::new(GetTurnResponse { turn: Some(encode::turn(&turn)) }))
    }

    async fn list_turns(&self, request: Request<ListTurnsRequest>) -> Result<Response<ListTurnsResponse>, Status> {
        let context = Context::of(&request);
        let (request, size) = decode::list(&self.0.pages, context.user()?, request.into_inner())?;
        let (turns, next) = list::page(&self.0.db, &self.0.pages, request, size).await.map_err(status)?;
        let turns = turns.iter().map(encode::turn).collect();
        Ok(Response::new(ListTurnsResponse { turns, next_page_token: next.unwrap_or_default() }))
    }

    type StreamTurnEventsStream = Events;

    async fn stream_turn_events(&self, request: Request<StreamTurnEventsRequest>) -> Result<Response<Events>, Status> {
        let context = Context::of(&request);
        let id = turn_id(&request.get_ref().turn_id)?;
        let StreamTurnEventsRequest { after, compact, as_lines, .. } = request.into_inner();
        let options = FollowOptions { after, compact };
        let events = follow::follow(Arc::clone(&self.0), &context, id, options).await.map_err(status)?;
        Ok(Response::new(Box::pin(events.map(move |batch| batch.map(|frames| message(&frames, as_lines)).map_err(status)))))
    }

    async fn cancel_turn(&self, request: Request<CancelTurnRequest>) -> Result<Response<CancelTurnResponse>, Status> {
        let context = Context::of(&request);
        let (user, id) = (context.user()?, turn_id(&request.get_ref().turn_id)?);
        restriction::require_turn(&self.0, user, id).await.map_err(status)?;
        let turn = cancel::cancel(&self.0, user.id, id, clock::now()).await.map_err(status)?;
        Ok(Response::new(CancelTurnResponse { turn: Some(encode::turn(&turn)) }))
    }

    async fn list_agents(&self, request: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        let ListAgents { filter, after, size, scope } = decode::list_agents(&self.0.pages, request.into_inner())?;
        let agents = self.0.agents.now();
        let (agents, next) = agents.page(&filter, after.as_deref(), size);
        let next_page_token = next.map(|name| self.0.pages.seal(&scope, &name)).unwrap_or_default();
        Ok(Response::new(ListAgentsResponse { agents: agents.into_iter().map(agent_wire).collect(), next_page_token }))
    }

    async fn get_findings(&self, request: Request<GetFindingsRequest>) -> Result<Response<GetFindingsResponse>, Status> {
        let context = Context::of(&request);
        let (project, revision) = decode::findings(request.into_inner())?;
        let (revision, checks) = revision::check(&self.0.upstream, &context, project, revision).await.map_err(status)?;
        Ok(Response::new(GetFindingsResponse { revision, status: checks.status().into(), findings: checks.into_findings() }))
    }

    async fn list_staged_files(&self, request: Request<ListStagedFilesRequest>) -> Result<Response<ListStagedFilesResponse>, Status> {
        let context = Context::of(&request);
        let id = turn_id(&request.get_ref().turn_id)?;
        let staged = staged::read(&self.0, &context, id).await.map_err(status)?;
        let files = staged.files();
        let tree_id = staged::tree_id(&files).map_err(status)?;
        let (base_revision, seq) = (staged.base_revision().to_owned(), staged.seq);
        let files = files.into_iter().map(|file| encode::staged_file(file, None)).collect();
        let project_id = staged.project.to_string();
        Ok(Response::new(ListStagedFilesResponse { files, base_revision, seq, tree_id, project_id }))
    }

    async fn get_staged_file(&self, request: Request<GetStagedFileRequest>) -> Result<Response<GetStagedFileResponse>, Status> {
        let context = Context::of(&request);
        let (id, path) = decode::staged_file(request.into_inner())?;
        let mut staged = staged::read(&self.0, &context, id).await.map_err(status)?;
        let (file, content) = staged.file(&path).await.map_err(status)?;
        Ok(Response::new(GetStagedFileResponse { file: Some(encode::staged_file(file, content)) }))
    }

    async fn get_staged_tree(&self, request: Request<GetStagedTreeRequest>) -> Result<Response<GetStagedTreeResponse>, Status> {
        let id = turn_id(&request.get_ref().turn_id)?;
        let staged = staged::read_trusted(&self.0, id, None).await.map_err(status)?;
        let files = staged.files();
        let tree_id = staged::tree_id(&files).map_err(status)?;
        let files = files.into_iter().map(|file| encode::staged_file(file, None)).collect();
        Ok(Response::new(GetStagedTreeResponse { project_id: staged.project.to_string(), files, tree_id, seq: staged.seq }))
    }

    async fn read_staged_contents(
        &self,
        request: Request<ReadStagedContentsRequest>,
    ) -> Result<Response<ReadStagedContentsResponse>, Status> {
        let (id, request) = decode::staged_contents(request.into_inner())?;
        let mut staged = staged::read_trusted(&self.0, id, Some(request.seq)).await.map_err(status)?;
        let contents = staged.contents(&request.blob_ids).await.map_err(status)?;
        Ok(Response::new(ReadStagedContentsResponse { contents }))
    }

    async fn get_agent(&self, request: Request<GetAgentRequest>) -> Result<Response<GetAgentResponse>, Status> {
        let name = request.into_inner().name;
        let agents = self.0.agents.now();
        let agent = agents.get(&name).ok_or_else(|| status(Error::agent_not_found(&name)))?;
        Ok(Response::new(GetAgentResponse { agent: Some(agent_wire(agent)) }))
    }

    async fn select_agent(&self, request: Request<SelectAgentRequest>) -> Result<Response<SelectAgentResponse>, Status> {
        let (agent, prompt) = decode::select_agent(request.into_inner())?;
        let selection = select::select_agent(&self.0.agents.now(), (&agent, &prompt)).map_err(status)?;
        Ok(Response::new(SelectAgentResponse { selection: Some(selection) }))
    }

    async fn plan_turn(&self, request: Request<PlanTurnRequest>) -> Result<Response<PlanTurnResponse>, Status> {
        let context = Context::of(&request);
        let request = decode::plan(request.into_inner())?;
        let plan::Planned { selected, revision, event } = plan::plan(&self.0, &context, request).await.map_err(status)?;
        let (selection, model) = (Some(selected.selection), selected.model);
        Ok(Response::new(PlanTurnResponse { selection, model, revision, context: Some(event) }))
    }

    async fn get_token_usage(&self, request: Request<GetTokenUsageRequest>) -> Result<Response<GetTokenUsageResponse>, Status> {
        let context = Context::of(&request);
        let user = context.user()?;
        restriction::require_all_projects(user).map_err(status)?;
        let sums = usage::read(&self.0.db, user.id, clock::now()).await.map_err(status)?;
        Ok(Response::new(encode::token_usage(&sums)))
    }

    async fn create_provider_key(&self, request: Request<CreateProviderKeyRequest>) -> Result<Response<CreateProviderKeyResponse>, Status> {
        provider_keys::create(&self.0, request).await.map(Response::new).map_err(status)
    }

    async fn list_provider_keys(&self, request: Request<ListProviderKeysRequest>) -> Result<Response<ListProviderKeysResponse>, Status> {
        provider_keys::list(&self.0, request).await.map(Response::new).map_err(status)
    }

    async fn update_provider_key(&self, request: Request<UpdateProviderKeyRequest>) -> Result<Response<UpdateProviderKeyResponse>, Status> {
        provider_keys::update(&self.0, request).await.map(Response::new).map_err(status)
    }

    async fn delete_provider_key(&self, request: Request<DeleteProviderKeyRequest>) -> Result<Response<DeleteProviderKeyResponse>, Status> {
        provider_keys::delete(&self.0, request).await.map(Response::new).map_err(status)
    }

    async fn replay_selection(&self, request: Request<ReplaySelectionRequest>) -> Result<Response<ReplaySelectionResponse>, Status> {
        let id = turn_id(&request.get_ref().turn_id)?;
        let (recorded, replayed) = select::replay(&self.0.db, id).await.map_err(status)?;
        let is_same = recorded == replayed;
        Ok(Response::new(ReplaySelectionResponse { recorded: Some(recorded), replayed: Some(replayed), is_same }))
    }
}

fn turn_id(text: &str) -> Result<TurnId, Status> {
    decode::turn_id(text)?.ok_or_else(|| status(Error::TurnNotFound))
}

fn message(frames: &[Arc<Frame>], as_lines: bool) -> StreamTurnEventsResponse {
    if as_lines {
        return StreamTurnEventsResponse { events: Vec::new(), lines: frames.iter().map(|frame| frame.line()).collect() };
    }
    StreamTurnEventsResponse { events: frames.iter().map(|frame| frame.event.clone()).collect(), lines: Vec::new() }
}

fn agent_wire(agent: &Agent) -> pb::Agent {
    pb::Agent {
        name: agent.name.clone(),
        description: agent.description.clone(),
        model: match &agent.model {
            Model::Default => String::new(),
            Model::Small => "small".to_owned(),
            Model::Large => "large".to_owned(),
            Model::Named(name) => name.clone(),
        },
        tools: agent.tools.clone(),
        category: agent.category.clone(),
        tags: agent.tags.clone(),
        examples: agent.examples.clone(),
        version: agent.version.clone(),
    }
}
