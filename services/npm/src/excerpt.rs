//! Parts of packuments: versions that are kept for machines without a registry. A packument of such versions resolves a project to a tree
//! of them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    error::Error,
    integrity::Integrity,
    lenient::{Members, Texts},
    limits::Limits,
    manifest::{Document, Manifest},
    name,
    semver::Version,
};

/// The fields that a resolution reads.
const FIELDS: [&str; 16] = [
    "name",
    "version",
    "dependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bundleDependencies",
    "bundledDependencies",
    "os",
    "cpu",
    "libc",
    "engines",
    "deprecated",
    "hasInstallScript",
    "scripts",
    "dist",
];
/// The most bytes of a document. Real ones have less than twenty thousand.
const MAX_BYTES: usize = 256 << 10;
/// The tag that a package always has.
const LATEST: &str = "latest";

/// A version of a package, without what a resolution does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    pub name: String,
    pub version: String,
    /// The dist-tags that name it, sorted.
    pub tags: Vec<String>,
    /// A JSON object.
    pub document: Vec<u8>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "dist-tags", default)]
    tags: Texts,
    #[serde(borrow, default)]
    versions: Members<'a>,
}

impl Excerpt {
    /// Takes a version out of a packument. `None` if it has no such version.
    ///
    /// # Errors
    /// The packument is no JSON object, or the version has too much text.
    pub fn of(name: &str, version: &str, packument: &[u8], limits: &Limits) -> Result<Option<Self>, Error> {
        let file = || format!("the packument of {name}");
        if packument.len() > limits.packument_bytes {
            return Err(Error::too_large(&file(), limits.packument_bytes as u64, "bytes"));
        }
        let Fields { tags, versions } = serde_json::from_slice(packument).map_err(|error| Error::syntax(&file(), error))?;
        let Some((_, raw)) = versions.0.into_iter().find(|(key, _)| key == version) else { return Ok(None) };
        let mut tags: Vec<String> = tags.0.into_iter().filter(|(_, of)| of == version).map(|(tag, _)| tag).collect();
        tags.sort();
        Self::read(name, version, tags, raw.get().as_bytes()).map(Some)
    }

    /// Reads a document, and leaves out fields that no resolution reads.
    ///
    /// # Errors
    /// It is no JSON object of a version, or too large, or the name or the version is none.
    pub fn read(name: &str, version: &str, tags: Vec<String>, document: &[u8]) -> Result<Self, Error> {
        let file = format!("{name}@{version}");
        if !name::is_valid(name) {
            return Err(Error::field(&file, "name", name, "is not the name of a package"));
        }
        if Version::published(version).is_none() {
            return Err(Error::field(&file, "version", version, "is not a version"));
        }
        let mut object: Map<String, Value> = serde_json::from_slice(document).map_err(|error| Error::syntax(&file, error))?;
        object.retain(|field, _| FIELDS.contains(&field.as_str()));
        // A reason can be a long text, and only matters as far as there is one.
        if object.get("deprecated").is_some_and(Value::is_string) {
            let is_deprecated = object["deprecated"] != "";
            object.insert("deprecated".to_owned(), is_deprecated.into());
        }
        if let Some(Value::Object(dist)) = object.get_mut("dist") {
            dist.retain(|field, _| ["integrity", "shasum"].contains(&field.as_str()));
        }
        let document = Value::Object(object).to_string().into_bytes();
        if document.len() > MAX_BYTES {
            return Err(Error::too_large(&file, MAX_BYTES as u64, "bytes in its document"));
        }
        serde_json::from_slice::<Document>(&document).map_err(|error| Error::syntax(&file, error))?;
        Ok(Self { name: name.to_owned(), version: version.to_owned(), tags, document })
    }

    /// The hash of its tarball that was published, if there is one.
    #[must_use]
    pub fn integrity(&self) -> Option<Integrity> {
        let document: Document = serde_json::from_slice(&self.document).ok()?;
        Manifest::of(document).integrity
    }

