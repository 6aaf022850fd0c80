//! Files of SCSS and Sass. The key of one has the names and contents of all, because each can import any other.

use compiler_client::message::{Facts, Module};

use super::{Graph, Name};
use crate::module::{
    self, Source,
    options::Options,
    scss::{self, Files},
};

impl Graph<'_> {
    /// Compiles a file, unless it is known. `None` if a content is absent.
    pub(super) fn scss(&mut self, name: &Name, options: &Options) -> Option<Facts> {
        let (file, kind) = name;
        let is_source = |path: &&str| scss::is_scss(path) && !path.split('/').any(|part| part == "node_modules");
        let sources: Vec<_> = self.tree.paths().filter(is_source).filter_map(|path| Some((path, self.tree.get(path)?))).collect();
        let all: String = sources.iter().map(|(path, entry)| format!("{path}\0{}\0", entry.id)).collect();
        let id = format!("{} {}", self.tree.get(file)?.id, module::hash(&all));
        let key = module::key(file, *kind, &id, options);
        if let Some(known) = self.take_known(name, &key) {
            return Some(known);
        }
        let fits = sources.iter().filter(|(_, entry)| entry.size <= module::MAX_SOURCE);
        // Each absent one is noted as wanted.
        let absent = fits.filter(|(path, _)| self.tree.content(path).is_none()).count();
        if absent > 0 {
            return None;
        }
        (self.progress)(file);
        let module = self.scss_module(name, options, key);
        self.keep(module)
    }

    fn scss_module(&self, name: &Name, options: &Options, key: String) -> Module {
        let (file, kind) = name;
        let files = Files { tree: self.tree, resolver: self.resolver, file };
        match scss::compile(&files) {
            Ok(css) => {
                let source = Source { path: file, kind: *kind, id: "", content: css.as_bytes(), options };
                let mut module = module::compile(&source);
                if let Some(facts) = &mut module.facts {
                    facts.key = key;
                    module::place_in(facts, self.tree.text(file).unwrap_or_default());
                }
                module
            }
            Err(finding) => {
                let mut facts = Facts { key, path: file.clone(), findings: vec![*finding], ..Facts::default() };
                facts.set_kind(*kind);
                Module { facts: Some(facts), ..Module::default() }
            }
        }
    }
}
