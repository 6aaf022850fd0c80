//! Previews.

use chassis::{
    clock::{now, timestamp},
    context::Context,
};
use proto::{error::Violations, project_storage as pb};
use tonic::Request;

use super::decode;
use crate::{
    app::App,
    error::Error,
    preview::{self, Capability, FileRequest, NewPreview},
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
    let pb::ReadPreviewFileRequest { capability, path, if_none_match, page } = request.into_inner();
    let capability = Capability::parse(&capability).ok_or(Error::PreviewNotFound)?;
    let page =
        preview::read(&app.objects, &capability, FileRequest { path: &path, if_none_match: &if_none_match, page, now: now() }).await?;
    Ok(pb::ReadPreviewFileResponse {
        path: page.path,
        not_modified: page.content.is_none(),
        content: page.content.unwrap_or_default(),
        content_type: page.content_type,
        etag: page.id.etag(),
        revision: page.revision.to_string(),
    })
}
