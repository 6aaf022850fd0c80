//! `package-lock.json` of the formats 1 to 3.

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::check_entries;
use crate::{
    error::Error,
    finding::{Code, Finding},
    integrity::Integrity,
    limits::Limits,
    manifest::{Document, Manifest, object},
    name,
    semver::Version,
};

/// A package with its place.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The folders below the `node_modules` of each level.
    pub(crate) path: Vec<String>,
    /// The name of the package, which is not that of its folder for an alias.
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) integrity: Option<Integrity>,
    /// What the file says of the package. Format 1 does not say what it depends on.
    pub(crate) manifest: Option<Arc<Manifest>>,
}

/// The packages of a file, those of upper levels first.
#[derive(Debug, Clone, Default)]
pub(crate) struct NpmLock {
    pub(crate) entries: Vec<Entry>,
}

pub(super) fn read(file: &str, text: &str, limits: &Limits, findings: &mut Vec<Finding>) -> Result<NpmLock, Error> {
    let document = object(text.as_bytes(), limits.lock_bytes, file)?;
    let mut entries = Vec::new();
    match (document.get("packages"), document.get("dependencies")) {
        (Some(Value::Object(packages)), _) => {
            check_entries(file, packages.len(), limits)?;
            for (location, value) in packages.iter().filter(|(location, _)| !location.is_empty()) {
                entries.extend(entry(location, value, findings));
            }
        }
        (None, Some(Value::Object(dependencies))) => old_entries(file, (dependencies, &[]), limits, &mut entries)?,
        (None, None) => {}
        (Some(other), _) => return Err(Error::field(file, "packages", other, "is not an object")),
        (None, Some(other)) => return Err(Error::field(file, "dependencies", other, "is not an object")),
    }
    entries.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
    Ok(NpmLock { entries })
}

/// An entry of format 2 or 3. Packages inside of another one's tarball are left out, as in the tree.
fn entry(location: &str, value: &Value, findings: &mut Vec<Finding>) -> Option<Entry> {
    let is_inside = value["inBundle"] == true;
    let found = if is_inside { None } else { usable_entry(location, value) };
    if found.is_none() && !is_inside {
        findings.push(Finding::new(Code::LockEntryIgnored, location, "The entry of the lock file is not a package of the registry."));
    }
    found
}

fn usable_entry(location: &str, value: &Value) -> Option<Entry> {
    let path = folders(location)?;
    if value["link"] == true {
        return None;
    }
    let mut manifest = Manifest::of(Document::deserialize(value).ok()?);
    let integrity = value["integrity"].as_str().and_then(Integrity::parse);
    if manifest.name.is_empty() {
        manifest.name = path.last()?.clone();
    }
    manifest.integrity = integrity.clone();
    let is_usable = name::is_valid(&manifest.name) && Version::published(&manifest.version).is_some();
    is_usable.then(|| Entry {
        path,
        package: manifest.name.clone(),
        version: manifest.version.clone(),
        integrity,
        manifest: Some(Arc::new(manifest)),
    })
}

/// `node_modules/a/node_modules/@b/c` → `a`, `@b/c`.
fn folders(location: &str) -> Option<Vec<String>> {
    let rest = location.strip_prefix("node_modules/")?;
    let folders: Vec<String> = rest.split("/node_modules/").map(str::to_owned).collect();
    folders.iter().all(|folder| name::is_valid(folder)).then_some(folders)
}

/// The entries of format 1, which are nested. JSON has at most 128 levels.
fn old_entries(
    file: &str,
    (dependencies, above): (&Map<String, Value>, &[String]),
    limits: &Limits,
    entries: &mut Vec<Entry>,
) -> Result<(), Error> {
    for (folder, value) in dependencies {
        check_entries(file, entries.len() + 1, limits)?;
        let version = value["version"].as_str().unwrap_or_default();
        let alias = version.strip_prefix("npm:").and_then(|alias| alias.rsplit_once('@'));
        let (package, version) = alias.unwrap_or((folder, version));
        let path: Vec<String> = above.iter().cloned().chain([folder.clone()]).collect();
        if name::is_valid(folder) && name::is_valid(package) && Version::published(version).is_some() && value["bundled"] != true {
            entries.push(Entry {
                path: path.clone(),
                package: package.to_owned(),
                version: version.to_owned(),
                integrity: value["integrity"].as_str().and_then(Integrity::parse),
                manifest: None,
            });
        }
        if let Some(nested) = value["dependencies"].as_object() {
            old_entries(file, (nested, &path), limits, entries)?;
        }
    }
    Ok(())
}
