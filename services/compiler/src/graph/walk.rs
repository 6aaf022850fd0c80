//! From the page over all imports to the modules that it loads, with the addresses of the import map.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use compiler_client::message::{Package, Resource, facts::Import, facts::Kind, tools::REFRESHES};

use super::{
    Graph, Name, Target, generated,
    links::{self, Links},
    sheets::Sheets,
    tailwind,
    workers::Workers,
};
use crate::{
    environment,
    module::{self, helpers},
    page::{self, Edit, Item, Outline, Role, Spot},
    tool,
    tree::{path, resolve::PUBLIC},
};

/// The page of a project.
pub(crate) const PAGE: &str = "index.html";

/// What a page loads.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The path of the page's folder.
    pub(crate) base: String,
    /// Addresses by specifier.
    pub(crate) imports: BTreeMap<String, String>,
    /// Specifiers that mean something else for one module, by the address of that module.
    pub(crate) scopes: BTreeMap<String, BTreeMap<String, String>>,
    /// Addresses of modules that the page needs at once, in the order in which they are found.
    pub(crate) preload: Vec<String>,
    pub(crate) resources: BTreeMap<String, Resource>,
    /// Specifiers of packages.
    pub(crate) bare: BTreeSet<String>,
    pub(crate) reached: BTreeSet<Name>,
    /// Files whose errors leave the page without a style sheet: it, a sheet that it imports, or a configuration of Tailwind.
    pub(crate) blocking: BTreeSet<String>,
    /// Addresses of the page's elements, by their numbers.
    pub(crate) edits: page::Edits,
    /// Modules of which imports are still to be followed; those that are loaded later come after them, and scripts of workers last.
    queue: VecDeque<(Name, bool)>,
    later: VecDeque<Name>,
    /// Style sheets that are written when all words of the page are known.
    waiting: Vec<Waiting>,
    pub(super) workers: Workers,
    pub(super) sheets: Sheets,
    pub(crate) links: Links,
}

/// What stands for React Refresh or Prefresh if it cannot be had: the page is loaded again after a change.
const NO_REFRESH: &str = "export default { register() {}, sign: () => (type) => type, watch() {} };\n";

/// A module whose imports are followed.
struct Importer<'i> {
    name: &'i Name,
    /// As [`links::id`]; a generated module has another one.
    id: &'i str,
    url: &'i str,
}

/// A style sheet of Tailwind, and who loads it.
#[derive(Debug)]
enum Waiting {
    /// An address in the page.
    Element(Spot, Name),
    /// A module by its address, with its specifier.
    Module(String, String, Name),
}

impl Walk {
    /// Follows the page. Addresses are below `base`. Scripts of workers import the packages by their addresses.
    pub(crate) fn of(graph: &mut Graph, outline: &Outline, base: &str, packages: &[Package]) -> Self {
        let mut walk = Self { base: base.to_owned(), ..Self::default() };
        for item in outline.items.iter().filter(|item| item.role == Role::InlineModule || page::is_own(&item.value)) {
            walk.enter(graph, item);
        }
        loop {
            if let Some((name, is_preloaded)) = walk.queue.pop_front() {
                walk.follow(graph, &name, is_preloaded);
            } else if let Some(name) = walk.later.pop_front() {
                walk.add(&name, false);
            } else if let Some(name) = walk.workers.next() {
                walk.follow_script(graph, &name);
            } else if !walk.waiting.is_empty() {
                walk.write_waiting(graph, &outline.text);
            } else {
                break;
            }
        }
        if !graph.project.is_bundled {
            walk.write_scripts(graph, packages);
        }
        for refresh in REFRESHES.into_iter().filter(|refresh| !packages.iter().any(|package| package.specifier == *refresh)) {
            if walk.bare.contains(refresh) {
                walk.generate(refresh, NO_REFRESH.to_owned());
            }
        }
        walk
    }

    /// Files that are loaded as they are.
    pub(crate) fn of_reached(reached: BTreeSet<Name>) -> Self {
        Self { reached, ..Self::default() }
    }

