//! The modules of an answer that can change alone.

use std::collections::{BTreeSet, HashSet};

use compiler_client::message::{Facts, Finding, Independent, facts::Kind};

use super::{Graph, Walk};
use crate::{
    module::{self, component},
    page::Outline,
    tree::path,
};

/// Where the addresses of modules are.
const MODULES: &str = "@m/";

/// The modules of an answer that can change alone. Their files are read for nothing else, the page serves none of them as it is, and nothing
/// that was found is in them. `findings` has all of them.
pub(crate) fn independent(graph: &Graph, walk: &Walk, outline: &Outline, findings: &[Finding]) -> Vec<Independent> {
    // The scripts of workers are named by all that they load. A page with such an address could not be told from one with its own.
    let is_named = graph.facts.keys().any(|(_, kind)| *kind == Kind::Worker) || outline.text.contains(MODULES);
    if is_named {
        return Vec::new();
    }
    let found: HashSet<&str> = findings.iter().map(|finding| finding.file.as_str()).collect();
    let served: HashSet<&str> = walk.resources.values().map(|resource| resource.path.as_str()).collect();
    let several: BTreeSet<&str> = graph.facts.keys().filter(|name| name.1 != Kind::Module).map(|name| name.0.as_str()).collect();
    let is_free = |path: &str| {
        !found.contains(path) && !served.contains(path) && !several.contains(path) && graph.tree.has(path) && !graph.tree.is_read(path)
    };
    let modules = graph.facts.iter().filter(|(name, facts)| is_plain(&name.0) && is_whole(facts) && is_free(&name.0));
    // A scope has its place in the page by the address.
    let modules = modules.filter(|(_, facts)| !walk.scopes.contains_key(&facts.url));
    modules.map(|(_, facts)| Independent { path: facts.path.clone(), key: facts.key.clone(), url: facts.url.clone() }).collect()
}

/// Whether a module is a function of its file and its options.
fn is_plain(path: &str) -> bool {
    (module::is_script(path) || path::extension(path) == "css") && component::tool(path).is_none()
}

/// Whether a module has code, and nothing is wrong with it.
pub(crate) fn is_whole(facts: &Facts) -> bool {
    !facts.key.is_empty() && !facts.url.is_empty() && facts.findings.is_empty() && !facts.is_tailwind
}
