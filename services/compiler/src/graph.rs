//! The modules of a project: compiled on demand, and followed from the page.

pub(crate) mod addresses;
mod check;
mod classic;
mod exports;
mod generated;
mod independent;
mod links;
mod scss;
mod sheets;
mod svelte;
mod tailwind;
mod walk;
mod workers;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;
use compiler_client::message::{
    Facts, Module,
    facts::{Import, Kind},
    packages::package_of,
    tools::{REFRESHES, SVELTE, packages_of},
};
use prost::Message as _;

use self::scss::Component;
pub(crate) use self::{
    check::{Checker, is_builtin},
    classic::Classic,
    generated::{glob, inline_name},
    independent::{independent, is_whole},
    walk::{PAGE, Walk, resolve_in_page},
};
use crate::{
    environment,
    module::{self, Source, component, helpers, options::Options, scss::is_scss},
    project::Project,
    tool::Tools,
    tree::{Tree, path, resolve::Resolver},
};

/// A file, and what becomes of it.
pub(crate) type Name = (String, Kind);

pub(crate) struct Graph<'g> {
    pub(crate) tree: &'g Tree,
    pub(crate) resolver: &'g Resolver,
    pub(crate) project: &'g Project,
    known: BTreeMap<Name, Vec<Facts>>,
    pub(crate) facts: BTreeMap<Name, Facts>,
    /// Modules that were compiled, and not known before.
    pub(crate) compiled: Vec<Module>,
    /// Those of the request.
    pub(crate) tools: Tools,
    /// A hash of the names of all style sheets.
    sheet_names: OnceCell<String>,
    svelte: OnceCell<svelte::Configuration>,
    progress: &'g mut dyn FnMut(&str),
}

/// What an import names.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    Foreign,
    File(Name),
    /// A specifier whose module is generated for the page.
    Generated(String),
    /// The name of a package.
    Package(String),
    /// What exchanges components, which is no package of the project.
    Refresh,
    Missing,
    /// A sentence.
    Unsupported(String),
}

impl<'g> Graph<'g> {
    pub(crate) fn new(
        tree: &'g Tree,
        resolver: &'g Resolver,
        project: &'g Project,
        known: &[Bytes],
        progress: &'g mut dyn FnMut(&str),
    ) -> Self {
        let mut by_name = BTreeMap::<Name, Vec<Facts>>::new();
        // Facts of another build can be of another form. Those that are not decoded, or have another key, are not used.
        for facts in known.iter().filter_map(|body| Facts::decode(body.as_ref()).ok()) {
            by_name.entry((facts.path.clone(), facts.kind())).or_default().push(facts);
        }
        Self {
            tree,
            resolver,
            project,
            known: by_name,
            facts: BTreeMap::new(),
            compiled: Vec::new(),
            tools: Tools::default(),
            sheet_names: OnceCell::new(),
            svelte: OnceCell::new(),
            progress,
        }
    }

    /// Compiles a file, unless it is known. `None` if its content is absent; it is wanted then.
    pub(crate) fn load(&mut self, name: &Name) -> Option<&Facts> {
        if !self.facts.contains_key(name) {
            let facts = self.compile(name)?;
            self.facts.insert(name.clone(), facts);
        }
        self.facts.get(name)
    }

    fn compile(&mut self, name: &Name) -> Option<Facts> {
        let (file, kind) = name;
        let configuration = self.resolver.configuration(path::split_query(file).0);
        let options = self.project.options(configuration.as_deref());
        if let Some((owner, _)) = file.split_once('?') {
            return self.style(name, owner, &options);
        }
        if is_scss(file) && [Kind::Module, Kind::Inline].contains(kind) {
            return self.scss(name, &options);
        }
        match component::tool(file).filter(|_| [Kind::Module, Kind::Worker].contains(kind)) {
            Some(tool) => self.component(name, tool, &options),
            None => self.plain(name, &options),
        }
    }

    /// A file that no tool compiles.
    fn plain(&mut self, name: &Name, options: &Options) -> Option<Facts> {
        let (file, kind) = name;
        let entry = self.tree.get(file)?;
        if let Some(known) = self.take_known(name, &module::key(file, *kind, &entry.id, options)) {
            return Some(known);
        }
        let content = if module::reads_content(*kind) { self.tree.source(file)? } else { &[] };
        (self.progress)(file);
        self.keep(module::compile(&Source { path: file, kind: *kind, id: &entry.id, content, options }))
    }

