//! The versions of a package, and npm's choice among them.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use crate::{
    error::Error,
    lenient::Texts,
    manifest::{Document, Manifest},
    semver::Version,
    spec::Wanted,
};

/// The most versions of a package.
const MAX_VERSIONS: usize = 50_000;

/// All versions of a package.
#[derive(Debug)]
pub struct Packument {
    tags: Texts,
    versions: Vec<Arc<Manifest>>,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "dist-tags", default)]
    tags: Texts,
    #[serde(default)]
    versions: Versions,
}

impl Packument {
    /// Reads the document of a registry, full or abbreviated. A version whose fields contradict its place is left out.
    ///
    /// # Errors
    /// It is too long, or no JSON with the shape of a packument.
    pub fn parse(name: &str, bytes: &[u8], limit: usize) -> Result<Self, Error> {
        let file = || format!("the packument of {name}");
        if bytes.len() > limit {
            return Err(Error::too_large(&file(), limit as u64, "bytes"));
        }
        let Fields { tags, versions } = serde_json::from_slice(bytes).map_err(|error| Error::syntax(&file(), error))?;
        let mut list = Vec::with_capacity(versions.0.len());
        for (key, document) in versions.0 {
            let mut manifest = Manifest::of(document);
            manifest.name = name.to_owned();
            let Some(version) = Version::published(&key) else { continue };
            (manifest.version, manifest.parsed) = (key, Some(version));
            list.push(Arc::new(manifest));
        }
        Ok(Self { tags, versions: list })
    }

    /// The version that npm chooses: that of a tag, the one that is named, `latest` if it matches and is not deprecated, or the best of
    /// those that match. Versions that are not deprecated and run on this Node.js are better, and then newer ones.
    #[must_use]
    pub fn pick(&self, wanted: &Wanted, node: &Version) -> Option<Arc<Manifest>> {
        match wanted {
            Wanted::Tag(tag) => self.version(self.tags.get(tag)?),
            Wanted::Version(version) => self.versions.iter().find(|manifest| manifest.parsed.as_ref() == Some(version)).cloned(),
            Wanted::Range(range) => {
                let accepts = |manifest: &&Arc<Manifest>| manifest.parsed.as_ref().is_some_and(|version| range.accepts(version));
                let latest = self.tags.get("latest").and_then(|version| self.version(version));
                let is_preferred =
                    |manifest: &Arc<Manifest>| (range.is_any() || accepts(&manifest)) && !manifest.is_deprecated && manifest.runs_on(node);
                // Of two equal versions, which differ in their builds, the first one counts: the last maximum of the reversed list.
                latest
                    .filter(is_preferred)
                    .or_else(|| self.versions.iter().rev().filter(accepts).max_by_key(|manifest| rank(manifest, node)).cloned())
            }
        }
    }

    fn version(&self, text: &str) -> Option<Arc<Manifest>> {
        self.versions.iter().find(|manifest| manifest.version == text).cloned()
    }
}

/// The order of versions that match.
fn rank<'a>(manifest: &'a Arc<Manifest>, node: &Version) -> (bool, bool, bool, Option<&'a Version>) {
    let (runs, is_kept) = (manifest.runs_on(node), !manifest.is_deprecated);
    (runs && is_kept, runs, is_kept, manifest.parsed.as_ref())
}

#[derive(Default)]
struct Versions(Vec<(String, Document)>);

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(VersionsVisitor)
    }
}

struct VersionsVisitor;

impl<'de> Visitor<'de> for VersionsVisitor {
    type Value = Versions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of versions")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Versions, A::Error> {
        let mut versions = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if versions.len() == MAX_VERSIONS {
                map.next_value::<IgnoredAny>()?;
            } else {
                versions.push((key, map.next_value()?));
            }
        }
        Ok(Versions(versions))
    }
}
