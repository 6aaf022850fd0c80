//! A project's files as a web page, on a listener and an origin of their own: what an agent wrote runs here and can reach
//! nothing of ours. The URL is the capability; no cookie is read or set.

mod missing;
mod range;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use proto::{
    error::ErrorCode,
    project_storage::{ReadPreviewFileRequest, ReadPreviewFileResponse},
};
use tower_http::set_header::SetResponseHeaderLayer;

use self::range::Wanted;
use crate::{
    app::{App, Origins},
    error::{Failure, fault},
    json::Target,
    origin::PreviewForm,
    request::Arrival,
    routes::put_etag,
};

/// One file. The path is the part of the URL behind the host, decoded.
pub(crate) async fn file(
    State(app): State<Arc<App>>,
    arrival: axum::Extension<Arrival>,
    Target(path): Target,
    request: Request,
) -> Response {
    let (request, _) = request.into_parts();
    match read(&app, &arrival, &format!("/{path}"), &request).await {
        Ok(response) => response,
        Err(failure) => missing::answer(failure, &request.headers),
    }
}

async fn read(app: &App, arrival: &Arrival, path: &str, request: &Parts) -> Result<Response, Failure> {
    let (capability, file) = app.origins.preview.target(host(request), path).ok_or_else(unknown)?;
    let known = request.headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let page = missing::wants_page(&request.headers);
    let ask = ReadPreviewFileRequest { capability, path: file.to_owned(), if_none_match: known.to_owned(), page };
    let answer = app.upstream.projects().read_preview_file(arrival.context(None).request(ask)).await?.into_inner();
    // The links of a folder's page are relative to the folder.
    if !file.ends_with('/') && answer.path.strip_prefix(file).is_some_and(|rest| rest.starts_with('/')) {
        return Ok(into_folder(&request.uri));
    }
    respond(request, answer)
}

/// To the same path with a slash. The last part alone, behind `./`, can be taken for neither a host nor a scheme.
fn into_folder(uri: &Uri) -> Response {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let place = HeaderValue::try_from(format!("./{name}/{query}")).unwrap_or(HeaderValue::from_static("./"));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response()
}

fn respond(request: &Parts, answer: ReadPreviewFileResponse) -> Result<Response, Failure> {
    let mut response =
        if answer.not_modified { StatusCode::NOT_MODIFIED.into_response() } else { body(request, &answer.etag, answer.content)? };
    if response.status().is_success()
        && let Ok(kind) = HeaderValue::try_from(answer.content_type)
    {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    put_etag(response.headers_mut(), &answer.etag);
    Ok(response)
}

/// The file, or the part of it that is asked for. Only a GET has parts.
fn body(request: &Parts, etag: &str, content: Bytes) -> Result<Response, Failure> {
    let (length, headers) = (content.len(), &request.headers);
    let wanted = if request.method == Method::GET { range::wanted(headers, etag, length) } else { Wanted::Whole };
    let mut response = match wanted {
        Wanted::Whole => content.into_response(),
        Wanted::Part(part) => {
            let place = format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1));
            (StatusCode::PARTIAL_CONTENT, content_range(&place), content.slice(part)).into_response()
        }
        Wanted::Nothing => {
            let text = format!("the file has {length} bytes, and none of those that the range names");
            let failure = Failure::from(fault(ErrorCode::InvalidArgument, "RANGE_NOT_SATISFIABLE", text));
            return Ok((content_range(&format!("bytes */{length}")), failure).into_response());
        }
    };
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

fn content_range(text: &str) -> HeaderMap {
    HeaderValue::try_from(text).into_iter().map(|value| (header::CONTENT_RANGE, value)).collect()
}

/// The host asked for: HTTP/2 has it in the URI, HTTP/1.1 in a header.
fn host(request: &Parts) -> &str {
    let named = request.headers.get(header::HOST).and_then(|v| v.to_str().ok());
    request.uri.authority().map(|authority| authority.as_str()).or(named).unwrap_or_default()
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
        // What is sent for a path without a file depends on it.
        .layer(SetResponseHeaderLayer::appending(header::VARY, HeaderValue::from_static("accept")))
        .layer(fixed(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static(resource)))
        .layer(fixed(HeaderName::from_static("origin-agent-cluster"), HeaderValue::from_static("?1")))
        .layer(fixed(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")));
    if open { router.layer(fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))) } else { router }
}
