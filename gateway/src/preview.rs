//! A project's files as a web page, on a listener and an origin of their own: what an agent wrote runs here and can reach
//! nothing of ours. The URL is the capability; no cookie is read or set.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use proto::{error::ErrorCode, project_storage::ReadPreviewFileRequest};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::{
    app::{App, Origins},
    error::{Failure, fault},
    json::{Reply, Target},
    origin::PreviewForm,
    request::Arrival,
    routes::put_etag,
};

/// One file. The path is the part of the URL behind the host, decoded.
pub(crate) async fn file(State(app): State<Arc<App>>, arrival: axum::Extension<Arrival>, Target(path): Target, request: Request) -> Reply {
    let path = format!("/{path}");
    let (capability, file) = app.origins.preview.target(host(&request), &path).ok_or_else(unknown)?;
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let ask = ReadPreviewFileRequest { capability, path: file.to_owned(), if_none_match: known.to_owned() };
    let answer = app.upstream.projects().read_preview_file(arrival.context(None).request(ask)).await?.into_inner();

    let mut response: Response =
        if answer.not_modified { StatusCode::NOT_MODIFIED.into_response() } else { answer.content.into_response() };
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if !answer.not_modified
        && let Ok(kind) = HeaderValue::try_from(answer.content_type)
    {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    put_etag(headers, &answer.etag);
    Ok(response)
}

/// The host asked for: HTTP/2 has it in the URI, HTTP/1.1 in a header.
fn host(request: &Request) -> &str {
    let named = request.headers().get(header::HOST).and_then(|v| v.to_str().ok());
    Uri::authority(request.uri()).map(|authority| authority.as_str()).or(named).unwrap_or_default()
}

fn unknown() -> Failure {
    fault(ErrorCode::NotFound, "PREVIEW_NOT_FOUND", "there is no such preview, or it has ended").into()
}

/// The headers of every answer here, refusals included.
pub(crate) fn headers(router: Router<Arc<App>>, origins: &Origins) -> Router<Arc<App>> {
    let framed_by = format!("frame-ancestors {}", origins.all.join(" "));
    let (policy, resource) = match origins.preview {
        PreviewForm::Host { .. } => (framed_by, "same-origin"),
        // Previews that share an origin are each put into one of their own. To it its own files are foreign, and readable
        // only because anybody who has the URL may read them.
        PreviewForm::Path { .. } => (format!("sandbox allow-scripts allow-forms; {framed_by}"), "cross-origin"),
    };
    let open = matches!(origins.preview, PreviewForm::Path { .. });
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("frame-ancestors 'none'"));
    let fixed = |name: HeaderName, value: HeaderValue| SetResponseHeaderLayer::overriding(name, value);
    let router = router
        .layer(fixed(header::CONTENT_SECURITY_POLICY, policy))
        .layer(fixed(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")))
        .layer(fixed(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static(resource)))
        .layer(fixed(HeaderName::from_static("origin-agent-cluster"), HeaderValue::from_static("?1")))
        .layer(fixed(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")));
    if open { router.layer(fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))) } else { router }
}
