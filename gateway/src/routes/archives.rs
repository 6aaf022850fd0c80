//! Archives of projects.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse as _,
};
use bytes::Bytes;
use futures::Stream;
use proto::project_storage::{ExportProjectRequest, ExportProjectResponse, ExportedArchive};

use crate::{
    app::App,
    error::Failure,
    http::{
        content::{StreamError, streamed, within_opening_time},
        etag::{has_version, precondition, put_etag},
        file_name::attachment,
    },
    identity::authenticate::Authenticated,
    json::{params::Params, reply::Reply},
    upstream::present,
};

/// Streams an archive as fast as the client reads it.
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<ExportProjectRequest>,
) -> Reply {
    let request = caller.context.stream_request(request);
    let opening = async {
        let mut parts = app.upstream.project_streams().export_project(request).await?.into_inner();
        let first = parts.message().await?;
        Ok((present(first.and_then(|first| first.archive))?, streamed(parts, |part: ExportProjectResponse| part.data)))
    };
    respond(&headers, opening).await
}

/// Streams the archive that `opening` opens, unless the client has it.
pub(super) async fn respond<S>(headers: &HeaderMap, opening: impl Future<Output = Result<(ExportedArchive, S), Failure>>) -> Reply
where
    S: Stream<Item = Result<Bytes, StreamError>> + Send + 'static,
{
    let (archive, bytes) = within_opening_time(opening).await?;
    precondition(headers, &archive.etag)?;
    let mut response = if has_version(headers, &archive.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = HeaderValue::try_from(archive.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let place = [(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, attachment(&archive.file_name))];
        (place, Body::from_stream(bytes)).into_response()
    };
    put_etag(response.headers_mut(), &archive.etag);
    Ok(response)
}
