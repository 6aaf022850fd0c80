//! `package-lock.json` of the formats 1 to 3.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::check_entries;
use crate::{
    error::Error,
    finding::{Code, Finding},
    integrity::Integrity,
    lenient::{IsTrue, Members, Text, is_object},
    limits::Limits,
    manifest::{Document, Manifest},
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

impl NpmLock {
    /// The package that the project itself finds by this name.
    pub(crate) fn top(&self, name: &str) -> Option<&Entry> {
        let at = self.entries.partition_point(|entry| entry.path.len() == 1 && *entry.path[0] < *name);
        self.entries.get(at).filter(|entry| entry.path.len() == 1 && entry.path[0] == name)
    }
}

/// The fields of a file that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    #[serde(borrow)]
    packages: Option<&'a RawValue>,
    #[serde(borrow)]
    dependencies: Option<&'a RawValue>,
}

pub(super) fn read(file: &str, text: &str, limits: &Limits, findings: &mut Vec<Finding>) -> Result<NpmLock, Error> {
    if text.trim_start().starts_with('[') {
        return Err(Error::field(file, ".", text, "is not an object"));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| Error::syntax(file, error))?;
    let mut entries = Vec::new();
    match (fields.packages, fields.dependencies) {
        (Some(packages), _) => {
            let packages = members(file, "packages", packages)?;
            check_entries(file, packages.len(), limits)?;
            for (location, value) in packages.iter().filter(|(location, _)| !location.is_empty()) {
                entries.extend(entry(location, value, findings));
            }
        }
        (None, Some(dependencies)) => old_entries(file, (members(file, "dependencies", dependencies)?, &[]), limits, &mut entries)?,
        (None, None) => {}
    }
    entries.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
    Ok(NpmLock { entries })
}

/// The members of an object. An error for any other type.
fn members<'a>(file: &str, field: &str, raw: &'a RawValue) -> Result<Vec<(String, &'a RawValue)>, Error> {
    if !is_object(raw) {
        return Err(Error::field(file, field, raw.get(), "is not an object"));
    }
    let members: Members<'_> = serde_json::from_str(raw.get()).map_err(|error| Error::syntax(file, error))?;
    Ok(members.0)
}

/// What an entry says that is not about the package itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Marks {
    link: IsTrue,
    in_bundle: IsTrue,
    integrity: Text,
}

/// An entry of format 2 or 3. Packages inside of another one's tarball are left out, as in the tree.
fn entry(location: &str, raw: &RawValue, findings: &mut Vec<Finding>) -> Option<Entry> {
    let marks: Option<Marks> = if is_object(raw) { serde_json::from_str(raw.get()).ok() } else { None };
    let is_inside = marks.as_ref().is_some_and(|marks| marks.in_bundle.0);
    let found = marks.filter(|marks| !is_inside && !marks.link.0).and_then(|marks| usable_entry(location, raw, &marks));
    if found.is_none() && !is_inside {
        findings.push(Finding::new(Code::LockEntryIgnored, location, "The entry of the lock file is not a package of the registry."));
    }
    found
}

fn usable_entry(location: &str, raw: &RawValue, marks: &Marks) -> Option<Entry> {
    let path = folders(location)?;
    let mut manifest = Manifest::of(serde_json::from_str::<Document>(raw.get()).ok()?);
    let integrity = marks.integrity.0.as_deref().and_then(Integrity::parse);
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct OldEntry<'a> {
    version: Text,
    integrity: Text,
    bundled: IsTrue,
    #[serde(borrow)]
    dependencies: Option<&'a RawValue>,
}

/// The entries of format 1, which are nested.
fn old_entries(
    file: &str,
    (dependencies, above): (Vec<(String, &RawValue)>, &[String]),
    limits: &Limits,
    entries: &mut Vec<Entry>,
) -> Result<(), Error> {
    if above.len() > limits.depth {
        return Err(Error::too_large(file, limits.depth as u64, "levels of node_modules"));
    }
    for (folder, raw) in dependencies.into_iter().filter(|(_, raw)| is_object(raw)) {
        check_entries(file, entries.len() + 1, limits)?;
        let Ok(entry) = serde_json::from_str::<OldEntry<'_>>(raw.get()) else { continue };
        let version = entry.version.0.as_deref().unwrap_or_default();
        let alias = version.strip_prefix("npm:").and_then(|alias| alias.rsplit_once('@'));
        let (package, version) = alias.unwrap_or((&folder, version));
        let path: Vec<String> = above.iter().cloned().chain([folder.clone()]).collect();
        if name::is_valid(&folder) && name::is_valid(package) && Version::published(version).is_some() && !entry.bundled.0 {
            entries.push(Entry {
                path: path.clone(),
                package: package.to_owned(),
                version: version.to_owned(),
                integrity: entry.integrity.0.as_deref().and_then(Integrity::parse),
                manifest: None,
            });
        }
        if let Some(nested) = entry.dependencies.filter(|nested| is_object(nested)) {
            old_entries(file, (members(file, "dependencies", nested)?, &path), limits, entries)?;
        }
    }
    Ok(())
}
