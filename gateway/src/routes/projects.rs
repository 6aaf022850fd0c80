//! Projects, their files, history and messages.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
};
use chassis::client::keyed;
use proto::project_storage::{
    CreatePreviewRequest, CreateProjectRequest, DeletePreviewRequest, DeleteProjectRequest, GetFileRequest, GetProjectRequest,
    ListFilesRequest, ListMessagesRequest, ListProjectsRequest, ListRevisionsRequest, LoadProjectRequest, Project, SaveProjectRequest,
    UpdateProjectRequest,
};
use serde::Serialize;

use super::{Replayed, has_version, idempotency, if_match, precondition, put_etag, whole};
use crate::{
    app::App,
    auth::Signed,
    coding,
    json::{Json, Params, Reply, SAVE, Target, created, present, reply},
};

/// A save of 50 MiB takes longer than an ordinary call may.
pub(super) const SAVE_TIME: Duration = Duration::from_secs(60);

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Json(mut request, _share): Json<CreateProjectRequest>,
) -> Reply {
    idempotency(&headers, &mut request.request_id, "request_id")?;
    let key = request.request_id.clone();
    let answer = app.upstream.projects().create_project(keyed(signed.context.request(request), &key)).await?.into_inner();
    let project = present(answer.project)?;
    Ok(Replayed(answer.replayed).tell(created(&project, &format!("/api/projects/{}", project.id))?))
}

pub(crate) async fn list(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<ListProjectsRequest>) -> Reply {
    reply(app.upstream.projects().list_projects(signed.context.request(request)).await?.get_ref())
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Params(request): Params<GetProjectRequest>,
) -> Reply {
    let project = present(app.upstream.projects().get_project(signed.context.request(request)).await?.into_inner().project)?;
    read(&headers, &project, &project.etag)
}

/// Something with an ETag, or that the client has it already.
fn read(headers: &HeaderMap, message: &impl Serialize, etag: &str) -> Reply {
    precondition(headers, etag)?;
    let mut response = if has_version(headers, etag) { StatusCode::NOT_MODIFIED.into_response() } else { reply(message)? };
    put_etag(response.headers_mut(), etag);
    Ok(response)
}

pub(crate) async fn update(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    target: Target,
    Json(mut request, _share): Json<UpdateProjectRequest>,
) -> Reply {
    target.bind(&mut request.project_id, "project_id")?;
    if_match(&headers, &mut request.if_match)?;
    versioned(&present(app.upstream.projects().update_project(signed.context.request(request)).await?.into_inner().project)?)
}

fn versioned(project: &Project) -> Reply {
    let mut response = reply(project)?;
    put_etag(response.headers_mut(), &project.etag);
    Ok(response)
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Params(mut request): Params<DeleteProjectRequest>,
) -> Reply {
    if_match(&headers, &mut request.if_match)?;
    reply(app.upstream.projects().delete_project(signed.context.request(request)).await?.get_ref())
}

pub(crate) async fn save(
    State(app): State<Arc<App>>,
    mut signed: Signed,
    headers: HeaderMap,
    Json(mut request, _share): Json<SaveProjectRequest, SAVE>,
) -> Reply {
    idempotency(&headers, &mut request.request_id, "request_id")?;
    if_match(&headers, &mut request.if_match)?;
    // A file's ETag may come from the header of a coded answer.
    request.changes.iter_mut().for_each(|change| change.etag = coding::plain(&change.etag));
    signed.context.deadline = Some(Instant::now() + SAVE_TIME);
    let key = request.request_id.clone();
    let mut answer = app.upstream.projects().save_project(keyed(signed.context.request(request), &key)).await?.into_inner();
    // A repeat is the same answer; the header alone tells.
    let replayed = Replayed(std::mem::take(&mut answer.replayed));
    let mut response = reply(&answer)?;
    put_etag(response.headers_mut(), answer.project.as_ref().map_or("", |project| &project.etag));
    Ok(replayed.tell(response))
}

/// The same with the project in the path.
pub(crate) async fn change(
    app: State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    target: Target,
    Json(mut request, share): Json<SaveProjectRequest, SAVE>,
) -> Reply {
    target.bind(&mut request.project_id, "project_id")?;
    save(app, signed, headers, Json(request, share)).await
}

pub(crate) async fn load(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<LoadProjectRequest>) -> Reply {
    if request.page_bytes != 0 || !request.page_token.is_empty() {
        return reply(app.upstream.projects().load_project(signed.context.request(request)).await?.get_ref());
    }
    whole::load(app, signed.context, request).await
}

pub(crate) async fn files(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<ListFilesRequest>) -> Reply {
    reply(app.upstream.projects().list_files(signed.context.request(request)).await?.get_ref())
}

pub(crate) async fn file(
    State(app): State<Arc<App>>,
    signed: Signed,
    headers: HeaderMap,
    Params(request): Params<GetFileRequest>,
) -> Reply {
    let file = present(app.upstream.projects().get_file(signed.context.request(request)).await?.into_inner().file)?;
    read(&headers, &file, &file.etag)
}

pub(crate) async fn revisions(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<ListRevisionsRequest>) -> Reply {
    reply(app.upstream.projects().list_revisions(signed.context.request(request)).await?.get_ref())
}

pub(crate) async fn messages(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<ListMessagesRequest>) -> Reply {
    reply(app.upstream.projects().list_messages(signed.context.request(request)).await?.get_ref())
}

/// Only the gateway knows how a preview is called from outside; the capability is part of that URL and of nothing else.
pub(crate) async fn preview(
    State(app): State<Arc<App>>,
    signed: Signed,
    target: Target,
    Json(mut request, _share): Json<CreatePreviewRequest>,
) -> Reply {
    target.bind(&mut request.project_id, "project_id")?;
    let mut answer = app.upstream.projects().create_preview(signed.context.request(request)).await?.into_inner();
    answer.url = app.origins.preview.url(&std::mem::take(&mut answer.capability));
    reply(&answer)
}

pub(crate) async fn end_preview(State(app): State<Arc<App>>, signed: Signed, Params(request): Params<DeletePreviewRequest>) -> Reply {
    reply(app.upstream.projects().delete_preview(signed.context.request(request)).await?.get_ref())
}
