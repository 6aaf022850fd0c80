//! `yarn.lock` of yarn 2 and later: YAML. Its checksums are those of yarn's own archives, so the hashes come from the registry.

use serde_json::Value;

use super::{
    check_entries,
    picks::{Locked, Picks},
    yarn::split_key,
};
use crate::{
    error::Error,
    finding::{Code, Finding},
    limits::Limits,
};

pub(super) fn read(file: &str, document: &Value, limits: &Limits, findings: &mut Vec<Finding>) -> Result<Picks, Error> {
    let entries = document.as_object().ok_or_else(|| Error::syntax(file, "is not a list of entries"))?;
    let (mut picks, mut count) = (Picks::default(), 0);
    for (keys, entry) in entries.iter().filter(|(key, _)| *key != "__metadata") {
        let version = entry["version"].as_str().unwrap_or_default();
        count += keys.split(',').count();
        check_entries(file, count, limits)?;
        for (name, spec) in keys.split(',').filter_map(|key| split_key(key.trim())) {
            match spec.strip_prefix("npm:") {
                Some(request) => add(&mut picks, (&name, request), version),
                // The project itself, and its workspaces.
                None if spec.starts_with("workspace:") => {}
                None => findings.push(Finding::new(Code::LockEntryIgnored, &name, "The entry of the lock file is not from the registry.")),
            }
        }
    }
    Ok(picks)
}

/// `npm:^1` stands for `^1` in the file, and `npm:other@^1` for an alias.
fn add(picks: &mut Picks, (name, request): (&str, &str), version: &str) {
    let alias = split_key(request).filter(|(package, _)| crate::name::is_valid(package));
    let (package, spec) = alias.map_or_else(|| (name.to_owned(), request.to_owned()), |(package, _)| (package, format!("npm:{request}")));
    if let Some(locked) = Locked::new(&package, version, None) {
        picks.add_for_spec(name, &spec, locked);
    }
}
