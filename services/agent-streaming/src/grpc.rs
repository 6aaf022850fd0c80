//! The RPCs: decode, call one function, encode.

mod decode;
mod encode;

use std::{pin::Pin, sync::Arc};

use chassis::{clock, context::Context, error::status};
use futures::{Stream, StreamExt as _};
use proto::{
    agent_streaming::{
        self as pb, CancelTurnRequest, CancelTurnResponse, GetAgentRequest, GetAgentResponse, GetFindingsRequest, GetFindingsResponse,
        GetTurnRequest, GetTurnResponse, ListAgentsRequest, ListAgentsResponse, ListTurnsRequest, ListTurnsResponse, StartTurnRequest,
        StartTurnResponse, StreamTurnEventsRequest, StreamTurnEventsResponse, agent_streaming_service_server::AgentStreamingService,
    },
    id::TurnId,
};
use tonic::{Request, Response, Status};

use crate::{
    app::App,
    check::revision,
    error::Error,
    intake::cancel,
    intake::list,
    intake::start::{self, StartResult},
    model::agents::Agent,
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
        let user = Context::of(&request).user()?.id;
        let id = turn_id(&request.get_ref().turn_id)?;
        let turn = list::get(&self.0.db, user, id).await.map_err(status)?;
        Ok(Response::new(GetTurnResponse { turn: Some(encode::turn(&turn)) }))
    }

    async fn list_turns(&self, request: Request<ListTurnsRequest>) -> Result<Response<ListTurnsResponse>, Status> {
        let user = Context::of(&request).user()?.id;
        let (request, size) = decode::list(&self.0.pages, user, request.into_inner())?;
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
        let user = Context::of(&request).user()?.id;
        let id = turn_id(&request.get_ref().turn_id)?;
        let turn = cancel::cancel(&self.0, user, id, clock::now()).await.map_err(status)?;
        Ok(Response::new(CancelTurnResponse { turn: Some(encode::turn(&turn)) }))
    }

    async fn list_agents(&self, request: Request<ListAgentsRequest>) -> Result<Response<ListAgentsResponse>, Status> {
        let (after, size) = decode::list_agents(&self.0.pages, &request.into_inner())?;
        let (agents, next) = self.0.agents.page(after.as_deref(), size);
        let next_page_token = next.map(|name| self.0.pages.seal(decode::AGENTS_SCOPE, &name)).unwrap_or_default();
        Ok(Response::new(ListAgentsResponse { agents: agents.into_iter().map(agent_wire).collect(), next_page_token }))
    }

    async fn get_findings(&self, request: Request<GetFindingsRequest>) -> Result<Response<GetFindingsResponse>, Status> {
        let context = Context::of(&request);
        let (project, revision) = decode::findings(request.into_inner())?;
        let (revision, checks) = revision::check(&self.0.upstream, &context, project, revision).await.map_err(status)?;
        Ok(Response::new(GetFindingsResponse { revision, status: checks.status().into(), findings: checks.into_findings() }))
    }

    async fn get_agent(&self, request: Request<GetAgentRequest>) -> Result<Response<GetAgentResponse>, Status> {
        let name = request.into_inner().name;
        let agent = self.0.agents.get(&name).ok_or_else(|| status(Error::agent_not_found(&name)))?;
        Ok(Response::new(GetAgentResponse { agent: Some(agent_wire(agent)) }))
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
        model: agent.model.clone().unwrap_or_default(),
        tools: agent.tools.clone(),
    }
}
