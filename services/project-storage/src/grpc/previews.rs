//! Previews.

use std::{pin::Pin, sync::Arc};

use chassis::{
    clock::{now, timestamp},
    context::Context,
    error::status,
};
use futures::{Stream, TryStreamExt as _};
use prost::bytes::Bytes;
use proto::{error::Violations, project_storage as pb};
use tonic::{Request, Status};

use super::{blobs, decode};
use crate::{
    app::App,
    error::Error,
    preview::{self, Capability, Content, FileRequest, NewPreview},
};

pub(super) async fn create(app: &App, request: Request<pb::CreatePreviewRequest>) -> Result<pb::CreatePreviewResponse, Error> {
    let context = Context::of(&request);
    let (user, session) = context.user().map(|user| (user.id, user.session_id))?;
    let pb::CreatePreviewRequest { project_id, revision } = request.into_inner();
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &project_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    let project = decode::checked(violations, id)?;
    let new = NewPreview { user, session, project, revision };
    let (capability, expires_at) = preview::create(app.pool(), &app.preview_labels, new, now()).await?;
    // The gateway adds the URL, because only it knows where previews are served.
    Ok(pb::CreatePreviewResponse {
        url: String::new(),
        expire_time: Some(timestamp(expires_at)),
        capability: capability.expose().to_owned(),
    })
}

pub(super) async fn delete(app: &App, request: Request<pb::DeletePreviewRequest>) -> Result<pb::DeletePreviewResponse, Error> {
    let user = decode::user(&Context::of(&request))?;
    let pb::DeletePreviewRequest { project_id, capability } = request.into_inner();
    let mut violations = Violations::default();
    let id = decode::project_id(&mut violations, &project_id);
    let id = decode::checked(violations, id)?;
    let capability = Capability::parse(&capability).ok_or(Error::PreviewNotFound)?;
    preview::delete(app.pool(), user.id, id, &capability).await?;
    Ok(pb::DeletePreviewResponse {})
}

pub(super) async fn read(app: &App, request: Request<pb::ReadPreviewFileRequest>) -> Result<pb::ReadPreviewFileResponse, Error> {
    let pb::ReadPreviewFileRequest { capability, path, if_none_match, page, omit_large } = request.into_inner();
    let capability = Capability::parse(&capability).ok_or(Error::PreviewNotFound)?;
    let request = FileRequest { path: &path, if_none_match: &if_none_match, page, omit_large, now: now() };
    let read = preview::read(&app.objects, &capability, request).await?;
    let not_modified = matches!(read.content, Content::NotModified);
    Ok(pb::ReadPreviewFileResponse {
        path: read.path,
        not_modified,
        content: if let Content::Whole(content) = read.content { content } else { Bytes::new() },
        content_type: read.content_type,
        etag: read.id.etag(),
        revision: read.revision.to_string(),
        size_bytes: u64::from(read.size),
    })
}

/// The messages of a download.
pub(super) type DownloadStream = Pin<Box<dyn Stream<Item = Result<pb::DownloadPreviewFileResponse, Status>> + Send>>;

pub(super) async fn download(app: &Arc<App>, request: Request<pb::DownloadPreviewFileRequest>) -> Result<DownloadStream, Error> {
    let context = Context::of(&request);
    let pb::DownloadPreviewFileRequest { capability, path, revision, offset, length } = request.into_inner();
    let capability = Capability::parse(&capability).ok_or(Error::PreviewNotFound)?;
    let path = decode::path("path".to_owned(), &path)?;
    let mut violations = Violations::default();
    let revision = decode::revision(&mut violations, "revision", &revision);
    if revision.is_none() {
        violations.add("revision", "must be the revision that was read");
    }
    let revision = decode::checked(violations, revision)?;
    let reader = preview::open(&app.objects, &capability, (revision, &path), (offset, length), now()).await?;
    let capability = Arc::new(capability);
    let why_ended = move |app: Arc<App>, error| {
        let capability = Arc::clone(&capability);
        async move { status(preview::why_ended(app.pool(), &capability, error, now()).await) }
    };
    // A page loads many files at once, and a paused video is read for hours. So a stream holds no slot while it waits for its reader.
    let parts = blobs::parts(Arc::clone(app), reader, Some(context), why_ended);
    Ok(Box::pin(parts.map_ok(|data| pb::DownloadPreviewFileResponse { data })))
}
