//! Imports of archives: the body is the archive, and its bytes go on to project-storage as they arrive.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use chassis::{context::Context, task::spawn};
use futures::{channel::mpsc, stream};
use proto::{
    error::ErrorCode,
    project_storage::{ImportArchiveRequest, ImportArchiveResponse, ImportSettings},
};
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;

use crate::{
    app::App,
    edge::request::RequestInfo,
    error::{
        Failure, fault,
        problem::{self, ProblemContext},
    },
    http::{
        etag::{if_match, put_etag},
        idempotency::{Replay, read_key},
        media::preference,
    },
    identity::authenticate::Authenticated,
    json::{
        body::require_no_coding,
        forward::{Pace, forward},
        params::Params,
        receive::content_length,
        reply::{Reply, created, reply},
    },
    stream::sse::stream_headers,
    upstream::Upstream,
};

/// The media types of a body.
const TYPES: [&str; 8] = [
    "application/zip",
    "application/x-zip-compressed",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/x-gtar",
    "application/x-compressed-tar",
    "application/octet-stream",
];
const EVENTS: &str = "text/event-stream";
/// How long the end of a refused upload may take. It is longer than the time for which the rest of the body is read.
const SETTLE_TIME: Duration = Duration::from_secs(3);
/// Messages that wait for project-storage.
const WAITING_MESSAGES: usize = 1;

/// Imports into a new project, or into the one in the path.
pub(crate) async fn import(
    State(app): State<Arc<App>>,
    caller: Authenticated,
    info: axum::Extension<RequestInfo>,
    Params(settings): Params<ImportSettings>,
    request: axum::extract::Request,
) -> Reply {
    let (parts, body) = request.into_parts();
    require_no_coding(&parts.headers)?;
    let settings = complete(settings, &parts.headers)?;
    let import = Import::begin(Arc::clone(&app.upstream), caller.context, settings, (body, app.bodies.timeout)).await?;
    if preference(&parts.headers, EVENTS).is_named() {
        return Ok(events(import, parts.uri.path().to_owned(), info.0));
    }
    import.answer().await
}

/// The settings with what the headers say.
fn complete(mut settings: ImportSettings, headers: &HeaderMap) -> Result<ImportSettings, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        let text = format!("the body must be an archive with one of the types {}", TYPES.join(", "));
        return Err(fault(ErrorCode::InvalidArgument, "UNSUPPORTED_MEDIA_TYPE", text).into());
    }
    read_key(headers, &mut settings.request_id, "request_id")?;
    if_match(headers, &mut settings.if_match)?;
    settings.size_bytes = content_length(headers).and_then(|length| u64::try_from(length).ok());
    Ok(settings)
}

/// A running import.
struct Import {
    /// Whether it makes a new project.
    creates: bool,
    answers: Streaming<ImportArchiveResponse>,
    first: Option<ImportArchiveResponse>,
    upload: Upload,
}

/// The task that passes the body on. When it fails, its channel stays open until the call is dropped: otherwise the archive would seem
/// to be complete.
struct Upload(Option<AbortOnDropHandle<UploadResult>>);

/// How an upload ended: why the body could not be read, with the channel.
type UploadResult = Result<(), (Failure, mpsc::Sender<ImportArchiveRequest>)>;

impl Upload {
    /// Waits until the body cannot be read. Waits for ever if it was passed on.
    async fn failure(&mut self) -> Failure {
        let Some(task) = &mut self.0 else { return std::future::pending().await };
        match task.await {
            Ok(Err((failure, _open))) => failure,
            Ok(Ok(())) => {
                self.0 = None;
                std::future::pending().await
            }
            Err(_) => fault(ErrorCode::Internal, "INTERNAL", "the upload stopped").into(),
        }
    }

    /// Waits until the rest of a refused body was read for a moment.
    async fn settle(&mut self) {
        if let Some(task) = self.0.take() {
            let _ = tokio::time::timeout(SETTLE_TIME, task).await;
        }
    }
}

