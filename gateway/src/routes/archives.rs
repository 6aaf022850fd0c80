//! Archives of projects.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::IntoResponse as _,
};
use futures::{Stream, TryStreamExt as _};
use proto::{
    error::ErrorCode,
    project_storage::{ExportProjectRequest, ExportProjectResponse, ExportedArchive},
};
use tonic::Streaming;

use crate::{
    app::App,
    error::{Failure, fault, fault_of},
    http::{
        etag::{has_version, precondition, put_etag},
        file_name::attachment,
    },
    identity::authenticate::Authenticated,
    json::{params::Params, reply::Reply},
    upstream::{Upstream, present},
};

/// How long the first message of an export may take.
const OPENING_TIME: Duration = Duration::from_secs(30);

/// Streams an archive as fast as the client reads it.
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    headers: HeaderMap,
    Params(request): Params<ExportProjectRequest>,
) -> Reply {
    let opening = open(&app.upstream, caller.context.stream_request(request));
    let opened = tokio::time::timeout(OPENING_TIME, opening).await;
    let (archive, parts) = opened.map_err(|_| fault(ErrorCode::Timeout, "TIMEOUT", "the service took too long"))??;
    precondition(&headers, &archive.etag)?;
    let mut response = if has_version(&headers, &archive.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = HeaderValue::try_from(archive.content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let place = [(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, attachment(&archive.file_name))];
        (place, Body::from_stream(bytes(parts))).into_response()
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

/// The answer has begun, so an error can only abort it.
#[derive(Debug, thiserror::Error)]
#[error("the archive could not be made to its end: {0}")]
struct Error(String);

fn bytes(parts: Parts) -> impl Stream<Item = Result<Bytes, Error>> {
    parts.map_ok(|part| part.data).map_err(|status| {
        let error = Error(fault_of(&status).to_string());
        tracing::warn!("{error}");
        error
    })
}