    /// An element of the page.
    fn enter(&mut self, graph: &mut Graph, item: &Item) {
        let written = if item.role == Role::InlineModule { generated::inline_name(PAGE, item) } else { item.value.clone() };
        let Some(file) = resolve_in_page(graph, PAGE, &written) else { return };
        let name = match item.role {
            Role::Module | Role::InlineModule if module::kind(&file, "") == Ok(Kind::Module) => (file, Kind::Module),
            Role::Sheet if path::extension(&file) == "css" && !file.starts_with(PUBLIC) => {
                (file, if graph.project.is_bundled { Kind::Module } else { Kind::Sheet })
            }
            _ => {
                let url = self.file(graph, &file);
                // An element of a picture is its fragment.
                let fragment = item.value.find('#').map_or("", |at| &item.value[at..]);
                self.edits.insert(item.spot(), Edit::Set(format!("{}{url}{fragment}", self.base)));
                return;
            }
        };
        let Some(facts) = graph.load(&name) else { return };
        if tailwind::waits(facts) {
            self.waiting.push(Waiting::Element(item.spot(), name));
            return;
        }
        self.load_in_page(graph, item.spot(), &name);
    }

    fn load_in_page(&mut self, graph: &mut Graph, spot: Spot, name: &Name) {
        let url = if name.1 == Kind::Sheet { self.sheet(graph, name) } else { graph.facts[name].url.clone() };
        self.edits.insert(spot, Edit::Set(format!("{}{url}", self.base)));
        if name.1 != Kind::Sheet {
            self.links.enter(links::id(name));
        }
        self.add(name, true);
    }

    /// Writes the style sheets that wait, which can load files.
    fn write_waiting(&mut self, graph: &mut Graph, page: &str) {
        let words = graph.words(&self.reached, page);
        for waiting in std::mem::take(&mut self.waiting) {
            let (Waiting::Element(_, name) | Waiting::Module(_, _, name)) = &waiting;
            let is_written = graph.facts.get(name).is_some_and(|facts| !tailwind::waits(facts)) || graph.expand(name, &words);
            let errors = graph.facts.get(name).into_iter().flat_map(|facts| &facts.findings).filter(|finding| !finding.is_warning);
            self.blocking.extend(errors.map(|finding| finding.file.clone()));
            match waiting {
                _ if !is_written => {}
                Waiting::Element(spot, name) => self.load_in_page(graph, spot, &name),
                Waiting::Module(importer, specifier, name) => {
                    self.map(&specifier, graph.facts[&name].url.clone(), &importer);
                    self.add(&name, true);
                }
            }
        }
    }

    pub(super) fn add(&mut self, name: &Name, is_preloaded: bool) {
        if self.reached.insert(name.clone()) {
            self.queue.push_back((name.clone(), is_preloaded));
        }
    }

    fn follow(&mut self, graph: &mut Graph, name: &Name, is_preloaded: bool) {
        let Some(facts) = graph.load(name) else { return };
        let (url, imports, globs) = (facts.url.clone(), facts.imports.clone(), facts.globs.clone());
        // An error in a sheet that a sheet imports.
        let elsewhere = facts.findings.iter().filter(|finding| !finding.is_warning && finding.file != facts.path);
        self.blocking.extend(elsewhere.map(|finding| finding.file.clone()));
        if name.1 == Kind::Address && !name.0.starts_with(PUBLIC) {
            self.file(graph, &name.0);
        }
        if is_preloaded && name.1 != Kind::Sheet && !url.is_empty() {
            self.preload.push(url.clone());
        }
        if name.1 == Kind::Sheet {
            self.sheet(graph, name);
            return;
        }
        let id = links::id(name);
        self.links.module(&id, &url);
        for glob in &globs {
            let (code, imports) = generated::glob(graph, glob);
            let answer = self.generate(&glob.specifier, code);
            self.links.import(&id, &glob.specifier, glob.specifier.clone(), false);
            self.links.module(&glob.specifier, &answer);
            for import in imports {
                self.import(graph, &Importer { name, id: &glob.specifier, url: &url }, &import);
            }
        }
        for import in &imports {
            self.import(graph, &Importer { name, id: &id, url: &url }, import);
        }
    }

