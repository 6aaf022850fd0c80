//! What an account uses: its projects, and the tokens of its turns.

use std::sync::Arc;

use axum::extract::State;
use proto::{
    agent_streaming::{GetTokenUsageRequest, GetTokenUsageResponse},
    project_storage::{GetUsageRequest, GetUsageResponse},
};
use serde::Serialize;

use crate::{
    app::App,
    identity::authenticate::Authenticated,
    json::{
        params::Params,
        reply::{Reply, reply},
    },
};

/// The answers of project-storage and of agent-streaming as one object.
#[derive(Serialize)]
struct AccountUsage {
    #[serde(flatten)]
    projects: GetUsageResponse,
    tokens: GetTokenUsageResponse,
}

pub(crate) async fn account(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetUsageRequest>) -> Reply {
    let (mut projects, mut agents) = (app.upstream.projects(), app.upstream.agents());
    let usage = projects.get_usage(caller.context.request(request));
    let tokens = agents.get_token_usage(caller.context.request(GetTokenUsageRequest {}));
    let (usage, tokens) = tokio::try_join!(usage, tokens)?;
    reply(&AccountUsage { projects: usage.into_inner(), tokens: tokens.into_inner() })
}

pub(crate) async fn tokens(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetTokenUsageRequest>) -> Reply {
    reply(app.upstream.agents().get_token_usage(caller.context.request(request)).await?.get_ref())
}
