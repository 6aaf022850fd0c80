//! Templates: publishing, finding and using them, and their reviews.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, http::HeaderMap};
use chassis::client::idempotent;
use proto::project_storage::{
    DeleteTemplateReviewRequest, GetTemplateFileRequest, GetTemplateRequest, ListTemplateReviewsRequest, ListTemplatesRequest,
    PublishTemplateRequest, RateTemplateRequest, ReportTemplateRequest, UnpublishTemplateRequest, UseTemplateRequest,
};

use super::projects::SAVE_TIME;
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

pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    mut caller: Authenticated,
    headers: HeaderMap,
    Json(mut request, _share): Json<PublishTemplateRequest>,
) -> Reply {
    read_key(&headers, &mut request.request_id, "request_id")?;
    caller.context.deadline = Some(Instant::now() + SAVE_TIME);
    let key = request.request_id.clone();
    let answer = app.upstream.projects().publish_template(idempotent(caller.context.request(request), &key)).await?.into_inner();
    let template = present(answer.template)?;
    Ok(Replay(answer.replayed).mark(created(&template, &format!("/api/templates/{}", template.id))?))
}

pub(crate) async fn list(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<ListTemplatesRequest>) -> Reply {
    reply(app.upstream.projects().list_templates(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn get(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetTemplateRequest>) -> Reply {
    reply(app.upstream.projects().get_template(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn file(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetTemplateFileRequest>) -> Reply {
    reply(&present(app.upstream.projects().get_template_file(caller.context.request(request)).await?.into_inner().file)?)
}

pub(crate) async fn use_template(
    State(app): State<Arc<App>>,
    mut caller: Authenticated,
    headers: HeaderMap,
    id: PathParam,
    Json(mut request, _share): Json<UseTemplateRequest>,
) -> Reply {
    id.bind(&mut request.template_id, "template_id")?;
    read_key(&headers, &mut request.request_id, "request_id")?;
    caller.context.deadline = Some(Instant::now() + SAVE_TIME);
    let key = request.request_id.clone();
    let mut answer = app.upstream.projects().use_template(idempotent(caller.context.request(request), &key)).await?.into_inner();
    let replay = Replay(std::mem::take(&mut answer.replayed));
    let id = answer.project.as_ref().map(|project| project.id.clone()).unwrap_or_default();
    Ok(replay.mark(created(&answer, &format!("/api/projects/{id}"))?))
}

pub(crate) async fn unpublish(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<UnpublishTemplateRequest>,
) -> Reply {
    reply(app.upstream.projects().unpublish_template(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn reviews(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<ListTemplateReviewsRequest>,
) -> Reply {
    reply(app.upstream.projects().list_template_reviews(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn rate(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    id: PathParam,
    Json(mut request, _share): Json<RateTemplateRequest>,
) -> Reply {
    id.bind(&mut request.template_id, "template_id")?;
    reply(&present(app.upstream.projects().rate_template(caller.context.request(request)).await?.into_inner().review)?)
}

pub(crate) async fn delete_review(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<DeleteTemplateReviewRequest>,
) -> Reply {
    reply(app.upstream.projects().delete_template_review(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn report(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    id: PathParam,
    Json(mut request, _share): Json<ReportTemplateRequest>,
) -> Reply {
    id.bind(&mut request.template_id, "template_id")?;
    reply(app.upstream.projects().report_template(caller.context.request(request)).await?.get_ref())
}
