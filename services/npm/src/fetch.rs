//! Reads the packuments that an answer needs: from what the project asks for to what the chosen versions ask for, level by level.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};

use crate::{
    error::{Error, shown},
    limits::Limits,
    manifest::Manifest,
    name,
    packument::Packument,
    registry::{Registry, RegistryError},
    semver::Version,
    spec::{Spec, Wanted, spec_cost},
    steps::Steps,
};

/// Packuments that are requested at once.
const CONCURRENCY: usize = 16;

/// A dependency's name and specifier.
pub(crate) type Request = (Arc<str>, Arc<str>);

/// The packuments that were read, and those that could not be read.
pub(crate) struct Packuments {
    limits: Limits,
    node: Version,
    /// The specifiers that `overrides` give a dependency.
    overrides: HashMap<String, Vec<Arc<str>>>,
    known: HashMap<String, Result<Packument, Failure>>,
    /// Choices so far.
    chosen: HashMap<Request, Option<Arc<Manifest>>>,
    followed: HashSet<Request>,
    /// The addresses of versions whose dependencies were followed. They stay in `known`.
    looked_at: HashSet<usize>,
    bytes: usize,
    memory: usize,
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
    pub(crate) fn new(limits: Limits, node: Version, overrides: impl IntoIterator<Item = Request>) -> Self {
        let mut by_name: HashMap<String, Vec<Arc<str>>> = HashMap::new();
        overrides.into_iter().for_each(|(name, spec)| by_name.entry(name.to_string()).or_default().push(spec));
        Self {
            limits,
            node,
            overrides: by_name,
            known: HashMap::new(),
            chosen: HashMap::new(),
            followed: HashSet::new(),
            looked_at: HashSet::new(),
            bytes: 0,
            memory: 0,
        }
    }

    /// npm's choice for a dependency with this name and specifier. `by` is who asks, for errors.
    pub(crate) fn answer(&mut self, request: &Request, spec: &Spec, by: &str, steps: &Steps) -> Answer {
        let package = spec.package(&request.0);
        match self.known.get(package) {
            None => Answer::Unknown,
            Some(Ok(packument)) => match choice(&mut self.chosen, request, (packument, &spec.wanted), steps) {
                Some(manifest) => Answer::Chosen(manifest),
                None => Answer::None(Error::NoVersion { package: shown(package), wanted: shown(&request.1), by: shown(by) }),
            },
            Some(Err(Failure::NotFound)) => Answer::None(Error::NoPackage { package: shown(package), by: shown(by) }),
            Some(Err(Failure::Registry(problem))) => Answer::None(Error::Registry { package: shown(package), problem: problem.clone() }),
            Some(Err(Failure::Document(error))) => Answer::None(error.clone()),
        }
    }

