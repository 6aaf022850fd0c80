//! The catalogue of agents.

use std::sync::Arc;

use axum::extract::State;
use proto::agent_streaming::{GetAgentRequest, ListAgentsRequest};

use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{
        params::Params,
        reply::{Reply, reply},
    },
    upstream::present,
};

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListAgentsRequest>) -> Reply {
    reply(app.upstream.agents().list_agents(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn get(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetAgentRequest>) -> Reply {
    reply(&present(app.upstream.agents().get_agent(caller.context.request(request)).await?.into_inner().agent)?)
}
