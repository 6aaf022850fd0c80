//! The files of a site.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use compiler_client::message::SiteFile;
use rolldown::BundleOutput;
use rolldown_common::OutputChunk;

use super::{Site, sheet};
use crate::{
    compile::Compilation,
    graph::PAGE,
    module::{self, ASSETS},
    packages::chunks,
    page::{self, Additions, Edit},
    tree::resolve::PUBLIC,
};

pub(super) fn files(compilation: &Compilation, site: &Site, bundled: &BundleOutput) -> Vec<SiteFile> {
    let mut files = BTreeMap::new();
    let mut put = |path: String, source: &str, content: Bytes| {
        // What is made for the site has a hash in its name there.
        let hashed = path.starts_with(ASSETS);
        files.insert(path.clone(), SiteFile { path, source: source.to_owned(), content, hashed });
    };
    for resource in compilation.walk.resources.values().filter(|resource| !resource.path.is_empty()) {
        put(resource.url.clone(), &resource.path, Bytes::new());
    }
    for resource in site.notes.resources() {
        let content = site.files.content(&resource.path).map(|content| content.bytes.clone()).unwrap_or_default();
        put(resource.url, "", content);
    }
    let chunks: Vec<&OutputChunk> = chunks(bundled).collect();
    for chunk in &chunks {
        put(chunk.filename.to_string(), "", chunk.code.clone().into());
    }
    let sheet = sheet::text(&site.modules, &site.notes.take_sheets(), bundled);
    let sheet_name = (!sheet.is_empty()).then(|| format!("{ASSETS}index-{}.css", &module::hash(&sheet)[..16]));
    if let Some(name) = &sheet_name {
        put(name.clone(), "", sheet.into());
    }
    put(PAGE.to_owned(), "", page(compilation, site, &chunks, sheet_name.as_deref()).into());
    for path in compilation.graph.tree.below(PUBLIC) {
        if let Some(inside) = path.strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix('/')) {
            let copy = || SiteFile { path: inside.to_owned(), source: path.to_owned(), ..SiteFile::default() };
            files.entry(inside.to_owned()).or_insert_with(copy);
        }
    }
    files.into_values().collect()
}

/// The page with the addresses of the entries, and one link to the style sheet.
fn page(compilation: &Compilation, site: &Site, chunks: &[&OutputChunk], sheet: Option<&str>) -> String {
    let base = &compilation.walk.base;
    let mut edits = compilation.walk.edits.clone();
    for entry in &site.modules.entries {
        if let Some(element) = entry.element {
            edits.insert((element, "src", 0), Edit::Set(format!("{base}{ASSETS}{}.js", entry.name)));
        }
    }
    edits.extend(site.modules.linked.iter().map(|(_, element)| ((*element, "href", 0), Edit::Remove)));
    let mut end: String =
        preloaded(site, chunks).iter().map(|name| format!("<link rel=\"modulepreload\" crossorigin href=\"{base}{name}\">")).collect();
    if let Some(sheet) = sheet {
        end.push_str(&format!("<link rel=\"stylesheet\" crossorigin href=\"{base}{sheet}\">"));
    }
    let additions = Additions { start: String::new(), end };
    let html = compilation.html.as_deref().unwrap_or_default();
    page::write(html, &compilation.outline, &edits, &additions).unwrap_or_default()
}

/// The chunks that the entries of the page import.
fn preloaded<'c>(site: &Site, chunks: &[&'c OutputChunk]) -> BTreeSet<&'c str> {
    let by_name: BTreeMap<&str, &&OutputChunk> = chunks.iter().map(|chunk| (chunk.filename.as_str(), chunk)).collect();
    let names = site.modules.entries.iter().filter(|entry| entry.element.is_some()).map(|entry| format!("{ASSETS}{}.js", entry.name));
    let entries: BTreeSet<String> = names.collect();
    let mut open: Vec<&str> = entries.iter().map(String::as_str).collect();
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        let Some(chunk) = by_name.get(name) else { continue };
        for import in &chunk.imports {
            if !entries.contains(import.as_str()) && reached.insert(import.as_str()) {
                open.push(import.as_str());
            }
        }
    }
    reached
}