    fn import(&mut self, graph: &mut Graph, importer: &Importer, import: &Import) {
        let target = graph.target(importer.name, import);
        let id = match &target {
            Target::Package(_) | Target::Refresh => Some(String::new()),
            Target::Generated(specifier) => Some(specifier.clone()),
            Target::File(name) if name.1 == Kind::Worker => Some(import.specifier.clone()),
            Target::File(name) => Some(links::id(name)),
            Target::Foreign | Target::Missing | Target::Unsupported(_) => None,
        };
        if let Some(id) = id {
            self.links.import(importer.id, &import.specifier, id, import.is_dynamic);
        }
        match target {
            Target::Package(_) | Target::Refresh => {
                self.bare.insert(import.specifier.clone());
                self.bare.extend(tool::shared_package(&import.specifier).map(str::to_owned));
            }
            Target::Generated(specifier) => {
                let url = self.generated(graph, &specifier);
                self.links.module(&specifier, &url);
                self.imports.insert(specifier, url);
            }
            Target::File(name) if name.1 == Kind::Worker => self.workers.start(&import.specifier, importer.url, name),
            Target::File(name) => {
                let Some(facts) = graph.load(&name) else { return };
                if tailwind::waits(facts) {
                    self.waiting.push(Waiting::Module(importer.url.to_owned(), import.specifier.clone(), name));
                    return;
                }
                let target = facts.url.clone();
                if import.is_dynamic {
                    self.later.push_back(name)
                } else {
                    self.add(&name, true)
                }
                self.map(&import.specifier, target, importer.url);
            }
            Target::Foreign | Target::Missing | Target::Unsupported(_) => {}
        }
    }

    /// Notes the address of a specifier, for one module alone if others read another file with it.
    pub(super) fn map(&mut self, specifier: &str, target: String, importer: &str) {
        if target.is_empty() {
            return;
        }
        match self.imports.get(specifier) {
            Some(other) if *other != target => {
                self.scopes.entry(importer.to_owned()).or_default().insert(specifier.to_owned(), target);
            }
            _ => drop(self.imports.insert(specifier.to_owned(), target)),
        }
    }

    /// The address of a module that Backlot has written.
    pub(super) fn generated(&mut self, graph: &Graph, specifier: &str) -> String {
        let code = helpers::code(specifier).map(str::to_owned);
        let code = code.unwrap_or_else(|| environment::code(graph.tree, &self.base, graph.project.is_production));
        self.resource("js", code)
    }

    /// Writes a module with a specifier of its own. Returns its address.
    fn generate(&mut self, specifier: &str, code: String) -> String {
        let url = self.resource("js", code);
        self.imports.insert(specifier.to_owned(), url.clone());
        url
    }

    /// The address of a generated text.
    pub(super) fn resource(&mut self, extension: &str, text: String) -> String {
        let url = format!("@m/{}.{extension}", module::hash(&text));
        self.resources.insert(url.clone(), Resource { url: url.clone(), text, path: String::new() });
        url
    }

    /// The address of a file that is served as it is.
    pub(super) fn file(&mut self, graph: &Graph, file: &str) -> String {
        if let Some(public) = file.strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix('/')) {
            return public.to_owned();
        }
        let id = graph.tree.get(file).map(|entry| entry.id.as_str()).unwrap_or_default();
        let url = module::address(file, id, graph.project.is_bundled);
        self.resources.insert(url.clone(), Resource { url: url.clone(), path: file.to_owned(), text: String::new() });
        url
    }
}

/// The file that an address of a page names. Addresses are relative to the page, with or without `./`. In a plain tree without a page in its root,
/// a server may have any folder of the page as its root.
pub(crate) fn resolve_in_page(graph: &Graph, page: &str, address: &str) -> Option<String> {
    let (name, _) = path::split_query(address);
    let is_absolute = name.starts_with('/');
    let found = graph.resolver.resolve(page, &path::join(if is_absolute { "" } else { path::folder(page) }, name));
    if found.is_some() || !is_absolute || !graph.project.is_plain || graph.tree.has(PAGE) {
        return found;
    }
    let folders = std::iter::successors(Some(path::folder(page)), |folder| (!folder.is_empty()).then(|| path::folder(folder)));
    folders
        .filter(|folder| !folder.is_empty())
        .find_map(|folder| graph.resolver.resolve(page, &path::join(folder, name.trim_start_matches('/'))))
}
