//! Scripts of workers, whose imports are addresses. They can import each other in circles, so that a script cannot be named by its own text:
//! all scripts of a page are named by the texts of all.

use std::collections::HashMap;

use compiler_client::message::{
    Package, Resource,
    facts::{Import, Kind},
};

use super::{Graph, Name, Target, Walk, generated};
use crate::{
    module::{self, marks, worker::Form},
    tree::path,
};

#[derive(Debug, Default)]
pub(super) struct Workers {
    /// Imports by modules of the page: the specifier, the address of the module that has it, and the script.
    started: Vec<(String, String, Name)>,
    queue: Vec<Name>,
}

impl Workers {
    /// A module of the page imports the script of a worker.
    pub(super) fn start(&mut self, specifier: &str, importer: &str, script: Name) {
        self.queue.push(script.clone());
        self.started.push((specifier.to_owned(), importer.to_owned(), script));
    }

    pub(super) fn next(&mut self) -> Option<Name> {
        self.queue.pop()
    }
}

/// What stands for a mark.
enum Link {
    Address(String),
    /// The id of a script.
    Script(String),
    Starter(Form, Name),
}

/// A text with marks: the script of a worker, or a module that is generated for one.
struct Script<'s> {
    /// What its address is made of, together with the texts of all.
    id: String,
    /// Whatever changes the text changes it.
    key: String,
    text: String,
    importer: &'s Name,
    imports: Vec<Import>,
}

/// The script of a file, and the modules of its globs.
fn scripts<'s>(graph: &Graph, name: &'s Name) -> Vec<Script<'s>> {
    let Some(facts) = graph.facts.get(name) else { return Vec::new() };
    let (key, text) = (facts.key.clone(), facts.marked.clone());
    let mut all = vec![Script { id: name.0.clone(), key, text, importer: name, imports: facts.imports.clone() }];
    for glob in &facts.globs {
        let import = Import { specifier: glob.specifier.clone(), mark: glob.mark.clone(), ..Import::default() };
        all[0].imports.push(import);
        let (text, imports) = generated::glob(graph, glob);
        all.push(Script { id: id_of_glob(name, &glob.specifier), key: text.clone(), text, importer: name, imports });
    }
    all
}

/// The keys of a generated module depend on the folder of its importer, which is a part of the specifier.
fn id_of_glob(importer: &Name, specifier: &str) -> String {
    format!("{}\0{specifier}", importer.0)
}

impl Walk {
    /// Follows the imports of a worker's script.
    pub(super) fn follow_script(&mut self, graph: &mut Graph, name: &Name) {
        if !self.reached.insert(name.clone()) {
            return;
        }
        let Some((mut imports, globs)) = graph.load(name).map(|facts| (facts.imports.clone(), facts.globs.clone())) else { return };
        for glob in &globs {
            imports.extend(generated::glob(graph, glob).1);
        }
        for import in &imports {
            match graph.target(name, import) {
                Target::Package(_) => drop(self.bare.insert(import.specifier.clone())),
                Target::File(other) if other.1 == Kind::Worker => self.workers.queue.push(other),
                Target::File(other) if graph.load(&other).is_some() => self.add(&other, false),
                _ => {}
            }
        }
    }

    /// Generates the scripts, the modules of their globs, and what starts them.
    pub(super) fn write_scripts(&mut self, graph: &Graph, packages: &[Package]) {
        let names: Vec<_> = self.reached.iter().filter(|name| name.1 == Kind::Worker && graph.facts.contains_key(name)).cloned().collect();
        let packages: HashMap<_, _> = packages.iter().map(|package| (package.specifier.as_str(), package.url.as_str())).collect();
        let scripts: Vec<Script> = names.iter().flat_map(|name| scripts(graph, name)).collect();
        let mut links = Vec::new();
        let mut all = String::new();
        for script in &scripts {
            all += &format!("{}\0", script.key);
            let mut own = HashMap::new();
            for import in &script.imports {
                let link = self.link(graph, script.importer, import, &packages);
                if let Link::Address(address) = &link {
                    all += &format!("{address}\0");
                }
                own.insert(import.mark.clone(), link);
            }
            links.push(own);
        }
        let all = module::hash(&all);
        let url_of = |id: &str| format!("@m/{}.js", module::hash(&format!("{all}\0{id}")));
        for (script, links) in scripts.iter().zip(links) {
            let addresses = links.into_iter().map(|(mark, link)| {
                let url = match link {
                    Link::Address(address) => return (mark, address),
                    Link::Script(id) => url_of(&id),
                    Link::Starter(form, other) => self.resource("js", form.code(&beside(&url_of(&other.0)))),
                };
                (mark, beside(&url))
            });
            let text = marks::fill(&script.text, &addresses.collect());
            let url = url_of(&script.id);
            self.resources.insert(url.clone(), Resource { url, text, path: String::new() });
        }
        for (specifier, importer, script) in std::mem::take(&mut self.workers.started) {
            let Some(form) = Form::of(path::split_query(&specifier).1) else { continue };
            let url = self.resource("js", form.code(&beside(&url_of(&script.0))));
            self.links.module(&specifier, &url);
            self.map(&specifier, url, &importer);
        }
    }

    /// What an import of a script is. One that is not known keeps its specifier; it has a finding.
    fn link(&mut self, graph: &Graph, name: &Name, import: &Import, packages: &HashMap<&str, &str>) -> Link {
        let specifier = &import.specifier;
        if specifier.starts_with(generated::GLOB) {
            return Link::Script(id_of_glob(name, specifier));
        }
        match graph.target(name, import) {
            Target::File(other) if other.1 == Kind::Worker => match Form::of(path::split_query(specifier).1) {
                Some(form) => Link::Starter(form, other),
                None => Link::Script(other.0),
            },
            Target::File(other) => Link::Address(graph.facts.get(&other).map(|facts| beside(&facts.url)).unwrap_or_default()),
            Target::Generated(specifier) => Link::Address(beside(&self.generated(graph, &specifier))),
            Target::Package(_) => Link::Address(packages.get(specifier.as_str()).map_or_else(|| specifier.clone(), |url| beside(url))),
            _ => Link::Address(import.written.clone()),
        }
    }
}

/// An address relative to a script.
fn beside(url: &str) -> String {
    url.strip_prefix("@m/").map_or_else(|| format!("../{url}"), |file| format!("./{file}"))
}
