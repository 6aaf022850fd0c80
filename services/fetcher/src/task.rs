//! What the process does for a job.

use std::collections::HashSet;

use bytes::Bytes;
use compiler_client::message::packages::is_bundled;
use futures::{StreamExt as _, stream};
use npm::{Error, Limits, Lock, PackageJson, Registry as _, RegistryError, Tree, tarball::Files};

use crate::{
    message::{Artifact, Content, Done, Excerpt, File, Install, MAX_PART, Resolve, Task, Version, Versions},
    refusal,
    requests::Requests,
    tree,
};

/// Versions that are read at once.
const CONCURRENCY: usize = 4;

/// Works, and says how it ended.
pub(crate) async fn perform(task: Option<Task>, requests: &Requests, limits: &Limits) -> Result<(), RegistryError> {
    let done = match task {
        Some(Task::Resolve(task)) => resolve(task, requests, limits).await,
        Some(Task::Install(task)) => install(task, requests, limits).await,
        Some(Task::Versions(task)) => versions(task, requests, limits).await,
        None => Err(failed("", "the job has no task".to_owned())),
    };
    let done = done.unwrap_or_else(|error| Done { refusal: Some(refusal::encode(error)), ..Done::default() });
    requests.tell(Content::Done(done)).await
}

async fn resolve(task: Resolve, requests: &Requests, limits: &Limits) -> Result<Done, Error> {
    let manifest = PackageJson::parse(&task.manifest, limits)?;
    let lock = if task.lock_name.is_empty() { None } else { Some(Lock::parse(&task.lock_name, &task.lock, limits)?) };
    // A preview runs what npm installs with --force.
    let options = npm::Options { accepts_peer_conflicts: true, limits: *limits, ..npm::Options::default() };
    let resolution = npm::resolve(&manifest, lock.as_ref(), requests, &options).await?;
    let considered = resolution.considered.into_iter().map(|(name, version)| Artifact { name, version }).collect();
    Ok(Done { tree: tree::encode(&resolution.tree, &resolution.findings).into(), considered, ..Done::default() })
}

async fn install(task: Install, requests: &Requests, limits: &Limits) -> Result<Done, Error> {
    let (tree, _) = tree::decode(&task.tree).map_err(|error| failed("", error.to_string()))?;
    let wanted: HashSet<String> = task.paths.into_iter().collect();
    let installed = npm::install(&tree, |path, _| wanted.contains(path), requests, limits).await?;
    let mut sent = HashSet::new();
    for (path, files) in installed.packages {
        if sent.insert(identity(&tree, &path)) {
            send(&path, files, requests).await.map_err(|error| failed(&path, error.to_string()))?;
        }
    }
    let native = installed.findings.into_iter().map(|finding| finding.package).collect();
    Ok(Done { native, ..Done::default() })
}

/// What two places with the same files have in common.
fn identity(tree: &Tree, path: &str) -> Option<(String, String, String)> {
    let package = tree.packages.get(path)?;
    let integrity = package.integrity.as_ref().map(ToString::to_string).unwrap_or_default();
    Some((package.name.clone(), package.version.clone(), integrity))
}

async fn send(package: &str, files: Files, requests: &Requests) -> Result<(), RegistryError> {
    for (name, bytes) in files.into_iter().filter(|(name, _)| is_bundled(name)) {
        // An empty file has one part, too.
        for at in (0..bytes.len().max(1)).step_by(MAX_PART) {
            let content = bytes.slice(at..bytes.len().min(at + MAX_PART));
            requests.tell(Content::File(File { package: package.to_owned(), name: name.clone(), content })).await?;
        }
    }
    Ok(())
}

async fn versions(task: Versions, requests: &Requests, limits: &Limits) -> Result<Done, Error> {
    let read = task.versions.into_iter().zip(0..).map(|(wanted, id)| async move { (id, version(wanted, requests, limits).await) });
    let mut found = stream::iter(read).buffer_unordered(CONCURRENCY);
    while let Some((id, excerpt)) = found.next().await {
        requests.send(id, Content::Excerpt(excerpt?)).await.map_err(|error| failed("", error.to_string()))?;
    }
    Ok(Done::default())
}

async fn version(task: Version, requests: &Requests, limits: &Limits) -> Result<Excerpt, Error> {
    let label = format!("{}@{}", task.name, task.version);
    let refused = |error| match error {
        RegistryError::NotFound => Error::NoPackage { package: label.clone(), by: String::new() },
        RegistryError::Failed(problem) => failed(&label, problem),
    };
    let packument = requests.packument(&task.name).await.map_err(refused)?;
    let excerpt = npm::Excerpt::of(&task.name, &task.version, &packument, limits)?.ok_or_else(|| refused(RegistryError::NotFound))?;
    // Without a published hash no page can use it.
    if task.needs_tarball && excerpt.integrity().is_some() {
        requests.tarball(&task.name, &task.version).await.map_err(refused)?;
    }
    Ok(Excerpt { tags: excerpt.tags, document: Bytes::from(excerpt.document) })
}

fn failed(package: &str, problem: String) -> Error {
    Error::Registry { package: package.to_owned(), problem }
}