    /// The versions that were chosen for any request, by name and version.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = (String, String)> {
        self.chosen.values().flatten().map(|manifest| (manifest.name.clone(), manifest.version.clone()))
    }

    /// A version that a lock file names. `None` if its packument is not known, or lacks the version.
    pub(crate) fn exact(&mut self, package: &str, version: &str, steps: &Steps) -> Option<Arc<Manifest>> {
        let wanted = Wanted::Version(Version::parse(version)?);
        let packument = self.known.get(package)?.as_ref().ok()?;
        choice(&mut self.chosen, &(package.into(), version.into()), (packument, &wanted), steps)
    }

    /// Reads the packuments of the requests, and of all that the chosen versions ask for. A packument that cannot be read is an error only
    /// when it is needed.
    ///
    /// # Errors
    /// There are too many of them, or they are too large together.
    pub(crate) async fn read<R: Registry>(
        &mut self,
        registry: &R,
        requests: impl IntoIterator<Item = Request>,
        steps: &mut Steps,
    ) -> Result<(), Error> {
        let mut level = Vec::new();
        self.follow(requests, &mut level)?;
        while !level.is_empty() {
            let mut parsed = Vec::with_capacity(level.len());
            for request in level {
                steps.count(spec_cost(&request.1));
                steps.check()?;
                parsed.extend(Spec::parse(&request.1).ok().map(|spec| (request, spec)));
            }
            let packages: HashSet<&str> = parsed.iter().map(|(request, spec)| spec.package(&request.0)).collect();
            self.fetch(registry, packages.into_iter().map(str::to_owned).collect()).await?;
            level = Vec::new();
            for (request, spec) in &parsed {
                if let Answer::Chosen(manifest) = self.answer(request, spec, "", steps)
                    && self.looked_at.insert(Arc::as_ptr(&manifest).addr())
                {
                    self.follow(wanted(&manifest), &mut level)?;
                }
            }
        }
        Ok(())
    }

    /// Notes requests that are new, and what `overrides` may put in their place.
    fn follow(&mut self, requests: impl IntoIterator<Item = Request>, level: &mut Vec<Request>) -> Result<(), Error> {
        for request in requests {
            if !self.followed.insert(request.clone()) {
                continue;
            }
            for spec in self.overrides.get(&*request.0).into_iter().flatten() {
                let overridden = (request.0.clone(), spec.clone());
                if self.followed.insert(overridden.clone()) {
                    level.push(overridden);
                }
            }
            level.push(request);
            if self.followed.len() > self.limits.requests {
                return Err(Error::too_large("the resolution", self.limits.requests as u64, "different dependencies"));
            }
        }
        Ok(())
    }

    async fn fetch<R: Registry>(&mut self, registry: &R, mut packages: Vec<String>) -> Result<(), Error> {
        packages.retain(|package| name::is_valid(package) && !self.known.contains_key(package));
        // In an order of their own, so that an error is the same each time.
        packages.sort_unstable();
        let (limits, node) = (self.limits, &self.node);
        if self.known.len() + packages.len() > limits.packuments {
            return Err(Error::too_large("the resolution", limits.packuments as u64, "packuments"));
        }
        let requests = packages.into_iter().map(|package| async move {
            let document = match registry.packument(&package).await {
                Ok(bytes) => {
                    Packument::parse(&package, &bytes, node, &limits).map(|packument| (packument, bytes.len())).map_err(Failure::Document)
                }
                Err(RegistryError::NotFound) => Err(Failure::NotFound),
                Err(RegistryError::Failed(problem)) => Err(Failure::Registry(shown(&problem))),
            };
            (package, document)
        });
        let mut answers = stream::iter(requests).buffer_unordered(CONCURRENCY);
        while let Some((package, document)) = answers.next().await {
            if let Ok((packument, bytes)) = &document {
                (self.bytes, self.memory) = (self.bytes + bytes, self.memory + packument.bytes);
            }
            self.known.insert(package, document.map(|(packument, _)| packument));
            if self.bytes > limits.packuments_bytes {
                return Err(Error::too_large("the resolution", limits.packuments_bytes as u64, "bytes of packuments"));
            }
            if self.memory > limits.packuments_memory {
                return Err(Error::too_large("the resolution", limits.packuments_memory as u64, "bytes of memory for packuments"));
            }
        }
        Ok(())
    }
}

fn choice(
    chosen: &mut HashMap<Request, Option<Arc<Manifest>>>,
    request: &Request,
    (packument, wanted): (&Packument, &Wanted),
    steps: &Steps,
) -> Option<Arc<Manifest>> {
    if let Some(choice) = chosen.get(request) {
        return choice.clone();
    }
    steps.count(packument.cost(wanted));
    let choice = packument.pick(wanted);
    chosen.insert(request.clone(), choice.clone());
    choice
}

/// What a version asks for. npm looks at optional peers, too, although it does not install them.
fn wanted(manifest: &Manifest) -> impl Iterator<Item = Request> {
    let lists = manifest.dependencies.iter().chain(&manifest.optional).map(|(name, spec)| (name, spec));
    let peers = manifest.peers.iter().map(|peer| (&peer.name, &peer.spec));
    let bundled: HashSet<&String> = manifest.bundled.iter().collect();
    lists.chain(peers).filter(move |(name, _)| !bundled.contains(name)).map(|(name, spec)| (name.as_str().into(), spec.as_str().into()))
}
