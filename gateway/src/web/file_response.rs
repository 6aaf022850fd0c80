//! A file as a response, with its version and a requested part of it (RFC 9110).

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;

use crate::{
    error::Failure,
    http::{
        content::within_opening_time,
        etag::put_etag,
        range::{self, ByteRange},
    },
};

/// A file that a service has found.
pub(crate) struct ServedFile {
    /// Empty if the file is large. Then it is streamed.
    pub(crate) content: Bytes,
    /// Bytes of the whole file.
    pub(crate) size: usize,
    pub(crate) content_type: String,
    pub(crate) etag: String,
    /// The client has it already.
    pub(crate) not_modified: bool,
}

/// The response with a file, or with the part that a GET asks for. `open` streams a part of a large file.
pub(crate) async fn respond(
    request: &Parts,
    file: ServedFile,
    open: impl AsyncFnOnce(Range<usize>) -> Result<Body, Failure>,
) -> Result<Response, Failure> {
    let ServedFile { content, size, content_type, etag, not_modified } = file;
    if not_modified {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        put_etag(response.headers_mut(), &etag);
        return Ok(response);
    }
    // Only a GET may request a part.
    let is_get = request.method == Method::GET;
    let (status, part, headers) = match if is_get { range::requested(&request.headers, &etag, size) } else { ByteRange::Whole } {
        ByteRange::Whole => (StatusCode::OK, 0..size, HeaderMap::new()),
        ByteRange::Part(part) => (StatusCode::PARTIAL_CONTENT, part.clone(), range::content_range(&part, size)),
        ByteRange::Unsatisfiable => return Ok(range::unsatisfiable(size)),
    };
    let body = match (is_get, content.is_empty() && !part.is_empty()) {
        (false, _) => Body::empty(),
        (true, true) => within_opening_time(open(part.clone())).await?,
        (true, false) => Body::from(content.slice(part.clone())),
    };
    let mut response = (status, headers, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, part.len().into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(kind) = HeaderValue::try_from(&content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    put_etag(headers, &etag);
    Ok(response)
}
