//! Many files as a stream.

use std::{pin::Pin, sync::Arc};

use chassis::{context::Context, task::spawn_and_wait};
use futures::{Stream, StreamExt as _, stream};
use proto::{
    error::Violations,
    id::{ProjectId, UserId},
    project_storage as pb,
};
use tonic::{Request, Status};

use super::{decode, encode, stream_status};
use crate::{
    app::App,
    error::Error,
    model::media,
    read::contents::{self, Contents, ContentsBody, MAX_PATHS, Part, Query},
};

/// The messages of many files.
pub(super) type ReadStream = Pin<Box<dyn Stream<Item = Result<pb::ReadFilesResponse, Status>> + Send>>;

pub(super) async fn read(app: &Arc<App>, request: Request<pb::ReadFilesRequest>) -> Result<ReadStream, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?.id;
    let pb::ReadFilesRequest { project_id, revision, paths } = request.into_inner();
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    if paths.len() > MAX_PATHS {
        violations.add("paths", format!("must be at most {MAX_PATHS} paths, and are {}", paths.len()));
    }
    let project = decode::checked(violations, project)?;
    let paths = paths.iter().enumerate().map(|(n, path)| decode::path(format!("paths[{n}]"), path)).collect::<Result<_, _>>()?;
    let query = Query { user, project, revision, paths };
    let Contents { revision, missing, body } = contents::open(&app.objects, (&app.upload_slots, &app.load_slots), &context, query).await?;
    let revision = revision.map(|id| id.to_string()).unwrap_or_default();
    let opened = pb::FilesOpened { revision, missing_paths: missing };
    let first = pb::ReadFilesResponse { opened: Some(opened), ..Default::default() };
    Ok(Box::pin(stream::once(async { Ok(first) }).chain(parts(Arc::clone(app), (user, project), context, body))))
}

/// The parts. Each is read in a task of its own: if the client stops reading, this stream is not polled, and must not hold a connection to
/// the database.
fn parts(
    app: Arc<App>,
    of: (UserId, ProjectId),
    context: Context,
    body: ContentsBody,
) -> impl Stream<Item = Result<pb::ReadFilesResponse, Status>> {
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
            Ok(part.map(|part| (message(part), body)))
        }
    })
}

fn message(part: Part) -> pb::ReadFilesResponse {
    match part {
        Part::File { path, file, data } => {
            let media_type = media::by_content(&path, Some(&data));
            let entry = pb::FileEntry { media_type, ..encode::entry(path, Some(file)) };
            pb::ReadFilesResponse { file: Some(entry), data, ..Default::default() }
        }
        Part::Data(data) => pb::ReadFilesResponse { data, ..Default::default() },
    }
}
