//! Exports of projects.

use std::{pin::Pin, sync::Arc};

use chassis::{context::Context, task::spawn_and_wait};
use futures::{Stream, StreamExt as _, stream};
use proto::{
    error::Violations,
    id::{ProjectId, UserId},
    project_storage as pb,
};
use tonic::{Request, Status};

use super::{decode, stream_status};
use crate::{
    app::App,
    archive::format::Format,
    error::Error,
    read::export::{self, ArchiveBody, Export, Query},
};

/// The messages of an export.
pub(super) type ExportStream = Pin<Box<dyn Stream<Item = Result<pb::ExportProjectResponse, Status>> + Send>>;

pub(super) async fn export(app: &Arc<App>, request: Request<pb::ExportProjectRequest>) -> Result<ExportStream, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?.id;
    let pb::ExportProjectRequest { project_id, format, revision } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    let format = decode_format(&mut violations, &format);
    let (project, format) = decode::checked(violations, project.zip(format))?;
    let query = Query { user, project, revision, format };
    let export = export::open(&app.objects, (&app.export_slots, &app.load_slots), &context, query).await?;
    Ok(stream_of(app, (user, project), context, (format, export)))
}

/// The format of an archive; empty for zip.
pub(super) fn decode_format(violations: &mut Violations, text: &str) -> Option<Format> {
    let format = if text.is_empty() { Some(Format::Zip) } else { Format::parse(text) };
    if format.is_none() {
        violations.add("format", "must be zip or tar.gz");
    }
    format
}

/// The messages of an open export.
pub(super) fn stream_of(app: &Arc<App>, of: (UserId, ProjectId), context: Context, (format, export): (Format, Export)) -> ExportStream {
    let Export { file_name, etag, revision, body } = export;
    let archive = pb::ExportedArchive {
        file_name,
        content_type: format.content_type().to_owned(),
        etag,
        revision: revision.map(|id| id.to_string()).unwrap_or_default(),
    };
    let first = pb::ExportProjectResponse { archive: Some(archive), ..Default::default() };
    Box::pin(stream::once(async { Ok(first) }).chain(parts(Arc::clone(app), of, context, body)))
}

/// The bytes of an archive. Each part is made in a task of its own: if the client stops reading, this stream is not polled, and must not
/// hold a connection to the database.
fn parts(
    app: Arc<App>,
    of: (UserId, ProjectId),
    context: Context,
    body: ArchiveBody,
) -> impl Stream<Item = Result<pb::ExportProjectResponse, Status>> {
    stream::try_unfold(body, move |mut body| {
        let (app, context) = (Arc::clone(&app), context.clone());
        async move {
            let next = spawn_and_wait(async move {
                match body.next(&app.objects, &app.load_slots, &context).await {
                    Ok(part) => Ok((part, body)),
                    Err(error) => Err(stream_status(&app, of, error).await),
                }
            });
            let (part, body) = next.await?;
            Ok(part.map(|data| (pb::ExportProjectResponse { data, ..Default::default() }, body)))
        }
    })
}