impl Import {
    /// Begins the call. It is refused before its archive is read, or has a first answer.
    async fn begin(
        upstream: Arc<Upstream>,
        context: Context,
        settings: ImportSettings,
        (body, idle): (Body, Duration),
    ) -> Result<Self, Failure> {
        let creates = settings.project_id.is_empty();
        let (mut messages, waiting) = mpsc::channel(WAITING_MESSAGES);
        let first = ImportArchiveRequest { settings: Some(settings), data: Bytes::new() };
        // The channel is empty.
        let _ = messages.try_send(first);
        let task = spawn(async move {
            let message = |data| ImportArchiveRequest { settings: None, data };
            match forward(body, &mut messages, Pace::Steady(Instant::now(), idle), message).await {
                Ok(()) => Ok(()),
                Err(failure) => Err((failure, messages)),
            }
        });
        let mut upload = Upload(Some(AbortOnDropHandle::new(task)));
        let call = open(upstream, context.stream_request(waiting));
        let (answers, first) = tokio::select! {
            biased;
            opened = call => match opened {
                Ok(opened) => opened,
                Err(failure) => {
                    upload.settle().await;
                    return Err(failure);
                }
            },
            failure = upload.failure() => return Err(failure),
        };
        Ok(Self { creates, answers, first: Some(first), upload })
    }

    async fn next(&mut self) -> Result<ImportArchiveResponse, Failure> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let message = tokio::select! {
            biased;
            message = self.answers.message() => message,
            failure = self.upload.failure() => return Err(failure),
        };
        if message.is_err() {
            self.upload.settle().await;
        }
        let message = message?;
        message.ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "an import ended without a result").into())
    }

    /// The result as JSON.
    async fn answer(mut self) -> Reply {
        let mut result = loop {
            if let Some(result) = self.next().await?.result {
                break result;
            }
        };
        let replay = Replay(std::mem::take(&mut result.replayed));
        let (id, etag) = result.project.as_ref().map(|project| (project.id.clone(), project.etag.clone())).unwrap_or_default();
        let mut response = if self.creates { created(&result, &format!("/api/projects/{id}"))? } else { reply(&result)? };
        put_etag(response.headers_mut(), &etag);
        Ok(replay.mark(response))
    }
}

async fn open(
    upstream: Arc<Upstream>,
    request: tonic::Request<mpsc::Receiver<ImportArchiveRequest>>,
) -> Result<(Streaming<ImportArchiveResponse>, ImportArchiveResponse), Failure> {
    let mut answers = upstream.project_streams().import_archive(request).await?.into_inner();
    let first = answers.message().await?;
    let first = first.ok_or_else(|| fault(ErrorCode::Internal, "INTERNAL", "an import ended without a result"))?;
    Ok((answers, first))
}

/// The progress and the result as server-sent events.
fn events(import: Import, path: String, info: RequestInfo) -> Response {
    let stream = stream::unfold(Some(import), move |import| {
        let (path, info) = (path.clone(), info.clone());
        async move {
            let mut import = import?;
            let mut out = BytesMut::new();
            let rest = match import.next().await {
                Ok(ImportArchiveResponse { result: Some(result), .. }) => {
                    write_event(&mut out, "done", &result);
                    None
                }
                Ok(ImportArchiveResponse { progress, .. }) => {
                    write_event(&mut out, "progress", &progress.unwrap_or_default());
                    Some(import)
                }
                Err(failure) => {
                    let context = ProblemContext { path: &path, request_id: &info.request_id, trace_id: &info.trace_id, oauth: None };
                    out.put_slice(b"event: error\ndata: ");
                    out.put_slice(&problem::json(&failure, &context));
                    out.put_slice(b"\n\n");
                    None
                }
            };
            Some((Ok::<_, std::convert::Infallible>(out.freeze()), rest))
        }
    });
    (StatusCode::OK, stream_headers(EVENTS), Body::from_stream(stream)).into_response()
}

fn write_event(out: &mut BytesMut, name: &str, data: &impl Serialize) {
    out.put_slice(format!("event: {name}\ndata: ").as_bytes());
    // A message of the contract is always JSON, and memory accepts writes.
    let _ = serde_json::to_writer((&mut *out).writer(), data);
    out.put_slice(b"\n\n");
}
