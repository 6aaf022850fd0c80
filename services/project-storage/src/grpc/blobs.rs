//! Contents of files as streams.

use std::{pin::Pin, sync::Arc};

use chassis::{clock::now, context::Context, server::stream_fault, task::spawn_and_wait};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use prost::{Message as _, bytes::Bytes};
use proto::{error::Violations, project_storage as pb};
use ring::digest::{SHA256, digest};
use tonic::{Request, Status, Streaming};

use super::{decode, encode, restriction, stream_status, text};
use crate::{
    app::App,
    commit::{
        request::SavePolicy,
        save::{self, Save, SaveResult},
        upload::{self, Parts, Upload},
    },
    error::{Error, SERVICE},
    merge::MergeMode,
    model::{
        change::{Action, Change, ChangeSet},
        condition::Condition,
        media,
        project::Target,
        revision::Actor,
    },
    read::{
        blob::{self, BlobReader},
        checkout::{self, FileAt},
    },
};

/// The messages of a download.
pub(super) type DownloadStream = Pin<Box<dyn Stream<Item = Result<pb::DownloadFileResponse, Status>> + Send>>;

/// The content of an upload, part by part.
struct Incoming {
    first: Option<Bytes>,
    rest: Streaming<pb::UploadFileRequest>,
}

impl Parts for Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let message = self.rest.message().await.map_err(|status| Error::Fault(stream_fault(SERVICE, &status)))?;
        Ok(message.map(|message| message.data))
    }
}

pub(super) async fn upload(app: &App, request: Request<Streaming<pb::UploadFileRequest>>) -> Result<pb::UploadFileResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let _slot = app.upload_slots.take(&context)?;
    let mut rest = request.into_inner();
    let mut wire = rest.message().await.map_err(|status| Error::Fault(stream_fault(SERVICE, &status)))?.unwrap_or_default();
    restriction::of_stream(&context, &wire.project_id)?;
    let first = Some(std::mem::take(&mut wire.data));
    let path = decode::path("path".to_owned(), &wire.path)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    text::MESSAGE.check(&mut violations, &wire.message);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let condition = decode::file_condition(&mut violations, &wire.if_match, &wire.if_none_match);
    let project = decode::checked(violations, project)?;
    // The conditions are no part of the fingerprint, as with a save: the first request has changed the ETag.
    (wire.if_match, wire.if_none_match) = (String::new(), String::new());
    let fields = wire.encode_to_vec();
    let upload = Upload {
        user,
        project,
        path: path.clone(),
        size: wire.size_bytes,
        condition,
        message: wire.message,
        request_id: wire.request_id,
        fields: [b"UploadFile", &fields[..]].concat(),
    };
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let uploaded = upload::upload(app.writer(), policy, upload, Incoming { first, rest }, now()).await?;
    let media_type = media::by_content(path.as_str(), Some(&uploaded.head));
    let entry = pb::FileEntry { media_type, ..encode::entry(path.to_string(), Some(uploaded.file)) };
    let SaveResult { project, revision, replayed, .. } = uploaded.saved;
    Ok(pb::UploadFileResponse {
        project: Some(encode::project(&project)),
        revision: revision.as_ref().map(encode::revision),
        file: Some(entry),
        replayed,
    })
}

pub(super) async fn delete(app: &App, request: Request<pb::DeleteFileRequest>) -> Result<pb::DeleteFileResponse, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let mut wire = request.into_inner();
    let path = decode::path("path".to_owned(), &wire.path)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &wire.project_id);
    text::MESSAGE.check(&mut violations, &wire.message);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let condition = decode::file_condition(&mut violations, &std::mem::take(&mut wire.if_match), "");
    let target = Target::Id(decode::checked(violations, project)?);
    let fields = [b"DeleteFile", &wire.encode_to_vec()[..]].concat();
    let request = decode::request_key(wire.request_id, || digest(&SHA256, &fields).as_ref().to_vec());
    let set = ChangeSet { changes: vec![Change { path, action: Action::Delete, condition }], replace: false };
    let (base, mode, condition) = (None, MergeMode::Paths, Condition::default());
    let actor = Actor::Person;
    let save = Save { user, target, created: None, condition, actor, base, set, mode, message: wire.message, request, lease: None };
    let policy = SavePolicy::new(app.limiter.clone(), &context);
    let saved = save::save(app.writer(), policy, save, now()).await.map_err(|error| error.in_field("path"))?;
    Ok(pb::DeleteFileResponse {
        project: Some(encode::project(&saved.project)),
        revision: saved.revision.as_ref().map(encode::revision),
        replayed: saved.replayed,
    })
}

pub(super) async fn download(app: &Arc<App>, request: Request<pb::DownloadFileRequest>) -> Result<DownloadStream, Error> {
    let context = Context::of(&request);
    let user = decode::user(&context)?;
    let pb::DownloadFileRequest { project_id, path, revision, offset, length } = request.into_inner();
    let path = decode::path("path".to_owned(), &path)?;
    let mut violations = Violations::default();
    let project = decode::project_id(&mut violations, &project_id);
    let revision = decode::revision(&mut violations, "revision", &revision);
    let project = decode::checked(violations, project)?;
    let FileAt { store, revision, file } = checkout::file_at(&app.objects, user.id, project, revision, &path).await?;
    let range = blob::range(file, offset, length)?;
    let slot = app.upload_slots.take_download(&context)?;
    let head = BlobReader::head(&app.objects, store, file).await?;
    let reader = BlobReader::open(&app.objects, store, file, range).await?;
    let media_type = media::by_content(path.as_str(), Some(&head));
    let entry = pb::FileEntry { media_type, ..encode::entry(path.to_string(), Some(file)) };
    let first = pb::DownloadFileResponse { file: Some(entry), revision: revision.to_string(), data: Bytes::new() };
    let why_ended = move |app: Arc<App>, error| async move { stream_status(&app, (user.id, project), error).await };
    let parts = parts(Arc::clone(app), reader, None, why_ended).map_ok(move |data| {
        let _until_the_end = &slot;
        pb::DownloadFileResponse { data, ..Default::default() }
    });
    Ok(Box::pin(stream::once(async { Ok(first) }).chain(parts)))
}

/// The bytes of a file. Each part is read in a task of its own: if the client stops reading, this stream is not polled, and must not hold a
/// connection to the database. With `slots`, each part waits for a slot of this caller and gives it back.
pub(super) fn parts<F: Future<Output = Status> + Send + 'static>(
    app: Arc<App>,
    reader: BlobReader,
    slots: Option<Context>,
    why_ended: impl Fn(Arc<App>, Error) -> F + Clone + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Status>> {
    stream::try_unfold(reader, move |mut reader| {
        let (app, why_ended, slots) = (Arc::clone(&app), why_ended.clone(), slots.clone());
        async move {
            let next = spawn_and_wait(async move {
                let read = async {
                    let _slot = match &slots {
                        Some(context) => Some(app.load_slots.take_next(context).await?),
                        None => None,
                    };
                    reader.next(&app.objects).await
                };
                match read.await {
                    Ok(part) => Ok((part, reader)),
                    Err(error) => Err(why_ended(app, error).await),
                }
            });
            let (part, reader) = next.await?;
            Ok(part.map(|data| (data, reader)))
        }
    })
}
