//! Published sites, on the listener of previews. The host of a request names its site. Everybody may read them; cookies are neither read nor
//! set. What visitors read of a refusal has nothing about projects and their members.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use proto::{
    error::ErrorCode,
    project_storage::{DownloadSiteFileRequest, DownloadSiteFileResponse, ReadSiteFileRequest, ReadSiteFileResponse},
};
use tower_http::set_header::SetResponseHeaderLayer;
use url::Url;

use crate::{
    app::App,
    edge::{host, request::RequestInfo},
    error::{Failure, fault},
    http::content::streamed,
    json::params::PathParam,
    web::{
        file_response::{self, ServedFile},
        missing_page::{self, Words},
    },
};

/// A hashed path has the same content for ever.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Browsers ask each time whether the file has changed, because the next deployment replaces it.
const REVALIDATED: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// The slug in the host of a request, if it is the host of a site.
pub(crate) fn slug(app: &App, request: &Request) -> Option<String> {
    app.origins.sites.as_ref()?.slug(host::sent(request.uri(), request.headers()))
}

/// Serves what an address leads to. The path is decoded.
pub(crate) async fn file(
    State(app): State<Arc<App>>,
    info: axum::Extension<RequestInfo>,
    PathParam(path): PathParam,
    request: Request,
) -> Response {
    let slug = slug(&app, &request);
    let (request, _) = request.into_parts();
    let Some(slug) = slug else { return refuse(not_found(), &request.headers) };
    match read(&app, &info, (slug, path), &request).await {
        Ok(response) => response,
        Err(failure) => refuse(failure, &request.headers),
    }
}

/// A refusal as a visitor reads it.
fn refuse(Failure(mut fault): Failure, headers: &HeaderMap) -> Response {
    let (text, words): (_, Words) = match (fault.code, fault.reason.as_str()) {
        (ErrorCode::NotFound, "SITE_NOT_FOUND") => {
            ("nothing is published at this address", ("There is no site here", "Nothing is published at this address."))
        }
        (ErrorCode::NotFound, _) => {
            ("the site has nothing at this address", ("There is no page here", "This site has nothing at this address."))
        }
        (ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::RateLimited, _) => (
            "the site cannot be shown now; try again in a moment",
            ("This site cannot be shown now", "It is not available, or has too many visitors. Try again in a moment."),
        ),
        _ => return Failure(fault).into_response(),
    };
    text.clone_into(&mut fault.message);
    fault.violations.clear();
    fault.metadata.clear();
    missing_page::respond_with(words, Failure(fault), headers)
}

async fn read(app: &App, info: &RequestInfo, (slug, path): (String, String), request: &Parts) -> Result<Response, Failure> {
    let etags = request.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let read =
        ReadSiteFileRequest { slug: slug.clone(), path, if_none_match: etags.to_owned(), page: missing_page::wants_page(&request.headers) };
    let answer = app.upstream.projects().read_site_file(info.context(None).request(read)).await?.into_inner();
    if !answer.redirect_path.is_empty() {
        return Ok(redirect(&answer.redirect_path, &request.uri));
    }
    let (is_hashed, is_not_found) = (answer.hashed, answer.not_found);
    let mut response = respond(app, info, request, (slug, answer)).await?;
    if is_not_found && response.status().is_success() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        let caching = if is_hashed { IMMUTABLE } else { REVALIDATED };
        response.headers_mut().insert(header::CACHE_CONTROL, caching);
    }
    Ok(response)
}

async fn respond(
    app: &App,
    info: &RequestInfo,
    request: &Parts,
    (slug, answer): (String, ReadSiteFileResponse),
) -> Result<Response, Failure> {
    let ReadSiteFileResponse { content, path, content_type, etag, not_modified, size_bytes, deployment, not_found, .. } = answer;
    let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
    let file = ServedFile { content, size, content_type, etag, not_modified };
    // The page for unknown addresses has no parts.
    let whole;
    let request = match not_found {
        true => {
            let mut copy = request.clone();
            copy.headers.remove(header::RANGE);
            whole = copy;
            &whole
        }
        false => request,
    };
    file_response::respond(request, file, async |part| {
        let (offset, length) = (part.start as u64, Some(part.len() as u64));
        let request = info.context(None).stream_request(DownloadSiteFileRequest { slug, deployment, path, offset, length });
        let parts = app.upstream.project_streams().download_site_file(request).await?.into_inner();
        Ok(Body::from_stream(streamed(parts, |part: DownloadSiteFileResponse| part.data)))
    })
    .await
}

