//! The modules of a project: compiled on demand, and followed from the page.

mod check;
mod exports;
mod generated;
mod sheets;
mod walk;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use compiler_client::message::{
    Facts, Module,
    facts::{Import, Kind},
    packages::package_of,
};

pub(crate) use self::{
    check::{Checker, is_builtin, page as page_findings},
    generated::{glob, inline_name},
    walk::{PAGE, Walk, resolve_in_page},
};
use crate::{
    environment,
    module::{self, Source, helpers},
    project::Project,
    tree::{Tree, path, resolve::Resolver},
};

/// A file, and what becomes of it.
pub(crate) type Name = (String, Kind);

pub(crate) struct Graph<'g> {
    pub(crate) tree: &'g Tree,
    pub(crate) resolver: &'g Resolver,
    pub(crate) project: &'g Project,
    known: BTreeMap<Name, Facts>,
    pub(crate) facts: BTreeMap<Name, Facts>,
    /// Modules that were compiled, and not known before.
    pub(crate) compiled: Vec<Module>,
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
    Missing,
    /// A sentence.
    Unsupported(String),
}

impl<'g> Graph<'g> {
    pub(crate) fn new(
        tree: &'g Tree,
        resolver: &'g Resolver,
        project: &'g Project,
        known: Vec<Facts>,
        progress: &'g mut dyn FnMut(&str),
    ) -> Self {
        let known = known.into_iter().map(|facts| ((facts.path.clone(), facts.kind()), facts)).collect();
        Self { tree, resolver, project, known, facts: BTreeMap::new(), compiled: Vec::new(), progress }
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
        let entry = self.tree.get(file)?;
        let configuration = self.resolver.configuration(file);
        let options = self.project.options(configuration.as_deref());
        let key = module::key(file, *kind, &entry.id, &options);
        if let Some(known) = self.known.remove(name).filter(|known| known.key == key) {
            return Some(known);
        }
        let content = if module::reads_content(*kind) { self.tree.content(file)? } else { &[] };
        (self.progress)(file);
        let module = module::compile(&Source { path: file, kind: *kind, id: &entry.id, content, options: &options });
        let facts = module.facts.clone();
        self.compiled.push(module);
        facts
    }

    /// What an import of a file names. A sheet imports sheets, and the script of a worker imports such scripts.
    pub(crate) fn target(&self, importer: &Name, import: &Import) -> Target {
        let specifier = import.specifier.as_str();
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
            let is_served = path.starts_with("public/") || path.split('/').any(|part| ["node_modules", "dist", ".git"].contains(&part));
            !is_served && (module::is_script(path) || path::extension(path) == "css" && !path.ends_with(".min.css"))
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