    /// A packument of the versions. Of two versions with the same tag, the newer one has it. Without a version with the tag `latest`, the
    /// newest one that is no prerelease has it.
    #[must_use]
    pub fn packument(name: &str, versions: &[Self]) -> Bytes {
        #[derive(Serialize)]
        struct Packument<'a> {
            name: &'a str,
            #[serde(rename = "dist-tags")]
            tags: Map<String, Value>,
            versions: std::collections::BTreeMap<&'a str, &'a RawValue>,
        }
        let mut sorted: Vec<_> = versions.iter().filter_map(|excerpt| Some((Version::published(&excerpt.version)?, excerpt))).collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut tags = Map::new();
        for (_, excerpt) in &sorted {
            tags.extend(excerpt.tags.iter().map(|tag| (tag.clone(), json!(excerpt.version))));
        }
        let newest = sorted.iter().rev().find(|(version, _)| !version.is_prerelease()).or(sorted.last());
        if let Some((_, newest)) = newest {
            tags.entry(LATEST).or_insert_with(|| json!(newest.version));
        }
        let raw = |excerpt: &'_ Self| serde_json::from_slice::<&RawValue>(&excerpt.document).ok().map(ToOwned::to_owned);
        let documents: Vec<_> = sorted.iter().filter_map(|(_, excerpt)| Some((excerpt.version.as_str(), raw(excerpt)?))).collect();
        let versions = documents.iter().map(|(version, raw)| (*version, &**raw)).collect();
        serde_json::to_vec(&Packument { name, tags, versions }).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{packument::Packument, spec::Spec};

    fn excerpt(version: &str, tags: &[&str]) -> Excerpt {
        let packument = json!({
            "dist-tags": tags.iter().map(|tag| ((*tag).to_owned(), json!(version))).collect::<Map<_, _>>(),
            "versions": {version: {
                "name": "a", "version": version, "readme": "# long", "deprecated": "because", "dependencies": {"b": "^1"},
                "dist": {"shasum": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "tarball": "http://elsewhere"},
            }},
        });
        Excerpt::of("a", version, packument.to_string().as_bytes(), &Limits::default()).expect("a packument").expect("a version")
    }

    fn pick(versions: &[Excerpt], spec: &str) -> Option<String> {
        let options = crate::Options::default();
        let packument = Packument::parse("a", &Excerpt::packument("a", versions), &options.node, &options.limits).expect("a packument");
        packument.pick(&Spec::parse(spec).expect("a specifier").wanted).map(|manifest| manifest.version.clone())
    }

    #[test]
    fn only_what_a_resolution_reads_is_kept() {
        let one = excerpt("1.0.0", &["latest", "beta"]);
        let document: Value = serde_json::from_slice(&one.document).expect("JSON");
        assert_eq!(
            document,
            json!({
                "name": "a", "version": "1.0.0", "deprecated": true, "dependencies": {"b": "^1"},
                "dist": {"shasum": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"},
            })
        );
        assert_eq!(one.tags, ["beta", "latest"]);
        assert!(one.integrity().expect("a hash").matches(b"hello"));
        assert_eq!(Excerpt::of("a", "2.0.0", br#"{"versions": {"1.0.0": {}}}"#, &Limits::default()), Ok(None));
    }

    #[test]
    fn tags_name_the_newest_version_that_has_them() {
        let versions =
            [excerpt("1.0.0", &["latest"]), excerpt("1.10.0", &["latest"]), excerpt("2.0.0-rc.1", &["next"]), excerpt("1.9.0", &[])];
        for (spec, expected) in
            [("latest", Some("1.10.0")), ("next", Some("2.0.0-rc.1")), ("~1.9", Some("1.9.0")), ("^2", None), ("beta", None)]
        {
            assert_eq!(pick(&versions, spec).as_deref(), expected, "{spec}");
        }
        assert_eq!(pick(&versions[2..], "latest").as_deref(), Some("1.9.0"));
        assert_eq!(pick(&versions[2..3], "latest").as_deref(), Some("2.0.0-rc.1"));
        assert_eq!(pick(&[], "latest"), None);
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for (name, version, document) in
            [("../a", "1.0.0", "{}"), ("a", "1", "{}"), ("a", "1.0.0", "[]"), ("a", "1.0.0", "{"), ("a", "1.0.0", "")]
        {
            assert!(Excerpt::read(name, version, Vec::new(), document.as_bytes()).is_err(), "{name} {version} {document}");
        }
        let long = json!({"dependencies": {"a": "x".repeat(MAX_BYTES)}}).to_string();
        assert!(matches!(Excerpt::read("a", "1.0.0", Vec::new(), long.as_bytes()), Err(Error::TooLarge { .. })));
    }
}
