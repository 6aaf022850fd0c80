//! Pages of projects that are not compiled. A browser that shows one gets it with the script of the gateway; everybody else gets the bytes of
//! the file.

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use proto::project_storage::ReadPreviewFileResponse;

use super::Target;
use crate::{
    app::Origins,
    http::etag::{has_version, put_etag},
    web::preview_client::Place,
};

/// What a browser says about a request, if the answer becomes a page.
const PURPOSES: [&str; 3] = ["document", "iframe", "frame"];
const PURPOSE: &str = "sec-fetch-dest";

/// The page with the script. `None` if the answer is no page, or nobody shows it.
pub(super) fn page(origins: &Origins, target: &Target<'_>, file: &ReadPreviewFileResponse) -> Option<Response> {
    let request = target.request;
    let purpose = request.headers.get(PURPOSE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_shown = [Method::GET, Method::HEAD].contains(&request.method)
        && PURPOSES.contains(&purpose)
        && !request.headers.contains_key(header::RANGE);
    if !is_shown || !file.content_type.starts_with("text/html") {
        return None;
    }
    // A large file is not in the answer.
    let html = std::str::from_utf8(&file.content).ok().filter(|html| !html.is_empty())?;
    let place = Place { base: &origins.preview.base(target.label), revision: &file.revision };
    let page = origins.client.insert_into_plain(html, &place);
    let etag = origins.client.etag(&page, &place);
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let mut response = match has_version(&request.headers, &etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([kind], page).into_response(),
    };
    put_etag(response.headers_mut(), &etag);
    mark(&mut response);
    Some(response)
}

/// Lets caches keep the page with the script apart from the file.
pub(super) fn mark(response: &mut Response) {
    response.headers_mut().append(header::VARY, HeaderValue::from_static(PURPOSE));
}
