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

use std::{collections::BTreeSet, sync::Arc};

use self::{build::Builder, graph::Graph, rules::Rules};
use crate::{
    error::Error,
    fetch::{Packuments, Request},
    finding::Finding,
    limits::Limits,
    lock::{Content, Lock},
    manifest::{Manifest, PackageJson, Peer},
    registry::Registry,
    semver::Version,
    steps::Steps,
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
    /// The versions that were looked at, by name and version: those of the tree, and others that have no place in it. With these versions alone,
    /// the project resolves to the same tree.
    pub considered: BTreeSet<(String, String)>,
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
    let mut packuments = Packuments::new(options.limits, options.node.clone(), overriding_requests(package));
    let mut steps = Steps::new(options.limits.steps);
    let mut needed = first_requests(package, lock);
    loop {
        packuments.read(registry, needed, &mut steps).await?;
        match build(package, lock, (&mut packuments, &mut steps), options)? {
            BuildResult::Complete(mut resolution) => {
                resolution.considered.extend(packuments.chosen());
                return Ok(resolution);
            }
            BuildResult::Needs(requests) => needed = requests,
        }
    }
}

/// What comes of a build.
#[derive(Debug)]
enum BuildResult {
    Complete(Resolution),
    /// Packuments are missing that nobody could foresee: all those that the build met. Their dependencies were left out of it.
    Needs(Vec<Request>),
}

/// Builds the tree. `steps` are those of all builds.
fn build(
    package: &PackageJson,
    lock: Option<&Lock>,
    (packuments, steps): (&mut Packuments, &mut Steps),
    options: &Options,
) -> Result<BuildResult, Error> {
    let rules = Rules::new(&package.overrides);
    let graph = Graph::new(Arc::new(manifest(package)), rules, steps.clone());
    graph.check_own_overrides()?;
    let (picks, places) = match lock.map(|lock| &lock.content) {
        Some(Content::Versions(picks)) => (Some(picks), None),
        Some(Content::Places(places)) => (None, Some(places)),
        None => (None, None),
    };
    let mut builder = Builder::new(graph, options, picks, packuments);
    let result = places.map_or(Ok(()), |places| builder.load_lock(places)).and_then(|()| builder.build());
    *steps = builder.graph.steps.clone();
    if !builder.needs.is_empty() {
        steps.check()?;
        return Ok(BuildResult::Needs(builder.needs.into_iter().collect()));
    }
    result?;
    builder.finish(package, lock).map(BuildResult::Complete)
}

/// What `overrides` may put in the place of what packages ask for.
fn overriding_requests(package: &PackageJson) -> Vec<Request> {
    let lists = [&package.dev_dependencies, &package.optional_dependencies, &package.dependencies, &package.peer_dependencies];
    let own = |name: &str| lists.into_iter().flatten().find(|(own, _)| own == name).map(|(_, spec)| spec.as_str());
    let (mut rules, mut requests): (Vec<_>, Vec<Request>) = (package.overrides.iter().collect(), Vec::new());
    while let Some(rule) = rules.pop() {
        let value = rule.value.strip_prefix('$').map_or(Some(rule.value.as_str()), own);
        requests.extend(value.map(|value| (rule.name.as_str().into(), value.into())));
        rules.extend(&rule.rules);
    }
    requests
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::executor::block_on;

    use super::*;
    use crate::registry::RegistryError;

    struct OneVersion;

    impl Registry for OneVersion {
        async fn packument(&self, _: &str) -> Result<Bytes, RegistryError> {
            Ok(Bytes::from_static(br#"{"versions": {"1.0.0": {}}}"#))
        }

        async fn tarball(&self, _: &str, _: &str) -> Result<Bytes, RegistryError> {
            Err(RegistryError::NotFound)
        }
    }

    #[test]
    fn the_steps_of_all_builds_count() {
        let package = PackageJson::parse(br#"{"dependencies": {"a": "1", "b": "1"}}"#, &Limits::default()).expect("a package.json");
        let lock = Lock::parse("package-lock.json", b"{}", &Limits::default()).expect("a lock file");
        let options = Options::default();
        let (mut packuments, mut steps) = (Packuments::new(options.limits, options.node.clone(), []), Steps::new(u64::MAX));
        let mut builds = Vec::new();
        let tree = loop {
            let before = steps.done();
            let built = build(&package, Some(&lock), (&mut packuments, &mut steps), &options).expect("a build");
            builds.push(steps.done() - before);
            match built {
                BuildResult::Complete(resolution) => break resolution.tree,
                BuildResult::Needs(requests) => block_on(packuments.read(&OneVersion, requests, &mut steps)).expect("packuments"),
            }
        };
        assert_eq!((builds.len(), tree.packages.len()), (2, 2));
        let limited = |steps| Options { limits: Limits { steps, ..Limits::default() }, ..Options::default() };
        let all = steps.done();
        assert_eq!(block_on(resolve(&package, Some(&lock), &OneVersion, &limited(2 * all))).map(|resolution| resolution.tree), Ok(tree));
        // Enough for each build, and not for both.
        let most = builds.into_iter().max().expect("builds");
        let error = block_on(resolve(&package, Some(&lock), &OneVersion, &limited(most + (all - most) / 2))).expect_err("too many steps");
        assert!(matches!(error, Error::TooLarge { unit: "steps", .. }), "{error}");
    }
}
