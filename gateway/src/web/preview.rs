//! The files of a project as web pages, on a listener and an origin of their own. Code that an agent wrote runs here, isolated from the API
//! and the first page. The URL contains the capability; cookies are neither read nor set.

mod compiled;
mod plain;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use proto::{
    error::ErrorCode,
    project_storage::{DownloadPreviewFileRequest, DownloadPreviewFileResponse, ReadPreviewFileRequest, ReadPreviewFileResponse},
};
use serde_json::json;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::{
    app::{App, Origins},
    build::staged::{self, Staged},
    edge::{host, request::RequestInfo},
    error::{Failure, fault, fault_of},
    http::{
        content::streamed,
        etag::{has_version, put_etag},
    },
    json::params::PathParam,
    upstream::present,
    web::{
        file_response::{self, ServedFile},
        missing_page,
        preview_url::{Label, PreviewUrl},
    },
};

/// Where the address of the revision of a page begins, with the path of the page behind it.
const REVISION: &str = "@b/revision/";

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
        Err(failure) => missing_page::respond(failure, &request.headers),
    }
}

async fn read(app: &App, info: &RequestInfo, path: &str, request: &Parts) -> Result<Response, Failure> {
    let (label, file) = app.origins.preview.target(host::sent(&request.uri, &request.headers), path).ok_or_else(not_found)?;
    if let Some(script) = app.origins.client.script(file) {
        return Ok(respond_with_script(script));
    }
    if let Some(page) = file.strip_prefix(REVISION) {
        return revision(app, info, (&label, page), request).await;
    }
    if let Some(module) = compiled::module(app, info, (&label, file), request).await? {
        return Ok(module);
    }
    let staged = match label.turn {
        Some(turn) => {
            authorize(app, info, &label).await?;
            Some(staged::open(app, info, turn).await?)
        }
        None => None,
    };
    let target = Target { label: &label, staged: staged.as_ref(), request };
    let etags = request.headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let page = missing_page::wants_page(&request.headers);
    let read =
        ReadPreviewFileRequest { path: file.to_owned(), if_none_match: etags.to_owned(), page, omit_large: true, ..target.authorized() };
    let answer = app.upstream.projects().read_preview_file(info.context(None).request(read)).await?.into_inner();
    // Links of the page are relative to its folder.
    if !file.ends_with('/') && answer.path.strip_prefix(file).is_some_and(|rest| rest.starts_with('/')) {
        return Ok(redirect_to_folder(&request.uri));
    }
    if !answer.compiled_tree_id.is_empty() {
        return compiled::page(app, info, &target, answer).await;
    }
    if let Some(page) = plain::page(&app.origins, &target, &answer) {
        return Ok(page);
    }
    let (is_immutable, is_page) = (answer.immutable, answer.content_type.starts_with("text/html"));
    let mut response = respond(app, info, &target, answer).await?;
    if is_immutable {
        compiled::mark_immutable(&mut response);
    }
    if is_page {
        plain::mark(&mut response);
    }
    Ok(response)
}

/// The revision that a page would show now, which a page asks for that nobody frames.
async fn revision(app: &App, info: &RequestInfo, (label, page): (&Label, &str), request: &Parts) -> Result<Response, Failure> {
    // No content is needed.
    let read = ReadPreviewFileRequest { path: page.to_owned(), if_none_match: "*".to_owned(), page: true, ..authorization(label) };
    let revision = app.upstream.projects().read_preview_file(info.context(None).request(read)).await?.into_inner().revision;
    let etag = format!("\"{revision}\"");
    let mut response = match has_version(&request.headers, &etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(json!({ "revision": revision })).into_response(),
    };
    put_etag(response.headers_mut(), &etag);
    Ok(response)
}

/// Checks that the capability is valid, before anything of its turn is read.
async fn authorize(app: &App, info: &RequestInfo, label: &Label) -> Result<(), Failure> {
    let answer = app.upstream.projects().read_preview_file(info.context(None).request(authorization(label))).await;
    match answer.map_err(|status| fault_of(&status)) {
        // The project may have no page yet.
        Err(fault) if fault.reason != "FILE_NOT_FOUND" => Err(fault.into()),
        _ => Ok(()),
    }
}

/// A read of the page, which says whether the capability is valid.
fn authorization(label: &Label) -> ReadPreviewFileRequest {
    ReadPreviewFileRequest { capability: label.capability.clone(), omit_large: true, ..ReadPreviewFileRequest::default() }
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
    label: &'a Label,
    /// The files of the turn of the label.
    staged: Option<&'a Staged>,
    request: &'a Parts,
}

impl Target<'_> {
    /// A read of the page, with what authorises it.
    fn authorized(&self) -> ReadPreviewFileRequest {
        ReadPreviewFileRequest { staged: self.staged.map(Staged::preview), ..authorization(self.label) }
    }
}

/// Redirects to the same path with a slash. `./` and the last segment cannot be mistaken for a host or a scheme.
fn redirect_to_folder(uri: &Uri) -> Response {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let place = HeaderValue::try_from(format!("./{name}/{query}")).unwrap_or(HeaderValue::from_static("./"));
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response()
}

async fn respond(app: &App, info: &RequestInfo, target: &Target<'_>, answer: ReadPreviewFileResponse) -> Result<Response, Failure> {
    let ReadPreviewFileResponse { content, path, revision, content_type, etag, not_modified, size_bytes, .. } = answer;
    // A project-storage of the release before sends the content without its size.
    let size = if content.is_empty() { usize::try_from(size_bytes).unwrap_or(usize::MAX) } else { content.len() };
    let blob_id = etag.trim_matches('"').to_owned();
    let file = ServedFile { content, size, content_type, etag, not_modified };
    file_response::respond(target.request, file, async |part| {
        if let Some(staged) = target.staged {
            let read = staged.contents(app, info.context(None), vec![blob_id]).await?;
            let content = read.into_iter().next().filter(|content| content.len() >= part.end);
            return Ok(Body::from(present(content)?.slice(part)));
        }
        let capability = target.label.capability.clone();
        let (offset, length) = (part.start as u64, Some(part.len() as u64));
        let request = info.context(None).stream_request(DownloadPreviewFileRequest { capability, path, revision, offset, length });
        let parts = app.upstream.project_streams().download_preview_file(request).await?.into_inner();
        Ok(Body::from_stream(streamed(parts, |part: DownloadPreviewFileResponse| part.data)))
    })
    .await
}

fn not_found() -> Failure {
    fault(ErrorCode::NotFound, "PREVIEW_NOT_FOUND", "there is no such preview, or it has ended").into()
}

/// Adds the headers of every response of this listener, refusals included.
pub(crate) fn with_headers(router: Router<Arc<App>>, origins: &Origins) -> Router<Arc<App>> {
    let framed_by = format!("frame-ancestors {}", origins.all.join(" "));
    let (policy, resource) = match origins.preview {
        PreviewUrl::Host(_) => (framed_by, "same-origin"),
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
