//! Published sites.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{extract::State, http::HeaderMap};
use proto::{
    error::ErrorCode,
    project_storage::{
        ActivateDeploymentRequest, ExportDeploymentRequest, ExportDeploymentResponse, GetSiteRequest, ListDeploymentsRequest, Site,
        SiteSettings, UnpublishSiteRequest,
    },
};

use super::archives;
use crate::{
    app::App,
    error::{Failure, fault, invalid},
    http::{
        content::streamed,
        idempotency::{Replay, read_key},
    },
    identity::authenticate::Authenticated,
    json::{
        body::Json,
        params::{Params, PathParam, PathParams},
        reply::{Reply, created, reply},
    },
    publish,
    upstream::present,
};

/// How long a publication may take in addition to the build.
const STORE_TIME: Duration = Duration::from_secs(120);

pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    mut caller: Authenticated,
    headers: HeaderMap,
    id: PathParam,
    Json(mut settings, _share): Json<SiteSettings>,
) -> Reply {
    id.bind(&mut settings.project_id, "project_id")?;
    read_key(&headers, &mut settings.request_id, "request_id")?;
    let Some(sites) = &app.origins.sites else {
        let text = "this installation serves no sites; its operator can set BACKLOT_SITES_URL";
        return Err(fault(ErrorCode::Unimplemented, "SITES_DISABLED", text).into());
    };
    if !sites.fits(&settings.slug) {
        return Err(invalid("slug", "is too long for the hosts of this installation"));
    }
    caller.context.deadline = Some(Instant::now() + app.config.build_timeout + STORE_TIME);
    let location = format!("/api/projects/{}/site", settings.project_id);
    let mut answer = publish::publish(&app, &caller.context, settings).await?;
    let replay = Replay(std::mem::take(&mut answer.replayed));
    answer.site = answer.site.map(|site| with_url(&app, site));
    Ok(replay.mark(created(&answer, &location)?))
}

pub(crate) async fn get(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<GetSiteRequest>) -> Reply {
    reply_with(&app, app.upstream.projects().get_site(caller.context.request(request)).await?.into_inner().site)
}

pub(crate) async fn unpublish(State(app): State<Arc<App>>, caller: Authenticated, Params(request): Params<UnpublishSiteRequest>) -> Reply {
    reply(app.upstream.projects().unpublish_site(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn deployments(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    Params(request): Params<ListDeploymentsRequest>,
) -> Reply {
    reply(app.upstream.projects().list_deployments(caller.context.request(request)).await?.get_ref())
}

pub(crate) async fn activate(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    ids: PathParams,
    Json(mut request, _share): Json<ActivateDeploymentRequest>,
) -> Reply {
    ids.bind(&mut request.project_id, "project_id")?;
    ids.bind_number(&mut request.number, "number")?;
    reply_with(&app, app.upstream.projects().activate_deployment(caller.context.request(request)).await?.into_inner().site)
}

pub(crate) async fn export(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<ExportDeploymentRequest>,
) -> Reply {
    let request = caller.context.stream_request(request);
    let opening = async {
        let mut parts = app.upstream.project_streams().export_deployment(request).await?.into_inner();
        let first = parts.message().await?;
        Ok((present(first.and_then(|first| first.archive))?, streamed(parts, |part: ExportDeploymentResponse| part.data)))
    };
    archives::respond(&headers, opening).await
}

fn reply_with(app: &App, site: Option<Site>) -> Result<axum::response::Response, Failure> {
    reply(&with_url(app, present(site)?))
}

/// Adds the address, which only the gateway knows.
fn with_url(app: &App, site: Site) -> Site {
    let url = app.origins.sites.as_ref().map(|sites| sites.url(&site.slug)).unwrap_or_default();
    Site { url, ..site }
}
