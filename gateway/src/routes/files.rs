//! Contents of files as bodies: uploads as they arrive, and downloads as they are read.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use chassis::client::idempotent;
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    error::ErrorCode,
    project_storage::{
        DeleteFileRequest, DownloadFileRequest, DownloadFileResponse, FileEntry, UploadFileRequest,
        project_storage_service_client::ProjectStorageServiceClient,
    },
};
use tonic::Streaming;

use crate::{
    app::App,
    error::{Failure, fault, invalid},
    http::{
        content::{streamed, within_opening_time},
        etag::{has_version, if_match, precondition, put_etag},
        idempotency::{Replay, read_key},
        range::{self, ByteRange},
    },
    identity::authenticate::Authenticated,
    json::{
        body::require_no_coding,
        forward::{Pace, forward},
        params::Params,
        reply::{Reply, reply},
    },
    upstream::present,
};

/// How long the body of an upload may take.
const UPLOAD_TIME: Duration = Duration::from_secs(120);
/// How much longer the service may take after the last byte.
const SAVE_TIME: Duration = Duration::from_secs(30);

/// A file that a browser opens runs nothing, and cannot use the cookies of this origin.
const POLICY: HeaderValue =
    HeaderValue::from_static("sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'");

pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    mut caller: Authenticated,
    headers: HeaderMap,
    Params(mut first): Params<UploadFileRequest>,
    request: Request,
) -> Reply {
    require_no_coding(&headers)?;
    read_upload(&headers, request.body().is_end_stream(), &mut first)?;
    let start = Instant::now();
    let pace = Pace::Within(start, UPLOAD_TIME);
    caller.context.deadline = Some(start + UPLOAD_TIME + SAVE_TIME);
    let (mut messages, stream) = mpsc::channel(1);
    let mut client = app.upstream.project_streams();
    let call = client.upload_file(caller.context.request(stream));
    // The service may answer before the end of the body. Then the rest of it is not sent.
    let send = async move {
        if messages.send(first).await.is_ok() { forward(request.into_body(), &mut messages, pace, message).await } else { Ok(()) }
    };
    let (answer, sent) = tokio::join!(call, send);
    sent?;
    let mut answer = answer?.into_inner();
    let replay = Replay(std::mem::take(&mut answer.replayed));
    let mut response = reply(&answer)?;
    put_etag(response.headers_mut(), answer.file.as_ref().map_or("", |file| &file.etag));
    Ok(replay.mark(response))
}

/// The fields of an upload that are headers over HTTP. A request without a body needs no Content-Length.
fn read_upload(headers: &HeaderMap, is_empty: bool, first: &mut UploadFileRequest) -> Result<(), Failure> {
    if !first.data.is_empty() {
        return Err(invalid("data", "must be the body of the request"));
    }
    read_key(headers, &mut first.request_id, "request_id")?;
    if_match(headers, &mut first.if_match)?;
    if let Some(value) = headers.get(header::IF_NONE_MATCH) {
        value.to_str().map_err(|_| invalid("If-None-Match", "must be ASCII"))?.trim().clone_into(&mut first.if_none_match);
    }
    let length = match headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().ok().and_then(|text| text.parse::<u64>().ok())) {
        Some(length) => length.ok_or_else(|| invalid("Content-Length", "must be a whole number of bytes"))?,
        None if is_empty => 0,
        None => return Err(fault(ErrorCode::InvalidArgument, "LENGTH_REQUIRED", "an upload needs the header Content-Length").into()),
    };
    if first.size_bytes != 0 && first.size_bytes != length {
        return Err(invalid("size_bytes", "must be absent or the same as Content-Length"));
    }
    first.size_bytes = length;
    Ok(())
}

fn message(data: Bytes) -> UploadFileRequest {
    UploadFileRequest { data, ..UploadFileRequest::default() }
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    mut caller: Authenticated,
    headers: HeaderMap,
    Params(mut request): Params<DeleteFileRequest>,
) -> Reply {
    read_key(&headers, &mut request.request_id, "request_id")?;
    if_match(&headers, &mut request.if_match)?;
    caller.context.deadline = Some(Instant::now() + SAVE_TIME);
    let key = request.request_id.clone();
    let mut answer = app.upstream.projects().delete_file(idempotent(caller.context.request(request), &key)).await?.into_inner();
    let replay = Replay(std::mem::take(&mut answer.replayed));
    Ok(replay.mark(reply(&answer)?))
}

/// One file as it is, or a part of it.
pub(crate) async fn raw(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    method: Method,
    headers: HeaderMap,
    Params(mut request): Params<DownloadFileRequest>,
) -> Reply {
    let download = |request| open(app.upstream.project_streams(), caller.context.stream_request(request));
    let asks_for_part = method == Method::GET && headers.contains_key(header::RANGE) && request.offset == 0 && request.length.is_none();
    let is_described_only = asks_for_part || method == Method::HEAD;
    let length = if is_described_only { Some(0) } else { request.length };
    let Opened { file, revision, parts } = download(DownloadFileRequest { length, ..request.clone() }).await?;
    precondition(&headers, &file.etag)?;
    if has_version(&headers, &file.etag) {
        return Ok(with_headers(StatusCode::NOT_MODIFIED.into_response(), &file));
    }
    let size = file.size_bytes as usize;
    let whole = 0..size;
    let range = if asks_for_part { range::requested(&headers, &file.etag, size) } else { ByteRange::Whole };
    let (part, status) = match range {
        ByteRange::Unsatisfiable => return Ok(range::unsatisfiable(size)),
        ByteRange::Part(part) => (part, StatusCode::PARTIAL_CONTENT),
        ByteRange::Whole if request.offset == 0 && request.length.is_none() => (whole, StatusCode::OK),
        // The fields ask for a part, as the header does.
        ByteRange::Whole => (asked_part(&request, size), StatusCode::PARTIAL_CONTENT),
    };
    let parts = match asks_for_part {
        false => parts,
        true => {
            // The same revision, whatever was saved since.
            request.revision = revision;
            (request.offset, request.length) = (part.start as u64, Some(part.len() as u64));
            download(request).await?.parts
        }
    };
    let mut response = (status, Body::from_stream(streamed(parts, |part: DownloadFileResponse| part.data))).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        response.headers_mut().extend(range::content_range(&part, size));
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, part.len().into());
    if let Ok(kind) = HeaderValue::try_from(&file.media_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(with_headers(response, &file))
}

/// The part that the fields of a request ask for.
fn asked_part(request: &DownloadFileRequest, size: usize) -> Range<usize> {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let start = number(request.offset).min(size);
    start..request.length.map_or(size, |length| start.saturating_add(number(length)).min(size))
}

fn with_headers(mut response: Response, file: &FileEntry) -> Response {
    let headers = response.headers_mut();
    put_etag(headers, &file.etag);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    response
}

/// An open download.
struct Opened {
    file: FileEntry,
    revision: String,
    parts: Streaming<DownloadFileResponse>,
}

async fn open(
    mut client: ProjectStorageServiceClient<chassis::client::ServiceChannel>,
    request: tonic::Request<DownloadFileRequest>,
) -> Result<Opened, Failure> {
    let opening = async {
        let mut parts = client.download_file(request).await?.into_inner();
        let first = present(parts.message().await?)?;
        Ok::<_, Failure>(Opened { file: present(first.file)?, revision: first.revision, parts })
    };
    within_opening_time(opening).await
}
