//! The versions of a package, and npm's choice among them.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::Error,
    lenient::{MAX_MEMBERS, Members, Texts, is_object},
    limits::Limits,
    manifest::{Document, Manifest},
    semver::Version,
    spec::Wanted,
};

/// All versions of a package.
#[derive(Debug)]
pub struct Packument {
    tags: Texts,
    versions: Vec<PublishedVersion>,
    /// About how many bytes of memory it takes.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct PublishedVersion {
    manifest: Arc<Manifest>,
    /// Whether `engines` allows the version of Node.js.
    runs: bool,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "dist-tags", default)]
    tags: Texts,
    #[serde(borrow, default)]
    versions: Members<'a>,
}

impl Packument {
    /// Reads the document of a registry, full or abbreviated. A version is left out if it is not an object, or if its key is not a version.
    /// A field of a version that has the wrong type is as good as a missing one. `node` is the Node.js whose `engines` count.
    ///
    /// # Errors
    /// It is too large, has too many versions, or is not a JSON object.
    pub fn parse(name: &str, bytes: &[u8], node: &Version, limits: &Limits) -> Result<Self, Error> {
        let file = || format!("the packument of {name}");
        if bytes.len() > limits.packument_bytes {
            return Err(Error::too_large(&file(), limits.packument_bytes as u64, "bytes"));
        }
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(Error::syntax(&file(), "is not an object"));
        }
        let Fields { tags, versions } = serde_json::from_slice(bytes).map_err(|error| Error::syntax(&file(), error))?;
        if versions.0.len() > MAX_MEMBERS {
            return Err(Error::too_large(&file(), MAX_MEMBERS as u64, "versions"));
        }
        let (mut published, mut memory, mut engines) = (Vec::with_capacity(versions.0.len()), 0_usize, HashMap::new());
        for (key, raw) in versions.0 {
            let Some(manifest) = version(name, key, raw) else { continue };
            memory += manifest.bytes();
            if memory > limits.packuments_memory {
                return Err(Error::too_large(&file(), limits.packuments_memory as u64, "bytes in memory"));
            }
            let runs = match engines.get(&manifest.node) {
                Some(runs) => *runs,
                None => *engines.entry(manifest.node.clone()).or_insert_with(|| manifest.runs_on(node)),
            };
            published.push(PublishedVersion { manifest: Arc::new(manifest), runs });
        }
        Ok(Self { tags, versions: published, bytes: memory })
    }

    /// The version that npm chooses: that of a tag, the one that is named, `latest` if it matches and is not deprecated, or the best of
    /// those that match. Versions that are not deprecated and run on this Node.js are better, and then newer ones.
    #[must_use]
    pub fn pick(&self, wanted: &Wanted) -> Option<Arc<Manifest>> {
        let found = match wanted {
            Wanted::Tag(tag) => self.version(self.tags.get(tag)?),
            Wanted::Version(version) => self.versions.iter().find(|published| published.manifest.parsed.as_ref() == Some(version)),
            Wanted::Range(range) => {
                let accepts =
                    |published: &&PublishedVersion| published.manifest.parsed.as_ref().is_some_and(|version| range.accepts(version));
                let latest = self.tags.get("latest").and_then(|version| self.version(version));
                let is_preferred = |published: &&PublishedVersion| {
                    (range.is_any() || accepts(published)) && !published.manifest.is_deprecated && published.runs
                };
                // Of two equal versions, which differ in their builds, the first one counts: the last maximum of the reversed list.
                latest.filter(is_preferred).or_else(|| self.versions.iter().rev().filter(accepts).max_by_key(|published| published.rank()))
            }
        };
        found.map(|published| published.manifest.clone())
    }

    /// About how many comparisons a choice takes.
    pub(crate) fn cost(&self, wanted: &Wanted) -> usize {
        1 + self.versions.len() * wanted.size()
    }

    fn version(&self, text: &str) -> Option<&PublishedVersion> {
        self.versions.iter().find(|published| published.manifest.version == text)
    }
}

/// `None` for what is no version of a package.
fn version(name: &str, key: String, raw: &RawValue) -> Option<Manifest> {
    let parsed = Version::published(&key)?;
    let document: Document = if is_object(raw) { serde_json::from_str(raw.get()).ok()? } else { return None };
    Some(Manifest { name: name.to_owned(), version: key, parsed: Some(parsed), ..Manifest::of(document) })
}

impl PublishedVersion {
    /// The order of versions that match.
    fn rank(&self) -> (bool, bool, bool, Option<&Version>) {
        let is_kept = !self.manifest.is_deprecated;
        (self.runs && is_kept, self.runs, is_kept, self.manifest.parsed.as_ref())
    }
}
