//! Archives of projects.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse as _,
};
use proto::project_storage::{ExportProjectRequest, ExportProjectResponse, ExportedArchive};
use tonic::Streaming;

use crate::{
    app::App,
    error::Failure,
    http::{
        content::{streamed, within_opening_time},
        etag::{has_version, precondition, put_etag},
        file_name::attachment,
    },
    identity::authenticate::Authenticated,
    json::{params::Params, reply::Reply},
    upstream::{Upstream, present},
};

/// Streams an archive as fast as the client reads it.
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<ExportProjectRequest>,
) -> Reply {
    let opening = open(&app.upstream, caller.context.stream_request(request));
    let (archive, parts) = within_opening_time(opening).await?;
    precondition(&headers, &archive.etag)?;
    let mut response = if has_version(&headers, &archive.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = HeaderValue::try_from(archive.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let place = [(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, attachment(&archive.file_name))];
        (place, Body::from_stream(streamed(parts, |part: ExportProjectResponse| part.data))).into_response()
    };
    put_etag(response.headers_mut(), &archive.etag);
    Ok(response)
}

type Parts = Streaming<ExportProjectResponse>;

async fn open(upstream: &Upstream, request: tonic::Request<ExportProjectRequest>) -> Result<(ExportedArchive, Parts), Failure> {
    let mut parts = upstream.project_streams().export_project(request).await?.into_inner();
    let first = parts.message().await?;
    Ok((present(first.and_then(|first| first.archive))?, parts))
}
