//! `svelte.config.js`: options of Svelte's compiler, and preprocessors. The tool runs it, and says what it cannot use.

use compiler_client::message::{Finding, finding::code};
use serde_json::{Value, json};

use super::Graph;
use crate::module;

/// The names that Vite's plugin looks for, without the one before.
const NAMES: [&str; 4] = ["js", "mjs", "ts", "mts"];

/// The configuration of components.
#[derive(Clone, Default)]
pub(super) struct Configuration {
    /// What the tool gets; `null` if there is none.
    pub(super) input: Value,
    /// Changes with the files of the configuration.
    pub(super) id: String,
    /// Warnings.
    pub(super) findings: Vec<Finding>,
}

impl Graph<'_> {
    /// `None` if a content is absent.
    pub(super) fn svelte_configuration(&self) -> Option<Configuration> {
        if let Some(known) = self.svelte.get() {
            return Some(known.clone());
        }
        let configuration = self.read_svelte_configuration()?;
        Some(self.svelte.get_or_init(|| configuration).clone())
    }

    fn read_svelte_configuration(&self) -> Option<Configuration> {
        let names = NAMES.map(|end| format!("svelte.config.{end}"));
        let Some(path) = names.iter().find(|name| self.tree.has(name)) else { return Some(Configuration::default()) };
        let loaded = self.loaded(path)?;
        // Nothing of a package runs, so that none has to be there.
        let findings = loaded.findings.into_iter().filter(|finding| finding.code != code::MISSING_PACKAGE);
        let findings: Vec<_> = findings.map(|finding| Finding { is_warning: true, ..finding }).collect();
        let input =
            if findings.is_empty() { json!({ "modules": loaded.modules, "targets": loaded.targets, "path": path }) } else { Value::Null };
        let id = module::hash(&format!("{input} {findings:?}"));
        Some(Configuration { input, id, findings })
    }
}
