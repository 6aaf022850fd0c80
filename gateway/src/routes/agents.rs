//! The catalogue of agents.

use std::sync::Arc;

use axum::extract::State;
use proto::agent_streaming::{GetAgentRequest, ListAgentsRequest, PlanTurnRequest, SelectAgentRequest};

use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        limits::PROMPT,
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

/// Which agent a turn would get, and why.
pub(crate) async fn select(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<SelectAgentRequest, PROMPT>,
) -> Reply {
    reply(&present(app.upstream.agents().select_agent(caller.context.request(request)).await?.into_inner().selection)?)
}

/// What a turn would give to the model.
pub(crate) async fn plan(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Json(request, _share): Json<PlanTurnRequest, PROMPT>,
) -> Reply {
    reply(app.upstream.agents().plan_turn(caller.context.request(request)).await?.get_ref())
}
