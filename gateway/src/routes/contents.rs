//! Many files in one answer.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::IntoResponse as _,
};
use futures::{Stream, StreamExt as _, future, stream};
use proto::project_storage::{ReadFilesRequest, ReadFilesResponse};
use tonic::{Status, Streaming};

use crate::{
    app::App,
    error::{Failure, fault_of},
    http::content::{StreamError, within_opening_time},
    identity::authenticate::Authenticated,
    json::{body::Json, params::PathParam, reply::Reply},
    upstream::{Upstream, present},
};

/// Streams files as lines of JSON, as fast as the client reads them.
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    id: PathParam,
    Json(mut request, _share): Json<ReadFilesRequest>,
) -> Reply {
    id.bind(&mut request.project_id, "project_id")?;
    let opening = open(&app.upstream, caller.context.stream_request(request));
    let (first, parts) = within_opening_time(opening).await?;
    let messages = stream::once(future::ready(Ok(first))).chain(parts);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    Ok((headers, Body::from_stream(lines(messages))).into_response())
}

async fn open(
    upstream: &Upstream,
    request: tonic::Request<ReadFilesRequest>,
) -> Result<(ReadFilesResponse, Streaming<ReadFilesResponse>), Failure> {
    let mut parts = upstream.project_streams().read_files(request).await?.into_inner();
    let first = present(parts.message().await?)?;
    Ok((first, parts))
}

fn lines(messages: impl Stream<Item = Result<ReadFilesResponse, Status>>) -> impl Stream<Item = Result<Bytes, StreamError>> {
    messages.map(|message| {
        let line = message.map_err(|status| StreamError(fault_of(&status).to_string())).and_then(|message| line(&message));
        line.inspect_err(|error| tracing::warn!("{error}"))
    })
}

fn line(message: &ReadFilesResponse) -> Result<Bytes, StreamError> {
    let mut line = serde_json::to_vec(message).map_err(|error| StreamError(error.to_string()))?;
    line.push(b'\n');
    Ok(line.into())
}
