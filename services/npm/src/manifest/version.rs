//! What a registry or a lock file says of a version of a package.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer};

use crate::{
    integrity::Integrity,
    lenient::{Bundled, Dist, List, OptionalPeers, Text, Texts, Truth},
    name,
    semver::{Range, Reading, Version},
};

/// Bytes of memory of a text, without its letters.
const TEXT: usize = size_of::<String>() + 16;
/// The most bytes of a range of `engines`. Real ones have less than 150. A version with a longer one runs nowhere.
const MAX_ENGINE: usize = 512;

/// A peer dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) spec: String,
    pub(crate) is_optional: bool,
}

/// A version of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The name of the package, which is not the dependency's name for an alias.
    pub name: String,
    /// As it is published. Empty for a package that could not be loaded.
    pub version: String,
    pub integrity: Option<Integrity>,
    pub is_deprecated: bool,
    pub has_install_script: bool,
    pub os: Vec<String>,
    pub cpu: Vec<String>,
    pub libc: Vec<String>,
    pub(crate) parsed: Option<Version>,
    pub(crate) node: Option<String>,
    pub(crate) dependencies: Vec<(String, String)>,
    pub(crate) optional: Vec<(String, String)>,
    pub(crate) dev: Vec<(String, String)>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) bundled: Vec<String>,
}

/// The fields of a version that matter, as a registry or a lock file writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Document {
    pub(crate) name: Text,
    pub(crate) version: Text,
    pub(crate) dependencies: Texts,
    pub(crate) optional_dependencies: Texts,
    pub(crate) peer_dependencies: Texts,
    pub(crate) peer_dependencies_meta: OptionalPeers,
    #[serde(deserialize_with = "given")]
    pub(crate) bundle_dependencies: Option<Bundled>,
    /// The older spelling, which counts if the other one is missing.
    pub(crate) bundled_dependencies: Bundled,
    pub(crate) os: List,
    pub(crate) cpu: List,
    pub(crate) libc: List,
    pub(crate) engines: Texts,
    pub(crate) deprecated: Truth,
    pub(crate) has_install_script: Truth,
    pub(crate) scripts: Texts,
    pub(crate) dist: Dist,
}

/// A value that is there, even if it is null.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bundled>, D::Error> {
    Bundled::deserialize(deserializer).map(Some)
}

impl Manifest {
    pub(crate) fn of(document: Document) -> Self {
        let optional = document.optional_dependencies.0;
        let names: HashSet<&str> = optional.iter().map(|(name, _)| name.as_str()).collect();
        // What is in both lists is optional.
        let dependencies: Vec<_> = document.dependencies.0.into_iter().filter(|(name, _)| !names.contains(name.as_str())).collect();
        let bundled = match document.bundle_dependencies.unwrap_or(document.bundled_dependencies) {
            Bundled::None => Vec::new(),
            Bundled::All => dependencies.iter().map(|(name, _)| name.clone()).collect(),
            Bundled::Named(names) => names.into_iter().filter(|name| name::is_valid(name)).collect(),
        };
        let is_optional: HashSet<String> = document.peer_dependencies_meta.0.into_iter().collect();
        let peer = |(name, spec): (String, String)| Peer { is_optional: is_optional.contains(&name), name, spec };
        let version = document.version.0.unwrap_or_default();
        let integrity = document.dist.integrity.as_deref().and_then(Integrity::parse);
        let has_script = ["preinstall", "install", "postinstall"].iter().any(|script| document.scripts.get(script).is_some());
        Self {
            name: document.name.0.unwrap_or_default(),
            parsed: Version::parse(&version),
            version,
            integrity: integrity.or_else(|| document.dist.shasum.as_deref().and_then(Integrity::from_shasum)),
            is_deprecated: document.deprecated.0,
            has_install_script: document.has_install_script.0 || has_script,
            os: document.os.0,
            cpu: document.cpu.0,
            libc: document.libc.0,
            node: document.engines.get("node").map(str::to_owned),
            optional,
            dev: Vec::new(),
            peers: document.peer_dependencies.0.into_iter().map(peer).collect(),
            dependencies,
            bundled,
        }
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.os, &self.cpu, &self.libc, &self.bundled].into_iter().flatten().map(|text| TEXT + text.len());
        let pairs = self.dependencies.iter().chain(&self.optional).map(|(name, spec)| 2 * TEXT + name.len() + spec.len());
        let peers = self.peers.iter().map(|peer| 2 * TEXT + peer.name.len() + peer.spec.len());
        let lengths = texts.chain(pairs).chain(peers).sum::<usize>();
        size_of::<Self>() + 3 * TEXT + self.name.len() + 2 * self.version.len() + self.node.as_ref().map_or(0, String::len) + lengths
    }

    /// Whether `engines` allows this version of Node.js.
    pub(crate) fn runs_on(&self, node: &Version) -> bool {
        let allows =
            |range: &str| range.len() <= MAX_ENGINE && Range::parse(range, Reading::ENGINE).is_some_and(|range| range.accepts(node));
        self.node.as_deref().filter(|range| !range.is_empty()).is_none_or(allows)
    }

    /// Whether the lists of systems allow the platform. `!name` excludes one.
    pub(crate) fn supports(&self, os: &str, cpu: &str, libc: Option<&str>) -> bool {
        is_listed(&self.os, os)
            && is_listed(&self.cpu, cpu)
            && (self.libc.is_empty() || libc.is_some_and(|libc| is_listed(&self.libc, libc)))
    }
}

fn is_listed(list: &[String], value: &str) -> bool {
    let is_excluded = list.iter().any(|entry| entry.strip_prefix('!') == Some(value));
    let has_only_exclusions = list.iter().all(|entry| entry.starts_with('!'));
    let is_any = list.len() == 1 && list[0] == "any";
    is_any || !is_excluded && (has_only_exclusions || list.iter().any(|entry| entry == value))
}
