//! Imports of archives.

use std::{pin::Pin, sync::Arc, time::Duration};

use chassis::{clock::now, context::Context, error::status, server::stream_fault, task::spawn};
use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use proto::{error::Violations, project_storage as pb};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Status, Streaming};

use super::{decode, encode, restriction, text};
use crate::{
    app::App,
    archive::read::{Contents, ReadFile, SkipReason, SkippedEntry},
    commit::{
        import::{self, Import, ImportResult, Progress, Source},
        request::SavePolicy,
    },
    error::{Error, SERVICE},
};

/// The messages of an import.
pub(super) type ImportStream = Pin<Box<dyn Stream<Item = Result<pb::ImportArchiveResponse, Status>> + Send>>;

/// The least time between two messages of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Bytes of the paths in a report. Without this limit, the report of 10,000 files with the longest paths would have 10 MiB.
const REPORT_BYTES: usize = 2 * 1024 * 1024;
/// Bytes that an entry takes in a report besides its path.
const ENTRY_BYTES: usize = 64;

pub(super) async fn import(app: &Arc<App>, request: Request<Streaming<pb::ImportArchiveRequest>>) -> Result<ImportStream, Error> {
    let context = Context::of(&request);
    let slot = app.import_slots.take(&context)?;
    let mut messages = request.into_inner();
    let first = messages.message().await.map_err(stream_error)?.unwrap_or_default();
    let settings = first.settings.unwrap_or_default();
    // It would create a project, or name one by its draft id.
    if settings.project_id.is_empty() && context.user()?.projects().is_some() {
        return Err(restriction::of_no_project());
    }
    restriction::of_stream(&context, &settings.project_id)?;
    let import = decode_settings(&context, settings)?;
    let data = stream::once(async move { Ok(first.data) })
        .chain(messages.map(|message| message.map(|message| message.data).map_err(stream_error)));
    let (progress, changes) = watch::channel(None);
    let source = Source { messages: data.boxed(), progress };
    let app = Arc::clone(app);
    // In a task of its own: if the client does not read the progress, the import must not wait with a connection to the database.
    let work = spawn(async move {
        let _slot = slot;
        let policy = SavePolicy::new(app.limiter.clone(), &context);
        let mut done = import::import(app.writer(), policy, import, source, now()).await?;
        done.saved.project.hide_origin(|project| context.user.as_ref().is_none_or(|user| user.reaches(project)));
        Ok::<_, Error>(done)
    });
    let mut running = Running { work: AbortOnDropHandle::new(work), changes, next_at: Instant::now() };
    // A request that is refused before its archive is read has an ordinary error.
    let first = running.next().await;
    match first {
        Step::End(result) => result.map(|answer| stream::once(async { Ok(answer) }).boxed() as ImportStream),
        Step::Progress(message) => Ok(Box::pin(stream::once(async { Ok(message) }).chain(rest(running)))),
    }
}

fn stream_error(status: Status) -> Error {
    Error::Fault(stream_fault(SERVICE, &status))
}

fn rest(running: Running) -> impl Stream<Item = Result<pb::ImportArchiveResponse, Status>> {
    stream::unfold(Some(running), |running| async {
        let mut running = running?;
        Some(match running.next().await {
            Step::Progress(message) => (Ok(message), Some(running)),
            Step::End(result) => (result.map_err(status), None),
        })
    })
}

/// An import that runs in its task.
struct Running {
    work: AbortOnDropHandle<Result<ImportResult, Error>>,
    changes: watch::Receiver<Option<Progress>>,
    /// When the next message of progress may be sent.
    next_at: Instant,
}

enum Step {
    Progress(pb::ImportArchiveResponse),
    End(Result<pb::ImportArchiveResponse, Error>),
}

impl Running {
    async fn next(&mut self) -> Step {
        let Self { work, changes, next_at } = self;
        let changed = async {
            // The timer would wait for its next millisecond.
            if Instant::now() < *next_at {
                tokio::time::sleep_until(*next_at).await;
            }
            match changes.changed().await {
                Ok(()) => *changes.borrow_and_update(),
                // The import is about to end.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // First, so that an import that has read its archive always begins with progress, however fast it ends.
            progress = changed => {
                *next_at = Instant::now() + PROGRESS_INTERVAL;
                let Progress { received_bytes, files } = progress.unwrap_or_default();
                let progress = Some(pb::ImportProgress { received_bytes, file_count: files });
                Step::Progress(pb::ImportArchiveResponse { progress, ..Default::default() })
            }
            result = work => Step::End(match result {
                Ok(result) => result.map(answer),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The task was cancelled because the runtime shuts down.
                    Err(_) => std::future::pending().await,
                },
            }),
        }
    }
}

