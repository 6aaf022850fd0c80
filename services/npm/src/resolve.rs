//! What npm would install for a project.
//!
//! npm looks at one package after the other, the shallowest first. For a dependency that is not met it chooses a version and puts it as high
//! in the tree as it fits, with its peers. A package may be replaced by a newer one that fits all that depend on it. This crate does the same,
//! step by step, so that versions and places are npm's own. `tests/it/npm.rs` compares both.
//!
//! - [`resolve`]: the whole; reads packuments as long as some are missing. `build`: the loop, and the choice of versions with their peers.
//! - `graph`: packages and dependencies. `moves`: changes of the tree. `relations`: what fits what. `queue`: what is looked at next.
//! - `check`: whether a package fits into a place. `place`: puts it there. `rules`: the rules of `overrides`. `overrides`: which one holds where.
//! - `from_lock`: the tree of a `package-lock.json`. `marks`: what is optional. `output`: the result. `collate`: npm's order of names.

mod build;
mod check;
mod collate;
mod from_lock;
mod graph;
mod marks;
mod moves;
mod output;
mod overrides;
mod place;
mod queue;
mod relations;
mod rules;

use std::sync::Arc;

use self::{
    build::{Builder, Stop},
    graph::Graph,
    rules::Rules,
};
use crate::{
    error::Error,
    fetch::{Packuments, Request},
    finding::Finding,
    limits::Limits,
    lock::{Content, Lock},
    manifest::{Manifest, PackageJson, Peer},
    registry::Registry,
    semver::Version,
    tree::Tree,
};

/// The name of a project without a name.
const NAMELESS: &str = "project";

/// How a project is resolved.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Node.js whose `engines` count: npm prefers versions that run on it.
    pub node: Version,
    pub platform: Platform,
    /// Whether a conflict of peer dependencies is a finding, as with `npm install --force`, and not an error.
    pub accepts_peer_conflicts: bool,
    pub limits: Limits,
}

/// What `os`, `cpu` and `libc` of packages are compared with.
#[derive(Debug, Clone)]
pub struct Platform {
    pub os: String,
    pub cpu: String,
    pub libc: Option<String>,
}

impl Default for Options {
    /// Node.js 22, and a platform that runs WebAssembly and no compiled code.
    fn default() -> Self {
        let platform = Platform { os: "linux".to_owned(), cpu: "wasm32".to_owned(), libc: None };
        Self { node: Version::of(22, 22, 0), platform, accepts_peer_conflicts: false, limits: Limits::default() }
    }
}

/// What is installed for a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    pub tree: Tree,
    /// Sorted, each once.
    pub findings: Vec<Finding>,
}

/// Resolves a project with npm's rules. The same project, lock file and packuments always have the same result.
///
/// Packuments that are needed are read from the registry, up to sixteen at once. Between the reads the calling thread computes: some
/// milliseconds for most projects, up to seconds for one with thousands of packages.
///
/// # Errors
/// A dependency that is not optional cannot be met, peers conflict, the registry fails, or a limit is exceeded.
pub async fn resolve<R: Registry>(
    package: &PackageJson,
    lock: Option<&Lock>,
    registry: &R,
    options: &Options,
) -> Result<Resolution, Error> {
    let mut packuments = Packuments::new(options.limits, options.node.clone());
    let mut needed = first_requests(package, lock);
    loop {
        packuments.read(registry, needed).await?;
        match build(package, lock, &packuments, options) {
            Ok(resolution) => return Ok(resolution),
            Err(Stop::Refused(error)) => return Err(error),
            Err(Stop::Needs(request)) => needed = vec![request],
        }
    }
}

fn build(package: &PackageJson, lock: Option<&Lock>, packuments: &Packuments, options: &Options) -> Result<Resolution, Stop> {
    let rules = Rules::new(&package.overrides);
    let graph = Graph::new(Arc::new(manifest(package)), rules, options.limits.steps);
    graph.check_own_overrides()?;
    let picks = match lock.map(|lock| &lock.content) {
        Some(Content::Versions(picks)) => Some(picks),
        _ => None,
    };
    let mut builder = Builder::new(graph, options, picks, packuments);
    let places = match lock.map(|lock| &lock.content) {
        Some(Content::Places(places)) => Some(places),
        _ => None,
    };
    if let Some(places) = places {
        builder.load_lock(places)?;
    }
    builder.build()?;
    builder.finish(package, lock)
}

/// What the project, its overrides and its lock file name. A `package-lock.json` says itself what its packages depend on, so that nothing
/// is read for one that fits.
fn first_requests(package: &PackageJson, lock: Option<&Lock>) -> Vec<Request> {
    let exact = |name: &str, version: &str| (Arc::from(name), Arc::from(version));
    match lock.map(|lock| &lock.content) {
        Some(Content::Places(lock)) => {
            let old = lock.entries.iter().filter(|entry| entry.manifest.is_none());
            return old.map(|entry| exact(&entry.package, &entry.version)).collect();
        }
        Some(Content::Versions(picks)) => return picks.all().map(|locked| exact(&locked.package, &locked.version)).collect(),
        None => {}
    }
    let is_required = |name: &String| !package.optional_peers.contains(name);
    let peers = package.peer_dependencies.iter().filter(|(name, _)| is_required(name));
    let lists = [&package.dependencies, &package.dev_dependencies, &package.optional_dependencies];
    lists.into_iter().flatten().chain(peers).map(|(name, spec)| exact(name, spec)).collect()
}

/// The project as a package.
fn manifest(package: &PackageJson) -> Manifest {
    let is_optional = |name: &String| package.optional_dependencies.iter().any(|(optional, _)| optional == name);
    let peer = |(name, spec): &(String, String)| Peer {
        name: name.clone(),
        spec: spec.clone(),
        is_optional: package.optional_peers.contains(name),
    };
    Manifest {
        name: package.name.clone().unwrap_or_else(|| NAMELESS.to_owned()),
        version: package.version.clone().unwrap_or_default(),
        dependencies: package.dependencies.iter().filter(|(name, _)| !is_optional(name)).cloned().collect(),
        optional: package.optional_dependencies.clone(),
        dev: package.dev_dependencies.clone(),
        peers: package.peer_dependencies.iter().map(peer).collect(),
        ..Manifest::default()
    }
}
