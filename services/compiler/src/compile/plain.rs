//! The check of a tree whose files a browser gets as they are: pages, scripts, style sheets and JSON.

use std::collections::{BTreeMap, BTreeSet};

use compiler_client::message::{Answer, Finding, Request, facts::Kind, finding::listed};
use serde_json::Value;

use super::{broken_json, inline, merged, outline, read_page, tree};
use crate::{
    graph::{self, Checker, Classic, Graph, Name, PAGE, Target, Walk},
    module,
    page::{self, Outline, Role},
    project::Project,
    tree::{Tree, path, resolve::Resolver},
};

/// Folders whose pages are those of others.
const FOREIGN: [&str; 3] = ["node_modules", "dist", ".git"];

/// Checks the files. The answer has no page.
pub(super) fn check(request: Request, progress: &mut dyn FnMut(&str)) -> Answer {
    let mut tree = tree(request.files);
    let mut findings = Vec::new();
    let pages = Pages::read(&mut tree, &mut findings);
    for page in &pages.absent {
        tree.content(page);
    }
    let project = Project::plain(&tree).of_release(&request.release);
    let resolver = Resolver::exact(&tree);
    let mut graph = Graph::new(&tree, &resolver, &project, &request.known, progress);
    for name in graph.sources() {
        graph.load(&name);
    }
    findings.extend(broken_json(&tree, true));
    let wanted = graph.wanted();
    if !wanted.is_empty() {
        return Answer { wanted, modules: graph.compiled, ..Answer::default() };
    }
    // Without a page in the root a server answers the pages, and which file has which address is not known.
    let is_foreign = !tree.has(PAGE);
    for (page, outline) in pages.outlines.iter().filter(|(_, outline)| !outline.has_base) {
        let found = graph::addresses::check(&graph, page, outline).into_iter();
        findings.extend(found.map(|finding| Finding { is_warning: finding.is_warning || is_foreign, ..finding }));
    }
    let walk = Walk::of_reached(reached(&graph, &pages));
    let maps = pages.mapped();
    let classic = Classic::of(&graph, pages.outlines.iter().map(|(page, outline)| (page.as_str(), outline)));
    let checker = Checker::plain(&graph, &walk, &classic, maps.iter().map(String::as_str).collect());
    findings.extend(checker.of_other_tool(is_foreign).modules());
    for finding in &mut findings {
        if let Some(page) = pages.inline.get(&finding.file) {
            finding.file.clone_from(page);
        }
    }
    Answer { findings: listed(merged(findings)), modules: graph.compiled, ..Answer::default() }
}

/// The pages of a tree.
#[derive(Default)]
struct Pages {
    /// With their paths.
    outlines: Vec<(String, Outline)>,
    /// Pages without their contents.
    absent: Vec<String>,
    /// The page of each inline script, by the name of the script.
    inline: BTreeMap<String, String>,
}

impl Pages {
    /// Reads all pages. Their inline scripts become files.
    fn read(tree: &mut Tree, findings: &mut Vec<Finding>) -> Self {
        let is_page =
            |path: &&str| ["html", "htm"].contains(&path::extension(path).as_str()) && !path.split('/').any(|part| FOREIGN.contains(&part));
        let paths: Vec<String> = tree.paths().filter(is_page).map(str::to_owned).collect();
        let mut pages = Self::default();
        for path in paths {
            if tree.get(&path).is_some_and(|entry| entry.content.is_none() && entry.size <= module::MAX_SOURCE) {
                pages.absent.push(path);
                continue;
            }
            let Some(html) = read_page(&path, tree, findings) else { continue };
            let outline = outline(&path, &html, None, tree, findings);
            for script in &outline.scripts {
                tree.add(graph::inline_name(&path, script), inline(script));
            }
            let modules = outline.items.iter().filter(|item| item.role == Role::InlineModule);
            pages.inline.extend(modules.chain(&outline.scripts).map(|item| (graph::inline_name(&path, item), path.clone())));
            pages.outlines.push((path, outline));
        }
        pages
    }

    /// The keys of all import maps. One that is not valid has none.
    fn mapped(&self) -> BTreeSet<String> {
        let maps = self.outlines.iter().filter_map(|(_, outline)| serde_json::from_str::<Value>(&outline.import_map).ok());
        maps.filter_map(|map| Some(map.get("imports")?.as_object()?.keys().cloned().collect::<Vec<_>>())).flatten().collect()
    }
}

/// What the pages load: their scripts and style sheets, and what these import.
fn reached(graph: &Graph, pages: &Pages) -> BTreeSet<Name> {
    let mut open: Vec<Name> = pages.inline.keys().map(|script| (script.clone(), Kind::Module)).collect();
    for (page, outline) in &pages.outlines {
        let loaded = outline.items.iter().filter(|item| matches!(item.role, Role::Module | Role::Script | Role::Sheet));
        let own = loaded.filter(|item| page::is_own(&item.value));
        open.extend(own.filter_map(|item| Some((graph::resolve_in_page(graph, page, &item.value)?, Kind::Module))));
    }
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if reached.contains(&name) {
            continue;
        }
        let imports = graph.facts.get(&name).map(|facts| facts.imports.as_slice()).unwrap_or_default();
        open.extend(imports.iter().filter_map(|import| match graph.target(&name, import) {
            Target::File(target) if target.1 == Kind::Module => Some(target),
            _ => None,
        }));
        reached.insert(name);
    }
    reached
}