fn decode_settings(context: &Context, mut wire: pb::ImportSettings) -> Result<Import, Error> {
    let user = decode::user(context)?;
    let mut violations = Violations::default();
    let target = match (wire.project_id.is_empty(), wire.draft_id.is_empty()) {
        (true, true) => None,
        _ => decode::target(&mut violations, &wire.project_id, &wire.draft_id),
    };
    text::OPTIONAL_NAME.check(&mut violations, &wire.display_name);
    text::MESSAGE.check(&mut violations, &wire.message);
    text::REQUEST_ID.check(&mut violations, &wire.request_id);
    let base = decode::revision(&mut violations, "base_revision", &wire.base_revision);
    let replace = match pb::ImportMode::try_from(wire.mode) {
        Ok(pb::ImportMode::Unspecified | pb::ImportMode::Overlay) => false,
        Ok(pb::ImportMode::Replace) => true,
        Err(_) => {
            violations.add("mode", "must be IMPORT_MODE_OVERLAY or IMPORT_MODE_REPLACE");
            false
        }
    };
    // Neither is part of the fingerprint: the first request has changed the ETag, and a repeat may be sent in another way.
    let condition = decode::condition(&mut violations, std::mem::take(&mut wire.if_match));
    let size = std::mem::take(&mut wire.size_bytes);
    decode::checked(violations, Some(()))?;
    let fields = [b"ImportArchive", &wire.encode_to_vec()[..]].concat();
    let pb::ImportSettings { display_name: name, message, request_id, .. } = wire;
    Ok(Import { user, target, name, replace, condition, base, message, request_id, fields, size })
}

fn answer(imported: ImportResult) -> pb::ImportArchiveResponse {
    let ImportResult { saved, contents } = imported;
    let (entries, more_entries) = report(&contents);
    let result = pb::ImportResult {
        project: Some(encode::project(&saved.project)),
        revision: saved.revision.as_ref().map(encode::revision),
        imported_files: count(contents.files.len()),
        imported_bytes: contents.files.iter().map(|file| file.bytes).sum(),
        skipped_files: contents.skipped.iter().map(|entry| entry.files).sum(),
        skipped_bytes: contents.skipped.iter().map(|entry| entry.bytes).sum(),
        entries,
        more_entries,
        replayed: saved.replayed,
    };
    pb::ImportArchiveResponse { result: Some(result), ..Default::default() }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The entries of a report, the skipped ones first, and how many do not fit.
fn report(contents: &Contents) -> (Vec<pb::ImportedEntry>, u32) {
    let skipped = contents.skipped.iter().map(|SkippedEntry { path, reason, files, bytes }| {
        let status = match reason {
            SkipReason::Dependencies => pb::ImportStatus::SkippedDependencies,
            SkipReason::Repository => pb::ImportStatus::SkippedRepository,
            SkipReason::BuildOutput => pb::ImportStatus::SkippedBuildOutput,
            SkipReason::Junk => pb::ImportStatus::SkippedJunk,
        };
        pb::ImportedEntry { path: path.clone(), status: status.into(), file_count: *files, size_bytes: *bytes }
    });
    let files = contents.files.iter().map(|ReadFile { path, bytes, .. }| {
        let status = pb::ImportStatus::Imported.into();
        pb::ImportedEntry { path: path.clone(), status, file_count: 1, size_bytes: *bytes }
    });
    let (mut size, total) = (0, contents.skipped.len() + contents.files.len());
    let entries: Vec<_> = skipped
        .chain(files)
        .take_while(|entry| {
            size += entry.path.len() + ENTRY_BYTES;
            size <= REPORT_BYTES
        })
        .collect();
    let more = count(total - entries.len());
    (entries, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_import_that_has_begun_to_read_sends_progress_before_its_end() {
        let ended = |progress: watch::Sender<Option<Progress>>, has_read: bool| async move {
            if has_read {
                progress.send_replace(Some(Progress::default()));
            }
            Err(Error::ProjectNotFound)
        };
        for (has_read, expected) in [(true, ["progress", "end"].as_slice()), (false, &["end"])] {
            let (progress, changes) = watch::channel(None);
            let work = spawn(ended(progress, has_read));
            while !work.is_finished() {
                tokio::task::yield_now().await;
            }
            let mut running = Running { work: AbortOnDropHandle::new(work), changes, next_at: Instant::now() };
            for step in expected {
                let is_progress = matches!(running.next().await, Step::Progress(_));
                assert_eq!(is_progress, *step == "progress");
            }
        }
    }
}
