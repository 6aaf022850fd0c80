//! The modules of a project as the bundler reads them, by ids of their own.

use std::collections::{BTreeMap, HashMap, HashSet};

use compiler_client::message::{
    Facts,
    facts::{Import, Kind},
};

use crate::{
    compile::Compilation,
    graph::{self, Graph, Name, Target},
    module::{self, ASSETS, helpers, marks, options::Options, scss, worker::Form},
    page::Role,
    tree::{path, resolve::PUBLIC},
};

/// The start of ids.
pub(super) const OWN: &str = "backlot:own:";
/// How deeply style sheets import each other under conditions.
const MAX_SHEETS: usize = 20;

/// A module of the project, or one that is generated for it.
#[derive(Debug, Default)]
pub(super) struct OwnModule {
    pub(super) code: String,
    /// The text that goes to the style sheet of the site.
    pub(super) sheet: Option<String>,
    /// What its specifiers name.
    pub(super) targets: BTreeMap<String, Destination>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// The id of a module.
    Own(String),
    Package,
}

/// A chunk that the page or a worker starts with.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    /// The name of its file in the folder of assets, without the extension. It has a hash of all that a bundle depends on.
    pub(super) name: String,
    /// The number of the page's element, if it is one.
    pub(super) element: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Modules {
    pub(super) by_id: BTreeMap<String, OwnModule>,
    pub(super) entries: Vec<Entry>,
    /// Ids of the sheets that the page itself links, with the numbers of their elements.
    pub(super) linked: Vec<(String, usize)>,
    /// The options for files that no configuration includes.
    pub(super) options: Options,
}

/// The id of a module. Its last part is the name of the file: chunks are named by it.
fn id_of(name: &Name) -> String {
    format!("{OWN}{:?}:{}", name.1, name.0)
}

fn generated_id(specifier: &str) -> String {
    format!("{OWN}generated:{}", specifier.trim_start_matches('/'))
}

impl Modules {
    /// `surroundings`: a hash of what a bundle depends on besides the modules.
    pub(super) fn of(compilation: &mut Compilation, surroundings: &str) -> Self {
        let reached: Vec<Name> = compilation.walk.reached.iter().cloned().collect();
        let mut collection = Collection { by_id: BTreeMap::new(), starters: BTreeMap::new(), codes: codes(&compilation.graph) };
        for name in &reached {
            collection.add(&compilation.graph, name);
        }
        let seed = format!("{surroundings}\0{}", collection.seed());
        let name_of = |name: &Name| entry_name(&seed, name);
        for (specifier, (form, script)) in std::mem::take(&mut collection.starters) {
            let code = form.code(&format!("./{}.js", name_of(&script)));
            collection.by_id.insert(specifier, OwnModule { code, ..OwnModule::default() });
        }
        let mut entries = Vec::new();
        let mut linked = Vec::new();
        for item in &compilation.outline.items {
            let written = if item.role == Role::InlineModule { graph::inline_name(graph::PAGE, item) } else { item.value.clone() };
            let Some(file) = graph::resolve_in_page(&compilation.graph, graph::PAGE, &written) else { continue };
            let name = (file, Kind::Module);
            if !compilation.walk.reached.contains(&name) {
                continue;
            }
            match item.role {
                Role::Module | Role::InlineModule => {
                    entries.push(Entry { id: id_of(&name), name: name_of(&name), element: Some(item.element) });
                }
                Role::Sheet => linked.push((id_of(&name), item.element)),
                _ => {}
            }
        }
        let workers = reached.iter().filter(|name| name.1 == Kind::Worker);
        entries.extend(workers.map(|name| Entry { id: id_of(name), name: name_of(name), element: None }));
        Self { by_id: collection.by_id, entries, linked, options: compilation.graph.project.options(None) }
    }
}

/// A name for the file of an entry: that of its source, and a hash of all that the site is made of.
fn entry_name(seed: &str, name: &Name) -> String {
    let file = name.0.rsplit('/').next().unwrap_or_default();
    let stem: String =
        file.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    format!("{stem}-{}", &module::hash(&format!("{seed}\0{}", id_of(name)))[..16])
}

/// The codes of compiled files.
fn codes(graph: &Graph) -> HashMap<Name, String> {
    let named = graph.compiled.iter().filter_map(|module| module.facts.as_ref().map(|facts| (facts, &module.code)));
    named.map(|(facts, code)| ((facts.path.clone(), facts.kind()), code.clone())).collect()
}

