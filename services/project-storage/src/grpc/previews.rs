//! Previews.

use std::{pin::Pin, sync::Arc};

use chassis::{
    clock::{now, timestamp},
    context::Context,
    error::status,
    identity::Caller,
};
use futures::{Stream, TryStreamExt as _};
use prost::bytes::Bytes;
use proto::{error::Violations, id::TurnId, project_storage as pb};
use tonic::{Request, Status};

use super::{blobs, decode, encode};
use crate::{
    app::App,
    error::Error,
    git::{FileRef, Folder, Oid},
    model::{preview::Shown, project::StoreId},
    preview::{self, Capability, Content, FileRequest, NewPreview, StagedTree},
};

/// Contents of one answer.
const MAX_CONTENTS: usize = 500;

pub(super) async fn create(app: &App, request: Request<pb::CreatePreviewRequest>) -> Result<pb::CreatePreviewResponse, Error> {
    let context = Context::of(&request);
    let (user, session) = context.user().map(|user| (user.id, user.session_id))?;
    let pb::CreatePreviewRequest { project_id, revision, turn_id } = request.into_inner();
    let mut violations = Violations::default();
    let turn: Option<TurnId> = decode::optional_id(&mut violations, "turn_id", &turn_id);
    if !turn_id.is_empty() && context.caller != Caller::Gateway {
        violations.add("turn_id", "must be empty: only the gateway shows the files of a turn");
    }
    let id = decode::project_id(&mut violations, &project_id);
    if turn.is_some() && !revision.is_empty() {
        violations.add("revision", "must be empty when turn_id is given");
    }
    let revision = decode::revision(&mut violations, "revision", &revision);
    let project = decode::checked(violations, id)?;
    let shown = if turn.is_some() { Shown::Unchanged } else { Shown::Revision(revision) };
    let new = NewPreview { user, session, project, shown };
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
    let pb::ReadPreviewFileRequest { capability, path, if_none_match, page, omit_large, staged } = request.into_inner();
    let capability = Capability::parse(&capability).ok_or(Error::PreviewNotFound)?;
    let staged = staged.map(staged_tree).transpose()?;
    let request = FileRequest { path: &path, if_none_match: &if_none_match, page, omit_large, staged, now: now() };
    let read = preview::read(&app.objects, &capability, request).await?;
    let not_modified = matches!(read.content, Content::NotModified);
    Ok(pb::ReadPreviewFileResponse {
        path: read.path,
        not_modified,
        content: if let Content::Whole(content) = read.content { content } else { Bytes::new() },
        content_type: read.content_type,
        etag: read.id.etag(),
        revision: read.revision.map(|id| id.to_string()).unwrap_or_default(),
        size_bytes: u64::from(read.size),
        compiled_tree_id: read.compiled.map(|id| id.to_string()).unwrap_or_default(),
        immutable: read.is_immutable,
        user_id: read.user.to_string(),
    })
}

fn staged_tree(staged: pb::StagedPreview) -> Result<StagedTree, Error> {
    let mut violations = Violations::default();
    let project = violations.parse("staged.project_id", &staged.project_id);
    let tree_id = violations.parse("staged.tree_id", &staged.tree_id);
    let mut root = Folder::default();
    for (n, file) in staged.files.iter().enumerate() {
        let Some(oid) = violations.parse(&format!("staged.files[{n}].blob_id"), &file.blob_id) else { continue };
        if root.put(&file.path, FileRef { oid, size: file.size_bytes }).is_err() {
            violations.add(format!("staged.files[{n}].path"), "must be the path of a file, and no folder");
        }
    }
    let (project, tree_id) = decode::checked(violations, project.zip(tree_id))?;
    Ok(StagedTree { project, tree_id, root })
}

pub(super) async fn tree(app: &App, request: Request<pb::GetPreviewTreeRequest>) -> Result<pb::GetPreviewTreeResponse, Error> {
    let pb::GetPreviewTreeRequest { capability, revision } = request.into_inner();
    let (_, root) = open(app, &capability, &revision).await?;
    Ok(pb::GetPreviewTreeResponse { files: encode::files(root.walk_files()) })
}

pub(super) async fn contents(
    app: &App,
    request: Request<pb::ReadPreviewContentsRequest>,
) -> Result<pb::ReadPreviewContentsResponse, Error> {
    let context = Context::of(&request);
    let pb::ReadPreviewContentsRequest { capability, revision, blob_ids } = request.into_inner();
    let mut violations = Violations::default();
    if !(1..=MAX_CONTENTS).contains(&blob_ids.len()) {
        violations.add("blob_ids", format!("must be 1 to {MAX_CONTENTS} ids"));
    }
    let parsed = blob_ids.iter().enumerate().map(|(n, id)| violations.parse(&format!("blob_ids[{n}]"), id)).collect();
    let ids: Vec<Oid> = decode::checked(violations, parsed)?;
    let (store, root) = open(app, &capability, &revision).await?;
    let _working = app.load_slots.take(&context).await?;
    Ok(pb::ReadPreviewContentsResponse { contents: preview::contents(&app.objects, (store, &root), &ids).await? })
}

/// The tree that a capability shows, at a revision.
async fn open(app: &App, capability: &str, revision: &str) -> Result<(StoreId, Arc<Folder>), Error> {
    let mut violations = Violations::default();
    let parsed = violations.parse("revision", revision);
    let revision = decode::checked(violations, parsed)?;
    let capability = Capability::parse(capability).ok_or(Error::PreviewNotFound)?;
    preview::tree(&app.objects, &capability, revision, now()).await
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
