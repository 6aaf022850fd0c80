//! Files of SCSS and Sass, and components with such style sheets. The key of one has the contents of the files that it has read, and the
//! names of all style sheets, among which each import looks for its own.

use std::borrow::Cow;

use compiler_client::message::{Facts, Finding, Module};

use super::{Graph, Name};
use crate::{
    module::{
        self, Source,
        options::Options,
        scss::{self, Library},
    },
    tool::sheets,
    tree::Entry,
};

/// A component without SCSS and Sass.
pub(super) struct Component<'c> {
    /// The text with CSS in place of it, or what is wrong with it.
    pub(super) content: Result<Cow<'c, [u8]>, Box<Finding>>,
    /// See [`Facts::reads`].
    pub(super) reads: Vec<String>,
}

impl Graph<'_> {
    /// Compiles a file, unless it is known. `None` if a content or the sheets of a package are absent.
    pub(super) fn scss(&mut self, name: &Name, options: &Options) -> Option<Facts> {
        let (file, kind) = name;
        let id = self.tree.get(file)?.id.clone();
        let key = |graph: &Self, reads: &[String]| Some(module::key(file, *kind, &format!("{id} {}", graph.reads_id(reads)?), options));
        if let Some(known) = self.take_read(name, key) {
            return Some(known);
        }
        if !self.has_scss() {
            return None;
        }
        (self.progress)(file);
        let (css, reads) = self.with_library(|library| scss::compile(library, file))?;
        let mut module = self.sheet_module(name, options, css);
        if let Some(facts) = &mut module.facts {
            facts.key = key(self, &reads)?;
            facts.reads = reads;
        }
        self.keep(module)
    }

    /// The facts of an earlier answer, if what they read is the same.
    pub(super) fn take_read(&mut self, name: &Name, key: impl Fn(&Self, &[String]) -> Option<String>) -> Option<Facts> {
        let known = self.known.remove(name)?;
        known.into_iter().find(|known| key(self, &known.reads).is_some_and(|key| key == known.key))
    }

    /// The content of a component with CSS in place of SCSS and Sass. `None` if a content or the sheets of a package are absent.
    pub(super) fn without_scss<'c>(&mut self, file: &str, content: &'c [u8]) -> Option<Component<'c>> {
        let is_read = module::is_component(file) && content.len() as u64 <= module::MAX_SOURCE;
        let text = std::str::from_utf8(content).ok().filter(|text| is_read && scss::is_in_component(file, text));
        let Some(text) = text else { return Some(Component { content: Ok(content.into()), reads: Vec::new() }) };
        if !self.has_scss() {
            return None;
        }
        let (written, reads) = self.with_library(|library| scss::in_component(library, file, text))?;
        Some(Component { content: written.map(|text| text.into_bytes().into()), reads })
    }

    /// What a module depends on that has read these. `None` if the request lacks the sheets of a package.
    pub(super) fn reads_id(&self, reads: &[String]) -> Option<String> {
        if reads.is_empty() {
            return Some(String::new());
        }
        let mut parts = self.sheet_names();
        for read in reads {
            let id = match sheets::package(read) {
                Some(package) => self.tools.given_id(read).filter(|_| self.project.has(package))?,
                None => self.tree.get(read).map(|entry| entry.id.as_str()).unwrap_or_default(),
            };
            parts.push_str(&format!("{read}\0{id}\0"));
        }
        Some(module::hash(&parts))
    }

    /// The result, and what was read. `None` if the request lacks the sheets of a package.
    fn with_library<T>(&mut self, work: impl FnOnce(&Library) -> T) -> Option<(T, Vec<String>)> {
        let project = self.project;
        let is_listed = |package: &str| project.has(package);
        let library = Library::new(self.tree, self.resolver, &mut self.tools, &is_listed);
        let done = work(&library);
        let is_whole = !library.lacks_sheets();
        is_whole.then(|| (done, library.into_reads()))
    }

    fn scss_sources(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let is_source = |path: &&str| scss::is_scss(path) && !path.split('/').any(|part| part == "node_modules");
        self.tree.paths().filter(is_source).filter_map(|path| Some((path, self.tree.get(path)?)))
    }

    /// The names of all style sheets, and the configurations with aliases.
    fn sheet_names(&self) -> String {
        let names = self.sheet_names.get_or_init(|| {
            let is_configuration = |path: &str| {
                let file = path.rsplit('/').next().unwrap_or_default();
                file.starts_with("vite.config.") || ["tsconfig", "jsconfig"].iter().any(|start| file.starts_with(start))
            };
            let id = |path: &str| self.tree.get(path).filter(|_| is_configuration(path)).map(|entry| entry.id.as_str()).unwrap_or_default();
            let named = self.tree.paths().filter(|path| scss::is_sheet(path) || is_configuration(path));
            module::hash(&named.map(|path| format!("{path}\0{}\0", id(path))).collect::<String>())
        });
        names.clone()
    }

    /// Whether the contents of all such files are there. Each absent one is noted as wanted.
    fn has_scss(&self) -> bool {
        let fits = self.scss_sources().filter(|(_, entry)| entry.size <= module::MAX_SOURCE);
        fits.filter(|(path, _)| self.tree.content(path).is_none()).count() == 0
    }

    fn sheet_module(&self, name: &Name, options: &Options, css: Result<String, Box<Finding>>) -> Module {
        let (file, kind) = name;
        match css {
            Ok(css) => {
                let source = Source { path: file, kind: *kind, id: "", content: css.as_bytes(), options };
                let mut module = module::compile(&source);
                if let Some(facts) = &mut module.facts {
                    module::place_in(facts, self.tree.text(file).unwrap_or_default());
                }
                module
            }
            Err(finding) => {
                let mut facts = Facts { path: file.clone(), findings: vec![*finding], ..Facts::default() };
                facts.set_kind(*kind);
                Module { facts: Some(facts), ..Module::default() }
            }
        }
    }
}
