//! Addresses by content.

use std::collections::{BTreeMap, BTreeSet};

use compiler_client::message::{Package, PackageModule, PackagesAnswer, Resource};
use rolldown::BundleOutput;
use rolldown_common::OutputChunk;
use sha2::{Digest, Sha256};

use super::{
    build::chunks,
    entry::Entry,
    plugin::{ENTRY, NAME_END, NAME_START},
};

/// The bytes of a hash that an address has.
const HASH_BYTES: usize = 16;

pub(super) fn answer(built: &BundleOutput, resources: Vec<Resource>, entries: &[Entry]) -> PackagesAnswer {
    let chunks: BTreeMap<&str, &OutputChunk> = chunks(built).map(|chunk| (chunk.filename.as_str(), chunk)).collect();
    let urls: BTreeMap<&str, String> = chunks.keys().map(|name| (*name, url(&chunks, name))).collect();
    let mut packages = Vec::new();
    for (name, chunk) in &chunks {
        let entry = chunk.facade_module_id.as_ref().filter(|_| chunk.is_entry).and_then(|id| id.as_ref().strip_prefix(ENTRY));
        let entry = entry.and_then(|at| entries.get(at.parse::<usize>().ok()?));
        packages.extend(entry.map(|entry| Package {
            specifier: entry.specifier.clone(),
            url: urls[name].clone(),
            exports: exports(chunk),
        }));
    }
    packages.sort_by(|a, b| a.specifier.cmp(&b.specifier));
    let mut modules: Vec<_> =
        chunks.iter().map(|(name, chunk)| PackageModule { url: urls[name].clone(), code: renamed(&chunk.code, &urls).into() }).collect();
    modules.sort_by(|a, b| a.url.cmp(&b.url));
    modules.dedup_by(|a, b| a.url == b.url);
    PackagesAnswer { packages, modules, resources, ..PackagesAnswer::default() }
}

/// The names that a browser can import, sorted.
fn exports(chunk: &OutputChunk) -> Vec<String> {
    let mut names: Vec<_> = chunk.exports.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The address of a chunk: the hash of its code and of all that it loads, by the names before they are replaced. Chunks can import each
/// other in circles.
fn url(chunks: &BTreeMap<&str, &OutputChunk>, name: &str) -> String {
    let (mut reached, mut open) = (BTreeSet::new(), vec![name]);
    while let Some(name) = open.pop() {
        let Some(chunk) = chunks.get(name) else { continue };
        if reached.insert(name) {
            open.extend(chunk.imports.iter().chain(&chunk.dynamic_imports).map(|name| name.as_str()));
        }
    }
    let mut hash = Sha256::new();
    for part in std::iter::once(name).chain(reached.iter().flat_map(|name| [*name, chunks[name].code.as_str()])) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: String = hash.finalize().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("@m/{hash}.js")
}

/// The code with the addresses of other chunks instead of their names.
fn renamed(code: &str, urls: &BTreeMap<&str, String>) -> String {
    let mut renamed = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(NAME_START) {
        let end = rest[start..].find(NAME_END).map(|at| start + at + NAME_END.len());
        let (name, next) = end.map_or((&rest[start..start], start + NAME_START.len()), |end| (&rest[start..end], end));
        renamed.push_str(&rest[..start]);
        match urls.get(name) {
            Some(url) => renamed.push_str(url.trim_start_matches("@m/")),
            None => {
                renamed.push_str(&rest[start..start + NAME_START.len()]);
                rest = &rest[start + NAME_START.len()..];
                continue;
            }
        }
        rest = &rest[next..];
    }
    renamed + rest
}
