//! Forks of projects.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use chassis::client::idempotent;
use proto::project_storage::{ForkProjectRequest, ListForksRequest, MergeProjectRequest};

use super::change::change;
use crate::{
    app::App,
    http::idempotency::{Replay, read_key},
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        params::{Params, PathParam},
        reply::{Reply, created, reply},
    },
    upstream::present,
};

pub(crate) async fn fork(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    id: PathParam,
    Json(mut request, _share): Json<ForkProjectRequest>,
) -> Reply {
    id.bind(&mut request.project_id, "project_id")?;
    read_key(&headers, &mut request.request_id, "request_id")?;
    let key = request.request_id.clone();
    let answer = app.upstream.projects().fork_project(idempotent(caller.context.request(request), &key)).await?.into_inner();
    let project = present(answer.project)?;
    Ok(Replay(answer.replayed).mark(created(&project, &format!("/api/projects/{}", project.id))?))
}

change!(merge, MergeProjectRequest, merge_project, [project_id]);

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListForksRequest>) -> Reply {
    reply(app.upstream.projects().list_forks(caller.context.request(request)).await?.get_ref())
}