    /// A file of Svelte or Vue.
    fn component(&mut self, name: &Name, tool: &str, options: &Options) -> Option<Facts> {
        let (file, kind) = name;
        let entry = self.tree.get(file)?;
        if !self.project.has(packages_of(tool)[0]) {
            return Some(component::without_package(file, tool));
        }
        let configuration = if tool == SVELTE { self.svelte_configuration()? } else { svelte::Configuration::default() };
        let id = format!("{} {} {}", entry.id, self.tools.id(tool)?, configuration.id);
        let key = |graph: &Self, reads: &[String]| Some(module::key(file, *kind, &format!("{id} {}", graph.reads_id(reads)?), options));
        if let Some(known) = self.take_read(name, key) {
            return Some(known);
        }
        let content = self.tree.source(file)?;
        (self.progress)(file);
        let Component { content, reads } = self.without_scss(file, content)?;
        let key = key(self, &reads)?;
        let mut module = match content {
            Ok(content) => {
                let source = Source { path: file, kind: *kind, id: &entry.id, content: &content, options };
                component::compile(&source, key, &configuration.input, &mut self.tools)
            }
            Err(finding) => component::broken(name, key, *finding),
        };
        if let Some(facts) = &mut module.facts {
            facts.reads = reads;
            facts.findings.extend(configuration.findings);
        }
        self.keep(module)
    }

    /// A style sheet of a component. Its text is in the facts of the component.
    fn style(&mut self, name: &Name, owner: &str, options: &Options) -> Option<Facts> {
        let facts = self.load(&(owner.to_owned(), Kind::Module))?;
        let text = facts.styles.iter().find(|style| name.0[owner.len()..] == style.query)?.text.clone();
        let id = module::hash(&text);
        if let Some(known) = self.take_known(name, &module::key(&name.0, name.1, &id, options)) {
            return Some(known);
        }
        let source = Source { path: &name.0, kind: name.1, id: &id, content: text.as_bytes(), options };
        self.keep(module::compile(&source))
    }

    /// The facts of an earlier answer.
    fn take_known(&mut self, name: &Name, key: &str) -> Option<Facts> {
        let known = self.known.remove(name)?;
        known.into_iter().find(|known| known.key == key)
    }

    fn keep(&mut self, module: Module) -> Option<Facts> {
        let facts = module.facts.clone();
        self.compiled.push(module);
        facts
    }

    /// What an import of a file names. A sheet imports sheets, and the script of a worker imports such scripts.
    pub(crate) fn target(&self, importer: &Name, import: &Import) -> Target {
        let specifier = import.specifier.as_str();
        if REFRESHES.contains(&specifier) {
            return Target::Refresh;
        }
        if path::is_foreign(specifier) {
            return Target::Foreign;
        }
        let is_generated = specifier == environment::SPECIFIER || specifier.starts_with(generated::GLOB);
        if is_generated || helpers::code(specifier).is_some() {
            return Target::Generated(specifier.to_owned());
        }
        let (_, query) = path::split_query(specifier);
        match self.resolver.resolve(&importer.0, specifier) {
            Some(file) => match module::kind(&file, query) {
                Ok(Kind::Module) if importer.1 == Kind::Sheet && path::extension(&file) == "css" => Target::File((file, Kind::Sheet)),
                // A bundle shares the modules of the page with its workers.
                Ok(Kind::Module) if importer.1 == Kind::Worker && !self.project.is_bundled && module::is_script(&file) => {
                    Target::File((file, Kind::Worker))
                }
                Ok(kind) if component::is_style(query) => Target::File((file + query, kind)),
                Ok(kind) => Target::File((file, kind)),
                Err(message) => Target::Unsupported(message),
            },
            None if self.resolver.is_local(&importer.0, specifier) => Target::Missing,
            None => Target::Package(package_of(path::split_query(specifier).0).to_owned()),
        }
    }

    /// The source files of the project, without those that are served as they are.
    pub(crate) fn sources(&self) -> Vec<Name> {
        let is_source = |path: &&str| {
            let is_served = !self.project.is_plain && path.starts_with("public/")
                || path.split('/').any(|part| ["node_modules", "dist", ".git"].contains(&part));
            !is_served
                && (module::is_script(path) || module::is_component(path) || path::extension(path) == "css" && !path.ends_with(".min.css"))
        };
        let fits = |path: &&str| self.tree.get(path).is_some_and(|entry| entry.size <= module::MAX_SOURCE);
        self.tree.paths().filter(is_source).filter(fits).map(|path| (path.to_owned(), Kind::Module)).collect()
    }

    /// Paths whose contents are absent and needed. If there is any, all other absent sources are listed, too: one more request is enough.
    pub(crate) fn wanted(&self) -> Vec<String> {
        let wanted = self.tree.wanted();
        if wanted.is_empty() {
            return wanted;
        }
        let sources = self.sources().into_iter().filter(|name| !self.facts.contains_key(name) && !self.known.contains_key(name));
        let absent = sources.map(|(path, _)| path).filter(|path| self.tree.get(path).is_some_and(|entry| entry.content.is_none()));
        absent.chain(wanted).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
