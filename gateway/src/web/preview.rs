//! The files of a project as web pages, on a listener and an origin of their own. Code that an agent wrote runs here, isolated from the API
//! and the first page. The URL contains the capability; cookies are neither read nor set.

mod compiled;
mod missing;

use std::{ops::Range, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use proto::{
    error::ErrorCode,
    project_storage::{DownloadPreviewFileRequest, DownloadPreviewFileResponse, ReadPreviewFileRequest, ReadPreviewFileResponse},
};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::{
    app::{App, Origins},
    edge::request::RequestInfo,
    error::{Failure, fault},
    http::{
        content::{streamed, within_opening_time},
        etag::put_etag,
        range::{self, ByteRange},
    },
    json::params::PathParam,
    web::preview_url::PreviewUrl,
};

/// Serves one file. The path is decoded.
pub(crate) async fn file(
    State(app): State<Arc<App>>,
    info: axum::Extension<RequestInfo>,
    PathParam(path): PathParam,
    request: Request,
) -> Response {
    let (request, _) = request.into_parts();
    match read(&app, &info, &format!("/{path}"), &request).await {
        Ok(response) => response,
        Err(failure) => missing::respond(failure, &request.headers),
    }
}

async fn read(app: &App, info: &RequestInfo, path: &str, request: &Parts) -> Result<Response, Failure> {
    let (capability, file) = app.origins.preview.target(host(request), path).ok_or_else(not_found)?;
    let target = Target { capability: &capability, path: file, request };
    if let Some(script) = app.origins.client.script(file) {
        return Ok(respond_with_script(script));
    }
    if let Some(module) = compiled::module(app, info, &target).await? {
        return Ok(module);
    }
    let etags = request.headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let page = missing::wants_page(&request.headers);
    let read = ReadPreviewFileRequest {
        capability: capability.clone(),
        path: file.to_owned(),
        if_none_match: etags.to_owned(),
        page,
        omit_large: true,
    };
    let answer = app.upstream.projects().read_preview_file(info.context(None).request(read)).await?.into_inner();
    // Links of the page are relative to its folder.
    if !file.ends_with('/') && answer.path.strip_prefix(file).is_some_and(|rest| rest.starts_with('/')) {
        return Ok(redirect_to_folder(&request.uri));
    }
    if !answer.compiled_tree_id.is_empty() {
        return compiled::page(app, info, &target, answer).await;
    }
    let is_immutable = answer.immutable;
    let mut response = respond(app, info, request, (capability, answer)).await?;
    if is_immutable {
        compiled::mark_immutable(&mut response);
    }
    Ok(response)
}

fn respond_with_script((text, is_current): (Bytes, bool)) -> Response {
    let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
    let mut response = ([(header::CONTENT_TYPE, kind)], text).into_response();
    if is_current {
        compiled::mark_immutable(&mut response);
    }
    response
}

/// What a request asks for.
struct Target<'a> {
    capability: &'a str,
    /// Decoded, without a slash at its start.
    path: &'a str,
    request: &'a Parts,
}

/// Redirects to the same path with a slash. `./` and the last segment cannot be mistaken for a host or a scheme.
fn redirect_to_folder(uri: &Uri) -> Response {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let place = HeaderValue::try_from(format!("./{name}/{query}")).unwrap_or(HeaderValue::from_static("./"));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response()
}

async fn respond(
    app: &App,
    info: &RequestInfo,
    request: &Parts,
    (capability, answer): (String, ReadPreviewFileResponse),
) -> Result<Response, Failure> {
    if answer.not_modified {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        put_etag(response.headers_mut(), &answer.etag);
        return Ok(response);
    }
    // Only a GET may request a part.
    let is_get = request.method == Method::GET;
    // A project-storage of the release before sends the content without its size.
    let length = if answer.content.is_empty() { usize::try_from(answer.size_bytes).unwrap_or(usize::MAX) } else { answer.content.len() };
    let (status, part, headers) = match if is_get { range::requested(&request.headers, &answer.etag, length) } else { ByteRange::Whole } {
        ByteRange::Whole => (StatusCode::OK, 0..length, HeaderMap::new()),
        ByteRange::Part(part) => (StatusCode::PARTIAL_CONTENT, part.clone(), range::content_range(&part, length)),
        ByteRange::Unsatisfiable => return Ok(range::unsatisfiable(length)),
    };
    let (content_type, etag) = (HeaderValue::try_from(&answer.content_type), answer.etag.clone());
    let mut response = (status, headers, body(app, info, is_get, (capability, answer), part.clone()).await?).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, part.len().into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(kind) = content_type {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    put_etag(headers, &etag);
    Ok(response)
}

/// A part of the file. A large file is streamed.
async fn body(
    app: &App,
    info: &RequestInfo,
    is_get: bool,
    (capability, answer): (String, ReadPreviewFileResponse),
    part: Range<usize>,
) -> Result<Body, Failure> {
    let ReadPreviewFileResponse { content, path, revision, .. } = answer;
    if !is_get {
        return Ok(Body::empty());
    }
    if content.is_empty() && !part.is_empty() {
        let (offset, length) = (part.start as u64, Some(part.len() as u64));
        let request = info.context(None).stream_request(DownloadPreviewFileRequest { capability, path, revision, offset, length });
        let opening = async { Ok::<_, Failure>(app.upstream.project_streams().download_preview_file(request).await?.into_inner()) };
        let parts = within_opening_time(opening).await?;
        return Ok(Body::from_stream(streamed(parts, |part: DownloadPreviewFileResponse| part.data)));
    }
    Ok(Body::from(content.slice(part)))
}

/// The host of the request: in the URI with HTTP/2, in a header with HTTP/1.1.
fn host(request: &Parts) -> &str {
    let named = request.headers.get(header::HOST).and_then(|v| v.to_str().ok());
    request.uri.authority().map(|authority| authority.as_str()).or(named).unwrap_or_default()
}

fn not_found() -> Failure {
    fault(ErrorCode::NotFound, "PREVIEW_NOT_FOUND", "there is no such preview, or it has ended").into()
}

/// Adds the headers of every response of this listener, refusals included.
pub(crate) fn with_headers(router: Router<Arc<App>>, origins: &Origins) -> Router<Arc<App>> {
    let framed_by = format!("frame-ancestors {}", origins.all.join(" "));
    let (policy, resource) = match origins.preview {
        PreviewUrl::Host { .. } => (framed_by, "same-origin"),
        // Previews share an origin, so the sandbox gives each page an opaque origin of its own. Its own files are cross-origin to it. They
        // are readable because anybody with the URL may read them.
        PreviewUrl::Path { .. } => (format!("sandbox allow-scripts allow-forms; {framed_by}"), "cross-origin"),
    };
    let open = matches!(origins.preview, PreviewUrl::Path { .. });
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("frame-ancestors 'none'"));
    let fixed = |name: HeaderName, value: HeaderValue| SetResponseHeaderLayer::overriding(name, value);
    let router = router
        .layer(fixed(header::CONTENT_SECURITY_POLICY, policy))
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")))
        // The response for a path without a file depends on Accept.
        .layer(SetResponseHeaderLayer::appending(header::VARY, HeaderValue::from_static("accept")))
        .layer(fixed(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static(resource)))
        .layer(fixed(HeaderName::from_static("origin-agent-cluster"), HeaderValue::from_static("?1")))
        .layer(fixed(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")));
    if open { router.layer(fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))) } else { router }
}
