//! Configurations and plugins of Tailwind that are files of the project, with what they import.

use compiler_client::message::{Finding, facts::Kind, finding::code, packages::package_of};
use serde_json::json;

use super::{Parts, absent};
use crate::{
    graph::{Graph, is_builtin},
    module::{
        self, Source,
        runner::{self, RunnerModule},
    },
    text::{self, Text},
    tool::tailwind::Part,
    tree::path,
};

/// The most modules of one sheet.
const MAX_MODULES: usize = 200;
/// The configurations that Tailwind 3 looks for.
const NAMES: [&str; 6] = ["js", "cjs", "mjs", "ts", "cts", "mts"];
impl Graph<'_> {
    /// Adds the configuration of the root, unless the sheet names another one.
    pub(super) fn add_configuration(&self, parts: &mut Parts) {
        if parts.configuration.is_some() {
            return;
        }
        let name = NAMES.iter().map(|end| format!("tailwind.config.{end}")).find(|name| self.tree.has(name));
        if let Some(name) = name {
            self.add_module(parts, &name);
            parts.configuration = Some(name);
        }
    }

    /// A configuration of another tool, with what it imports. `None` if a content is absent.
    pub(in crate::graph) fn loaded(&self, file: &str) -> Option<Parts> {
        let mut parts = Parts::default();
        self.add_module(&mut parts, file);
        Some(parts).filter(|parts| !parts.is_partial)
    }

    /// Adds a module after what it imports.
    pub(super) fn add_module(&self, parts: &mut Parts, file: &str) {
        if parts.files.contains_key(file) {
            return;
        }
        let Some(content) = self.tree.content(file) else {
            parts.is_partial = true;
            return;
        };
        if parts.files.len() == MAX_MODULES {
            let message = format!("a configuration of Tailwind loads more than {MAX_MODULES} files");
            parts.findings.push(text::finding(code::UNSUPPORTED, file, &text::start(), &message));
            return;
        }
        match self.runner_module(file, content) {
            Ok((text, module)) => {
                parts.files.insert(file.to_owned(), text);
                self.add_imports(parts, file, &module);
                parts.modules.push(json!({ "path": file, "code": module.code, "isModule": module.is_module }));
            }
            Err(finding) => parts.findings.push(*finding),
        }
    }

    /// The text of a file, and its module.
    fn runner_module(&self, file: &str, content: &[u8]) -> Result<(String, RunnerModule), Box<Finding>> {
        let configuration = self.resolver.configuration(file);
        let options = self.project.options(configuration.as_deref());
        let source = Source { path: file, kind: Kind::Module, id: "", content, options: &options };
        let text = module::readable(&source).map_err(Box::new)?;
        let module = if path::extension(file) == "json" {
            if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
                return Err(Box::new(module::invalid_json(file, text, &error)));
            }
            RunnerModule { code: format!("module.exports = {text};"), ..RunnerModule::default() }
        } else {
            runner::compile(&source, text).map_err(Box::new)?
        };
        Ok((text.to_owned(), module))
    }

    fn add_imports(&self, parts: &mut Parts, file: &str, module: &RunnerModule) {
        let imports = module.imports.iter().map(|specifier| (specifier, true));
        for (specifier, is_import) in imports.chain(module.requires.iter().map(|specifier| (specifier, false))) {
            let target =
                self.resolver.resolve(file, specifier).filter(|target| module::is_script(target) || path::extension(target) == "json");
            match target {
                Some(target) => {
                    self.add_module(parts, &target);
                    parts.targets.insert(format!("{file} {specifier}"), target);
                }
                None if is_builtin(specifier) => {}
                None if self.project.has(package_of(specifier)) => {
                    let specifier = specifier.clone();
                    parts.packages.insert(if is_import { Part::Import(specifier) } else { Part::Require(specifier) });
                }
                None if module.optional.contains(specifier) => {}
                None => {
                    let lines = Text::new(&parts.files[file]);
                    // The place of the quote, as that of other imports.
                    let offset = parts.files[file].find(specifier.as_str()).unwrap_or_default().saturating_sub(1);
                    let finding = absent(&lines, file, offset, specifier);
                    parts.findings.push(finding);
                }
            }
        }
    }
}
