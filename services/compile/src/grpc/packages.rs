//! The RPCs of operators: the packages that are kept.

use std::sync::Arc;

use chassis::{error::status, server::stream_fault, task};
use futures::{StreamExt as _, future::ready, stream};
use proto::{
    compile::{
        AddPackagesRequest, AddPackagesResponse, ExportPackagesResponse, ImportPackagesRequest, ImportPackagesResponse,
        ListBundlesResponse, ListPackagesResponse,
    },
    error::Violations,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use super::conversation::Answers;
use crate::{
    app::App,
    error::{Error, SERVICE},
    packages::Addition,
    vendored::export,
};

/// Parts that are sent and not read.
const AHEAD: usize = 4;
const MAX_MANIFEST: usize = 1 << 20;
const MAX_LOCK: usize = 8 << 20;
const MAX_SPECIFIERS: usize = 200;
const MAX_SPECIFIER: usize = 256;
const MAX_TOOLS: usize = 16;

pub(super) fn add(app: &Arc<App>, request: AddPackagesRequest) -> Result<Answers<AddPackagesResponse>, Error> {
    let addition = addition(request)?;
    let app = Arc::clone(app);
    let work = |parts| async move { app.packages.vendor(addition, &app.workers, &parts).await };
    Ok(answers(work, |part| AddPackagesResponse { part: Some(part) }))
}

fn addition(request: AddPackagesRequest) -> Result<Addition, Error> {
    let AddPackagesRequest { manifest, lock_name, lock, specifiers, tools } = request;
    let mut violations = Violations::default();
    if manifest.is_empty() || manifest.len() > MAX_MANIFEST {
        violations.add("manifest", format!("must have from 1 to {MAX_MANIFEST} bytes"));
    }
    if !lock_name.is_empty() && !npm::Lock::FILES.contains(&lock_name.as_str()) {
        violations.add("lock_name", format!("must be empty or one of {}", npm::Lock::FILES.join(", ")));
    }
    if lock.len() > MAX_LOCK || lock_name.is_empty() != lock.is_empty() {
        violations.add("lock", format!("must have from 1 to {MAX_LOCK} bytes with lock_name, and none without it"));
    }
    for (field, list, most) in [("specifiers", &specifiers, MAX_SPECIFIERS), ("tools", &tools, MAX_TOOLS)] {
        let is_text = |text: &String| !text.is_empty() && text.len() <= MAX_SPECIFIER && !text.chars().any(char::is_control);
        if list.len() > most || !list.iter().all(is_text) {
            violations.add(field, format!("must be at most {most} texts with 1 to {MAX_SPECIFIER} bytes"));
        }
    }
    violations.check(SERVICE)?;
    let lock = (!lock_name.is_empty()).then(|| (lock_name, lock.to_vec()));
    Ok(Addition { manifest: manifest.to_vec(), lock, specifiers, tools })
}

pub(super) fn list(app: &Arc<App>) -> Answers<ListPackagesResponse> {
    let app = Arc::clone(app);
    answers(|lists| async move { export::list(app.packages.pool(), &lists).await }, |packages| ListPackagesResponse { packages })
}

pub(super) fn bundles(app: &Arc<App>) -> Answers<ListBundlesResponse> {
    let app = Arc::clone(app);
    answers(|lists| async move { export::bundles(app.packages.pool(), &lists).await }, |bundles| ListBundlesResponse { bundles })
}

pub(super) fn export(app: &Arc<App>) -> Answers<ExportPackagesResponse> {
    let app = Arc::clone(app);
    let work = |parts| async move {
        let _slot = app.packages.vendor_slot()?;
        export::all(app.packages.pool(), &parts).await
    };
    answers(work, |part| ExportPackagesResponse { part: Some(part) })
}

pub(super) fn import(app: &Arc<App>, mut messages: Streaming<ImportPackagesRequest>) -> Answers<ImportPackagesResponse> {
    let app = Arc::clone(app);
    let work = |kept: mpsc::Sender<_>| async move {
        let _slot = app.packages.vendor_slot()?;
        let mut import = app.packages.import();
        while let Some(message) = messages.message().await.map_err(|status| Error::from(stream_fault(SERVICE, &status)))? {
            if let Some(package) = import.take(message.part).await? {
                kept.send(package).await.map_err(|_| Error::UnexpectedMessage("the caller is gone"))?;
            }
        }
        import.end()
    };
    answers(work, |package| ImportPackagesResponse { package: Some(package) })
}

/// What the work sends, and then its error if it has one. The work ends if the answers are dropped.
fn answers<T, A, F>(work: impl FnOnce(mpsc::Sender<T>) -> F, answer: impl Fn(T) -> A + Send + 'static) -> Answers<A>
where
    T: Send + 'static,
    A: Send + 'static,
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sender, parts) = mpsc::channel(AHEAD);
    let work = AbortOnDropHandle::new(task::spawn(work(sender)));
    let end = async move {
        match work.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(status(error))),
            Err(error) => Some(Err(Status::internal(error.to_string()))),
        }
    };
    Box::pin(ReceiverStream::new(parts).map(move |part| Ok(answer(part))).chain(stream::once(end).filter_map(ready)))
}
