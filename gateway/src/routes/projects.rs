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
use chassis::client::idempotent;
use proto::{
    agent_streaming::ListStagedFilesRequest,
    error::ErrorCode,
    id::TurnId,
    project_storage::{
        CreatePreviewRequest, CreateProjectRequest, DeletePreviewRequest, DeleteProjectRequest, GetFileRequest, GetProjectRequest,
        GetProjectUsageRequest, ListFilesRequest, ListMessagesRequest, ListProjectsRequest, LoadProjectRequest, Project,
        SaveProjectRequest, SearchFilesRequest, UndeleteProjectRequest, UpdateProjectRequest,
    },
};
use serde::Serialize;

use super::load;
use crate::{
    app::App,
    error::{Failure, fault, invalid},
    http::{
        coding,
        etag::{has_version, if_match, precondition, put_etag},
        idempotency::{Replay, read_key},
    },
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        limits::SAVE,
        params::{Params, PathParam},
        reply::{Reply, created, reply},
    },
    upstream::present,
    web::preview_url::Label,
};

/// The deadline of a save, which may have 50 MiB.
pub(super) const SAVE_TIME: Duration = Duration::from_secs(60);

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<CreateProjectRequest>,
) -> Reply {
    read_key(&headers, &mut request.request_id, "request_id")?;
    let key = request.request_id.clone();
    let answer = app.upstream.projects().create_project(idempotent(caller.context.request(request), &key)).await?.into_inner();
    let project = present(answer.project)?;
    Ok(Replay(answer.replayed).mark(created(&project, &format!("/api/projects/{}", project.id))?))
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListProjectsRequest>) -> Reply {
    reply(app.upstream.projects().list_projects(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<GetProjectRequest>,
) -> Reply {
    let project = present(app.upstream.projects().get_project(caller.context.request(request)).await?.into_inner().project)?;
    conditional_reply(&headers, &project, &project.etag)
}

/// A resource with an ETag, or 304.
pub(super) fn conditional_reply(headers: &HeaderMap, message: &impl Serialize, etag: &str) -> Reply {
    precondition(headers, etag)?;
    let mut response = if has_version(headers, etag) { StatusCode::NOT_MODIFIED.into_response() } else { reply(message)? };
    put_etag(response.headers_mut(), etag);
    Ok(response)
}

pub(crate) async fn update(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    id: PathParam,
    Json(mut request, _share): Json<UpdateProjectRequest>,
) -> Reply {
    id.bind(&mut request.project_id, "project_id")?;
    if_match(&headers, &mut request.if_match)?;
    reply_with_etag(&present(app.upstream.projects().update_project(caller.context.request(request)).await?.into_inner().project)?)
}

fn reply_with_etag(project: &Project) -> Reply {
    let mut response = reply(project)?;
    put_etag(response.headers_mut(), &project.etag);
    Ok(response)
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(mut request): Params<DeleteProjectRequest>,
) -> Reply {
    if_match(&headers, &mut request.if_match)?;
    reply(app.upstream.projects().delete_project(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn project_usage(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<GetProjectUsageRequest>,
) -> Reply {
    reply(app.upstream.projects().get_project_usage(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn undelete(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    id: PathParam,
    Json(mut request, _share): Json<UndeleteProjectRequest>,
) -> Reply {
    id.bind(&mut request.project_id, "project_id")?;
    reply_with_etag(&present(app.upstream.projects().undelete_project(caller.context.request(request)).await?.into_inner().project)?)
}

pub(crate) async fn save(
    State(app): State<Arc<App>>,
    mut caller: Authenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<SaveProjectRequest, SAVE>,
) -> Reply {
    read_key(&headers, &mut request.request_id, "request_id")?;
    if_match(&headers, &mut request.if_match)?;
    // The client may have an ETag from a compressed response.
    request.changes.iter_mut().for_each(|change| change.etag = coding::plain_etags(&change.etag));
    caller.context.deadline = Some(Instant::now() + SAVE_TIME);
    let key = request.request_id.clone();
    let mut answer = app.upstream.projects().save_project(idempotent(caller.context.request(request), &key)).await?.into_inner();
    // The body of a repeated response is the same; only the header differs.
    let replay = Replay(std::mem::take(&mut answer.replayed));
    let mut response = reply(&answer)?;
    put_etag(response.headers_mut(), answer.project.as_ref().map_or("", |project| &project.etag));
    Ok(replay.mark(response))
}

/// The same with the project in the path.
pub(crate) async fn change(
    app: State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    id: PathParam,
    Json(mut request, share): Json<SaveProjectRequest, SAVE>,
) -> Reply {
    id.bind(&mut request.project_id, "project_id")?;
    save(app, caller, headers, Json(request, share)).await
}

pub(crate) async fn load(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<LoadProjectRequest>) -> Reply {
    if request.page_bytes != 0 || !request.page_token.is_empty() {
        return reply(app.upstream.projects().load_project(caller.context.request(request)).await?.get_ref());
    }
    load::stream(Arc::clone(&app.upstream), caller.context, request).await
}

pub(crate) async fn files(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListFilesRequest>) -> Reply {
    reply(app.upstream.projects().list_files(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn file(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<GetFileRequest>,
) -> Reply {
    let file = present(app.upstream.projects().get_file(caller.context.request(request)).await?.into_inner().file)?;
    conditional_reply(&headers, &file, &file.etag)
}

pub(crate) async fn search(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<SearchFilesRequest>) -> Reply {
    reply(app.upstream.projects().search_files(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn messages(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListMessagesRequest>) -> Reply {
    reply(app.upstream.projects().list_messages(caller.context.request(request)).await?.get_ref())
}

/// Only the gateway knows the URLs of previews, and asks agent-streaming for the files of turns. The response has the capability in the URL and
/// nowhere else.
pub(crate) async fn preview(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    id: PathParam,
    Json(mut request, _share): Json<CreatePreviewRequest>,
) -> Reply {
    id.bind(&mut request.project_id, "project_id")?;
    let turn = if request.turn_id.is_empty() { None } else { Some(turn_to_show(&app, &caller, &request).await?) };
    let mut answer = app.upstream.projects().create_preview(caller.context.request(request)).await?.into_inner();
    answer.url = app.origins.preview.url(&Label { capability: std::mem::take(&mut answer.capability), turn });
    reply(&answer)
}

/// A running turn of the project of a preview.
async fn turn_to_show(app: &App, caller: &Authenticated, request: &CreatePreviewRequest) -> Result<TurnId, Failure> {
    if !request.revision.is_empty() {
        return Err(invalid("revision", "must be empty when turn_id is given"));
    }
    if !app.origins.preview.fits_turns() {
        return Err(invalid(
            "turn_id",
            "must be empty here, because the host in BACKLOT_PREVIEW_URL has more than 5 characters before {preview}",
        ));
    }
    let turn_id = request.turn_id.clone();
    let id = turn_id.parse().map_err(|_| invalid("turn_id", "must be a UUID"))?;
    let staged = app.upstream.agents().list_staged_files(caller.context.request(ListStagedFilesRequest { turn_id })).await?.into_inner();
    if !staged.project_id.eq_ignore_ascii_case(&request.project_id) {
        return Err(fault(ErrorCode::NotFound, "TURN_NOT_FOUND", "the turn is not one of the project").into());
    }
    Ok(id)
}

pub(crate) async fn end_preview(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<DeletePreviewRequest>,
) -> Reply {
    reply(app.upstream.projects().delete_preview(caller.context.request(request)).await?.get_ref())
}
