//! Reads the packuments that an answer needs: from what the project asks for to what the chosen versions ask for, level by level.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};

use crate::{
    error::{Error, shown},
    integrity::Integrity,
    limits::Limits,
    manifest::Manifest,
    name,
    packument::Packument,
    registry::{Registry, RegistryError},
    semver::Version,
    spec::{Spec, Wanted},
};

/// Packuments that are requested at once.
const CONCURRENCY: usize = 16;

/// A dependency's name and specifier.
pub(crate) type Request = (Arc<str>, Arc<str>);

/// The packuments that were read, and those that could not be read.
pub(crate) struct Packuments {
    limits: Limits,
    node: Version,
    known: HashMap<String, Result<Arc<Packument>, Failure>>,
    followed: HashSet<Request>,
    bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Failure {
    NotFound,
    Registry(String),
    Document(Error),
}

/// What is known of a request.
pub(crate) enum Answer {
    Chosen(Arc<Manifest>),
    /// Nothing in the registry fits.
    None(Error),
    /// Its packument was not read yet.
    Unknown,
}

impl Packuments {
    pub(crate) fn new(limits: Limits, node: Version) -> Self {
        Self { limits, node, known: HashMap::new(), followed: HashSet::new(), bytes: 0 }
    }

    /// npm's choice for a dependency with this name and specifier. `by` is who asks, for errors.
    pub(crate) fn answer(&self, dependency: &str, spec: &Spec, by: &str) -> Answer {
        let package = spec.package(dependency);
        match self.known.get(package) {
            None => Answer::Unknown,
            Some(Ok(packument)) => match packument.pick(&spec.wanted, &self.node) {
                Some(manifest) => Answer::Chosen(manifest),
                None => Answer::None(Error::NoVersion { package: shown(package), wanted: String::new(), by: shown(by) }),
            },
            Some(Err(Failure::NotFound)) => Answer::None(Error::NoPackage { package: shown(package), by: shown(by) }),
            Some(Err(Failure::Registry(problem))) => Answer::None(Error::Registry { package: shown(package), problem: problem.clone() }),
            Some(Err(Failure::Document(error))) => Answer::None(error.clone()),
        }
    }

    /// A version that a lock file names, with the hash that it has there. `None` if its packument is not known, or lacks the version.
    pub(crate) fn exact(&self, package: &str, version: &str, integrity: Option<&Integrity>) -> Option<Arc<Manifest>> {
        let wanted = Wanted::Version(Version::parse(version)?);
        let found = self.known.get(package)?.as_ref().ok()?.pick(&wanted, &self.node)?;
        match integrity {
            Some(integrity) if found.integrity.as_ref() != Some(integrity) => {
                Some(Arc::new(Manifest { integrity: Some(integrity.clone()), ..(*found).clone() }))
            }
            _ => Some(found),
        }
    }

    /// Reads the packuments of the requests, and of all that the chosen versions ask for. A packument that cannot be read is an error only
    /// when it is needed.
    ///
    /// # Errors
    /// There are too many of them, or they are too large together.
    pub(crate) async fn read<R: Registry>(&mut self, registry: &R, requests: Vec<Request>) -> Result<(), Error> {
        let mut level = requests;
        while !level.is_empty() {
            level.retain(|request| self.followed.insert(request.clone()));
            let parsed: Vec<(Arc<str>, Spec)> =
                level.iter().filter_map(|(name, spec)| Some((name.clone(), Spec::parse(spec).ok()?))).collect();
            let packages: Vec<&str> = parsed.iter().map(|(name, spec)| spec.package(name)).collect();
            self.fetch(registry, &packages).await?;
            level = parsed.iter().filter_map(|(name, spec)| self.chosen(name, spec)).flat_map(|manifest| wanted(&manifest)).collect();
        }
        Ok(())
    }

    fn chosen(&self, dependency: &str, spec: &Spec) -> Option<Arc<Manifest>> {
        match self.answer(dependency, spec, "") {
            Answer::Chosen(manifest) => Some(manifest),
            Answer::None(_) | Answer::Unknown => None,
        }
    }

    async fn fetch<R: Registry>(&mut self, registry: &R, packages: &[&str]) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let missing: Vec<String> = packages
            .iter()
            .filter(|package| name::is_valid(package) && !self.known.contains_key(**package) && seen.insert(**package))
            .map(|package| (*package).to_owned())
            .collect();
        let limit = self.limits.packument_bytes;
        let requests = missing.into_iter().map(|package| async move {
            let document = match registry.packument(&package).await {
                Ok(bytes) => {
                    Packument::parse(&package, &bytes, limit).map(|packument| (Arc::new(packument), bytes.len())).map_err(Failure::Document)
                }
                Err(RegistryError::NotFound) => Err(Failure::NotFound),
                Err(RegistryError::Failed(problem)) => Err(Failure::Registry(shown(&problem))),
            };
            (package, document)
        });
        let mut answers = stream::iter(requests).buffer_unordered(CONCURRENCY);
        while let Some((package, document)) = answers.next().await {
            self.bytes += document.as_ref().map_or(0, |(_, bytes)| *bytes);
            self.known.insert(package, document.map(|(packument, _)| packument));
            if self.bytes > self.limits.packuments_bytes {
                return Err(Error::too_large("the resolution", self.limits.packuments_bytes as u64, "bytes of packuments"));
            }
            if self.known.len() > self.limits.packuments {
                return Err(Error::too_large("the resolution", self.limits.packuments as u64, "packuments"));
            }
        }
        Ok(())
    }
}

/// What a version asks for. npm looks at optional peers, too, although it does not install them.
fn wanted(manifest: &Manifest) -> Vec<Request> {
    let lists = manifest.dependencies.iter().chain(&manifest.optional).map(|(name, spec)| (name, spec));
    let peers = manifest.peers.iter().map(|peer| (&peer.name, &peer.spec));
    let is_bundled = |name: &String| manifest.bundled.contains(name);
    lists.chain(peers).filter(|(name, _)| !is_bundled(name)).map(|(name, spec)| (name.as_str().into(), spec.as_str().into())).collect()
}
