//! Reads the packages of a tree.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use crate::{
    error::{Error, shown},
    finding::Finding,
    limits::Limits,
    registry::{Registry, RegistryError},
    tarball::{self, Files},
    tree::{Package, Tree},
};

/// Tarballs that are in memory at once.
const CONCURRENCY: usize = 4;

/// A package's name, version and hash.
type Version<'t> = (&'t str, &'t str, Option<String>);

/// The files of packages.
#[derive(Debug, Default)]
pub struct Installed {
    /// By the path of the package, such as `node_modules/a`. Two places of one version share their bytes.
    pub packages: BTreeMap<String, Files>,
    /// Packages that need compiled code, sorted.
    pub findings: Vec<Finding>,
}

/// Requests the tarballs of the packages that `is_wanted` accepts, checks and unpacks them. Links and packages that are skipped have no
/// files. Each version is requested once. Between the requests the calling thread unpacks.
///
/// # Errors
/// A tarball is missing or refused (see [`tarball::unpack`]), or all files together exceed the limit.
pub async fn install<R: Registry>(
    tree: &Tree,
    is_wanted: impl Fn(&str, &Package) -> bool,
    registry: &R,
    limits: &Limits,
) -> Result<Installed, Error> {
    let mut versions: BTreeMap<Version<'_>, Vec<(&String, &Package)>> = BTreeMap::new();
    for (path, package) in
        tree.packages.iter().filter(|(path, package)| !package.is_skipped && package.link.is_none() && is_wanted(path, package))
    {
        let hash = package.integrity.as_ref().map(ToString::to_string);
        versions.entry((&package.name, &package.version, hash)).or_default().push((path, package));
    }
    let requests = versions.into_values().map(|places| async move { (read(places[0].1, registry, limits).await, places) });
    let (mut answers, mut installed, mut left) =
        (stream::iter(requests).buffer_unordered(CONCURRENCY), Installed::default(), limits.total_bytes);
    while let Some((files, places)) = answers.next().await {
        let files = files?;
        let bytes = files.values().map(|file| file.len() as u64).sum();
        left = left.checked_sub(bytes).ok_or_else(|| Error::too_large("the packages of the project", limits.total_bytes, "bytes"))?;
        installed.findings.extend(tarball::inspect(&places[0].1.name, &files));
        installed.packages.extend(places.into_iter().map(|(path, _)| (path.clone(), files.clone())));
    }
    installed.findings.sort();
    installed.findings.dedup();
    Ok(installed)
}

async fn read<R: Registry>(package: &Package, registry: &R, limits: &Limits) -> Result<Files, Error> {
    let label = format!("{}@{}", package.name, package.version);
    // Nothing is requested that could not be checked.
    tarball::required(&label, package.integrity.as_ref())?;
    match registry.tarball(&package.name, &package.version).await {
        Ok(bytes) => tarball::unpack(&label, &bytes, package.integrity.as_ref(), limits),
        Err(RegistryError::NotFound) => Err(Error::NoPackage { package: label, by: String::new() }),
        Err(RegistryError::Failed(problem)) => Err(Error::Registry { package: label, problem: shown(&problem) }),
    }
}