struct Collection {
    by_id: BTreeMap<String, OwnModule>,
    /// Modules that start workers, by their ids.
    starters: BTreeMap<String, (Form, Name)>,
    codes: HashMap<Name, String>,
}

impl Collection {
    fn add(&mut self, graph: &Graph, name: &Name) {
        let Some(facts) = graph.facts.get(name) else { return };
        let mut targets = self.targets(graph, name, &facts.imports);
        for glob in &facts.globs {
            let (code, imports) = graph::glob(graph, glob);
            let id = generated_id(&glob.specifier);
            targets.insert(glob.specifier.clone(), Destination::Own(id.clone()));
            let inner = self.targets(graph, name, &imports);
            self.by_id.insert(id, OwnModule { code, targets: inner, sheet: None });
        }
        let is_sheet = name.1 == Kind::Module && (path::extension(&name.0) == "css" || scss::is_scss(&name.0));
        let mut left = module::MAX_INLINED;
        let sheet = is_sheet.then(|| sheet_text(graph, facts, &mut HashSet::new(), 0, &mut left));
        let code = without_map(self.codes.remove(name).unwrap_or_default());
        self.by_id.insert(id_of(name), OwnModule { code, sheet, targets });
    }

    fn targets(&mut self, graph: &Graph, importer: &Name, imports: &[Import]) -> BTreeMap<String, Destination> {
        let mut targets = BTreeMap::new();
        for import in imports {
            let destination = match graph.target(importer, import) {
                Target::File(name) => Destination::Own(self.file(import, name)),
                Target::Generated(specifier) => {
                    let id = generated_id(&specifier);
                    if let Some(code) = helpers::code(&specifier) {
                        self.by_id.insert(id.clone(), OwnModule { code: code.to_owned(), ..OwnModule::default() });
                    }
                    Destination::Own(id)
                }
                Target::Package(_) => Destination::Package,
                Target::Foreign | Target::Missing | Target::Refresh | Target::Unsupported(_) => continue,
            };
            targets.insert(import.specifier.clone(), destination);
        }
        targets
    }

    /// The id for a file. A worker is started by a module of its own.
    fn file(&mut self, import: &Import, name: Name) -> String {
        match Form::of(path::split_query(&import.specifier).1).filter(|_| name.1 == Kind::Worker) {
            Some(form) => {
                let id = format!("{OWN}start-{form:?}:{}", name.0);
                self.starters.insert(id.clone(), (form, name));
                id
            }
            None => id_of(&name),
        }
    }

    /// A hash of all modules.
    fn seed(&self) -> String {
        let mut all = String::new();
        for (id, module) in &self.by_id {
            all.push_str(&format!("{id}\0{}\0{}\0", module.code.len(), module.code));
        }
        module::hash(&all)
    }
}

/// The code without the address of its source map.
fn without_map(code: String) -> String {
    match code.rfind("\n//# sourceMappingURL=") {
        Some(at) => code[..at + 1].to_owned(),
        None => code,
    }
}

/// The text of a sheet, with the addresses of what it loads, which are beside the sheet of the site. It can have `left` further sheets in it.
fn sheet_text(graph: &Graph, facts: &Facts, open: &mut HashSet<String>, depth: usize, left: &mut usize) -> String {
    let name = (facts.path.clone(), facts.kind());
    if depth > MAX_SHEETS || *left == 0 || !open.insert(facts.path.clone()) {
        return String::new();
    }
    *left -= 1;
    let mut addresses = HashMap::new();
    for import in facts.imports.iter().filter(|import| !import.mark.is_empty()) {
        let text = match graph.target(&name, import) {
            Target::File(other) if other.1 == Kind::Inline => {
                graph.facts.get(&other).map(|facts| sheet_text(graph, facts, open, depth + 1, left)).unwrap_or_default()
            }
            Target::File(other) => address(graph, &other.0),
            _ => import.written.clone(),
        };
        addresses.insert(import.mark.clone(), text);
    }
    open.remove(&facts.path);
    marks::fill(&facts.marked, &addresses)
}

/// The address of a file that is served as it is, from the folder of assets.
fn address(graph: &Graph, file: &str) -> String {
    if let Some(public) = file.strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix('/')) {
        return format!("../{public}");
    }
    let id = graph.tree.get(file).map(|entry| entry.id.as_str()).unwrap_or_default();
    module::address(file, id, true).trim_start_matches(ASSETS).to_owned()
}
