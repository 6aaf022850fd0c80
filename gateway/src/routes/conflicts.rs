//! Conflicts: list, read and resolve.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, http::HeaderMap};
use proto::project_storage::{GetConflictRequest, ListConflictsRequest, ResolveConflictRequest};

use super::projects::SAVE_TIME;
use crate::{
    app::App,
    http::{
        etag::{if_match, put_etag},
        idempotency::{Replay, read_key},
    },
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        limits::SAVE,
        params::{Params, PathParams},
        reply::{Reply, reply},
    },
};

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListConflictsRequest>) -> Reply {
    reply(app.upstream.projects().list_conflicts(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn get(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetConflictRequest>) -> Reply {
    reply(app.upstream.projects().get_conflict(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn resolve(
    State(app): State<Arc<App>>,
    mut caller: Authenticated,
    headers: HeaderMap,
    ids: PathParams,
    Json(mut request, _share): Json<ResolveConflictRequest, SAVE>,
) -> Reply {
    ids.bind(&mut request.project_id, "project_id")?;
    ids.bind(&mut request.turn_id, "turn_id")?;
    read_key(&headers, &mut request.request_id, "request_id")?;
    if_match(&headers, &mut request.if_match)?;
    caller.context.deadline = Some(Instant::now() + SAVE_TIME);
    let mut answer = app.upstream.projects().resolve_conflict(caller.context.request(request)).await?.into_inner();
    let replay = Replay(std::mem::take(&mut answer.replayed));
    let mut response = reply(&answer)?;
    put_etag(response.headers_mut(), answer.project.as_ref().map_or("", |project| &project.etag));
    Ok(replay.mark(response))
}
