//! `pnpm-lock.yaml` of the formats 5 to 9.
//!
//! | format | key of a package | dependency of the project | dependencies of packages |
//! |---|---|---|---|
//! | 5 | `/name/1.2.3_peers` | `name: 1.2.3_peers` | in `packages` |
//! | 6, 7 | `/name@1.2.3(peers)` | `name: {specifier, version}` | in `packages` |
//! | 9 | `name@1.2.3` | `name: {specifier, version}` in `importers` | in `snapshots` |

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    check_entries,
    picks::{Locked, Picks},
};
use crate::{
    error::Error,
    finding::{Code, Finding},
    integrity::Integrity,
    limits::Limits,
};

const LISTS: [&str; 3] = ["dependencies", "devDependencies", "optionalDependencies"];

/// A lock file while it is read.
struct Reader<'a> {
    /// Whether the format is 5, where a slash stands before the version.
    is_old: bool,
    integrities: HashMap<(String, String), Integrity>,
    picks: Picks,
    findings: &'a mut Vec<Finding>,
}

pub(super) fn read(file: &str, document: &Value, limits: &Limits, findings: &mut Vec<Finding>) -> Result<Picks, Error> {
    let version = match &document["lockfileVersion"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => return Err(Error::field(file, "lockfileVersion", other, "is not a version")),
    };
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if !(5..=9).contains(&major) {
        return Err(Error::field(file, "lockfileVersion", &version, "is not a version from 5 to 9"));
    }
    let (none, is_old) = (Map::new(), major == 5);
    let table = |field: &str| document[field].as_object().unwrap_or(&none);
    check_entries(file, table("packages").len() + table("snapshots").len(), limits)?;
    let mut reader = Reader { is_old, integrities: HashMap::new(), picks: Picks::default(), findings };
    for (key, entry) in table("packages") {
        let integrity = entry["resolution"]["integrity"].as_str().and_then(Integrity::parse);
        if let (Some(package), Some(integrity)) = (reader.package(key), integrity) {
            reader.integrities.insert(package, integrity);
        }
    }
    reader.project(document["importers"].get(".").unwrap_or(document));
    for (key, entry) in table("packages").iter().chain(table("snapshots")) {
        if let Some((name, version)) = reader.package(key) {
            reader.lists(Some((&name, &version)), entry, &["dependencies", "optionalDependencies"]);
        }
    }
    Ok(reader.picks)
}

impl Reader<'_> {
    fn project(&mut self, importer: &Value) {
        self.lists(None, importer, &LISTS);
    }

    fn lists(&mut self, by: Option<(&str, &str)>, entry: &Value, lists: &[&str]) {
        for (name, value) in lists.iter().filter_map(|list| entry[list].as_object()).flatten() {
            let Some(version) = value.as_str().or_else(|| value["version"].as_str()) else { continue };
            let (package, version) = self.reference(name, version);
            let integrity = self.integrities.get(&(package.clone(), version.clone())).cloned();
            match Locked::new(&package, &version, integrity) {
                Some(locked) => self.picks.add_for_dependent(by, name, locked),
                None => {
                    self.findings.push(Finding::new(Code::LockEntryIgnored, name, "The entry of the lock file is not from the registry."))
                }
            }
        }
    }

    /// What a dependency refers to: a version, or a key of `packages` for an alias.
    fn reference(&self, name: &str, text: &str) -> (String, String) {
        let bare = self.without_peers(text);
        match self.package(text) {
            Some(package) if crate::semver::Version::parse(bare).is_none() => package,
            _ => (name.to_owned(), bare.to_owned()),
        }
    }

    fn without_peers<'t>(&self, text: &'t str) -> &'t str {
        let end = if self.is_old { text.find('_').filter(|_| !text.contains('/')) } else { text.find('(') };
        &text[..end.unwrap_or(text.len())]
    }

    /// The name and the version in a key of `packages`.
    fn package(&self, key: &str) -> Option<(String, String)> {
        let key = key.strip_prefix('/').unwrap_or(key);
        let (name, version) = if self.is_old {
            let (name, version) = key.rsplit_once('/')?;
            (name, version.split('_').next()?)
        } else {
            key[..key.find('(').unwrap_or(key.len())].rsplit_once('@')?
        };
        (!name.is_empty()).then(|| (name.to_owned(), version.to_owned()))
    }
}
