//! Turns that could not be merged: look, and resolve.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, http::HeaderMap};
use proto::project_storage::{GetConflictRequest, ResolveConflictRequest};

use super::{Replayed, idempotency, if_match, projects::SAVE_TIME, put_etag};
use crate::{
    app::App,
    auth::Signed,
    json::{Json, Params, Reply, SAVE, Targets, reply},
};

pub(crate) async fn get(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<GetConflictRequest>) -> Reply {
    reply(app.upstream.projects().get_conflict(signed.context.request(request)).await?.get_ref())
}

pub(crate) async fn resolve(
    State(app): State<Arc<App>>,
    mut signed: Signed,
    headers: HeaderMap,
    targets: Targets,
    Json(mut request, _share): Json<ResolveConflictRequest, SAVE>,
) -> Reply {
    targets.bind(&mut request.project_id, "project_id")?;
    targets.bind(&mut request.turn_id, "turn_id")?;
    idempotency(&headers, &mut request.request_id, "request_id")?;
    if_match(&headers, &mut request.if_match)?;
    signed.context.deadline = Some(Instant::now() + SAVE_TIME);
    let mut answer = app.upstream.projects().resolve_conflict(signed.context.request(request)).await?.into_inner();
    let replayed = Replayed(std::mem::take(&mut answer.replayed));
    let mut response = reply(&answer)?;
    put_etag(response.headers_mut(), answer.project.as_ref().map_or("", |project| &project.etag));
    Ok(replayed.tell(response))
}