/// Redirects to another path of the same host. `path` is decoded, with one slash at its start.
fn redirect(path: &str, uri: &Uri) -> Response {
    // The library encodes what a path cannot have.
    let encoded = Url::parse("http://host/").ok().and_then(|mut url| {
        url.path_segments_mut().ok()?.clear().extend(path.trim_start_matches('/').split('/'));
        Some(url.path().to_owned())
    });
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let place = encoded.and_then(|path| HeaderValue::try_from(format!("{path}{query}")).ok());
    (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place.unwrap_or(HeaderValue::from_static("/")))]).into_response()
}

fn not_found() -> Failure {
    fault(ErrorCode::NotFound, "SITE_NOT_FOUND", "nothing is published at this address").into()
}

/// Adds the headers of every response, refusals included.
pub(crate) fn with_headers(router: Router<Arc<App>>) -> Router<Arc<App>> {
    let missing = SetResponseHeaderLayer::if_not_present;
    router
        .layer(missing(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .layer(missing(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")))
        // The response for a path without a file depends on Accept.
        .layer(SetResponseHeaderLayer::appending(header::VARY, HeaderValue::from_static("accept")))
        .layer(missing(HeaderName::from_static("origin-agent-cluster"), HeaderValue::from_static("?1")))
}

#[cfg(test)]
mod tests {
    use proto::error::Fault;

    use super::*;

    #[tokio::test]
    async fn visitors_read_nothing_about_projects() {
        let service = |code, reason: &str| {
            Fault::new("project-storage", code, reason, "the project has no site; publish it with your token").with("project", "x")
        };
        for (code, reason, status, title) in [
            (ErrorCode::NotFound, "SITE_NOT_FOUND", 404, "There is no site here"),
            (ErrorCode::NotFound, "FILE_NOT_FOUND", 404, "There is no page here"),
            (ErrorCode::NotFound, "DEPLOYMENT_NOT_FOUND", 404, "There is no page here"),
            (ErrorCode::Unavailable, "UNAVAILABLE", 503, "This site cannot be shown now"),
            (ErrorCode::Unavailable, "OVERLOADED", 503, "This site cannot be shown now"),
            (ErrorCode::RateLimited, "SHARE_EXHAUSTED", 429, "This site cannot be shown now"),
            (ErrorCode::Timeout, "TIMEOUT", 504, "This site cannot be shown now"),
        ] {
            let accepts = |kind: &'static str| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(kind))]);
            let page = refuse(service(code, reason).into(), &accepts("text/html"));
            assert_eq!(page.status().as_u16(), status, "{reason}");
            let html = axum::body::to_bytes(page.into_body(), 10_000).await.expect("a body");
            let html = String::from_utf8_lossy(&html).to_lowercase();
            assert!(html.contains(&title.to_lowercase()) && !html.contains("project") && !html.contains("app builder"), "{html}");
            let program = refuse(service(code, reason).into(), &accepts("*/*"));
            let Failure(fault) = program.extensions().get::<Failure>().expect("a problem");
            assert!(fault.reason == reason && fault.metadata.is_empty(), "{fault:?}");
            assert!(!fault.message.contains("project") && !fault.message.contains("token"), "{}", fault.message);
        }
    }

    #[test]
    fn a_redirect_stays_on_the_host() {
        for (path, uri, expected) in [
            ("/docs/", "/docs?a=1&b", "/docs/?a=1&b"),
            ("/dö cs/", "/x", "/d%C3%B6%20cs/"),
            ("/a?b#c/", "/x", "/a%3Fb%23c/"),
            ("/app/", "/", "/app/"),
            ("/a%20b/", "/x", "/a%2520b/"),
        ] {
            let response = redirect(path, &uri.parse().expect("a URI"));
            assert_eq!(response.headers()[header::LOCATION], expected);
            assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
        }
    }
}
