//! What processes that fetch are asked for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use fetcher::{
    message::{Install, Resolve, Task, Version},
    tree,
};
use npm::{Tree, tarball::Files};
use tokio::sync::mpsc::Sender;

use super::{
    conversation::{FoundVersion, JobResult, WantedVersions, find, perform},
    fetcher::Fetcher,
    refusal::Stop,
};

/// The versions of a project.
pub(super) struct Resolution {
    /// See [`fetcher::tree`].
    pub(super) tree: Bytes,
    /// The versions that were looked at, by name and version.
    pub(super) considered: BTreeSet<(String, String)>,
}

/// Finds the versions of a project. `lock` is the name and the text of its lock file.
///
/// # Errors
/// See [`npm::resolve`] and [`perform`].
pub(super) async fn resolve(fetcher: &Fetcher, manifest: &[u8], lock: Option<(&str, &[u8])>, limit: Duration) -> Result<Resolution, Stop> {
    let (lock_name, lock) = lock.unwrap_or_default();
    let task = Resolve { manifest: Bytes::copy_from_slice(manifest), lock_name: lock_name.to_owned(), lock: Bytes::copy_from_slice(lock) };
    let done = perform(fetcher, Task::Resolve(task), limit).await?.done;
    let considered = done.considered.into_iter().map(|version| (version.name, version.version)).collect();
    Ok(Resolution { tree: done.tree, considered })
}

/// The files of the packages at these paths, and the names of those that need compiled code.
///
/// # Errors
/// See [`npm::install`] and [`perform`].
pub(super) async fn install(
    fetcher: &Fetcher,
    tree: &Tree,
    paths: &BTreeSet<String>,
    limit: Duration,
) -> Result<(BTreeMap<String, Files>, Vec<String>), Stop> {
    let task = Install { tree: tree::encode(tree, &[]).into(), paths: paths.iter().cloned().collect() };
    let JobResult { done, files: found, .. } = perform(fetcher, Task::Install(task), limit).await?;
    // Places with one version and hash share their files.
    let identity = |path: &str| {
        let package = tree.packages.get(path).filter(|package| !package.is_skipped && package.link.is_none())?;
        Some((&package.name, &package.version, &package.integrity))
    };
    let mut by_identity = HashMap::new();
    for (path, files) in found {
        let files: Files = files.into_iter().map(|(name, content)| (name, Bytes::from(content))).collect();
        if let Some(identity) = identity(&path) {
            by_identity.insert(identity, files);
        }
    }
    let files = |path: &String| Some((path.clone(), by_identity.get(&identity(path)?)?.clone()));
    // The process could say anything.
    let names: HashSet<&str> = paths.iter().filter_map(|path| tree.packages.get(path)).map(|package| package.name.as_str()).collect();
    let native = done.native.into_iter().filter(|name| names.contains(name.as_str())).collect();
    Ok((paths.iter().filter_map(files).collect(), native))
}

/// Passes versions on as they are found.
///
/// # Errors
/// The registry has no such version, or see [`find`].
pub(super) async fn versions(fetcher: &Fetcher, wanted: &[Version], found: Sender<FoundVersion>, limit: Duration) -> Result<(), Stop> {
    find(fetcher, WantedVersions::new(wanted.to_vec(), found), limit).await
}
