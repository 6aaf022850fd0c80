//! The catalogue of agents.

use std::sync::Arc;

use axum::extract::State;
use proto::agent_streaming::{GetAgentRequest, ListAgentsRequest};

use crate::{
    app::App,
    auth::Signed,
    json::{Params, Reply, present, reply},
};

pub(crate) async fn list(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<ListAgentsRequest>) -> Reply {
    reply(app.upstream.agents().list_agents(signed.context.request(request)).await?.get_ref())
}

pub(crate) async fn get(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<GetAgentRequest>) -> Reply {
    reply(&present(app.upstream.agents().get_agent(signed.context.request(request)).await?.into_inner().agent)?)
}
