//! Files of Svelte and Vue in packages, compiled by the tools of the request.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use compiler_client::message::{Module, tools::packages_of};

use serde_json::Value;

use crate::{
    module::{Source, component},
    tool::Tools,
};

/// Shared by the runs of a bundler. Each file is compiled once.
pub(crate) struct Components(Mutex<State>);

struct State {
    tools: Tools,
    /// By the paths of the files.
    compiled: BTreeMap<String, Module>,
}

impl fmt::Debug for Components {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Components").finish_non_exhaustive()
    }
}

impl Components {
    pub(crate) fn new(tools: Tools) -> Self {
        Self(Mutex::new(State { tools, compiled: BTreeMap::new() }))
    }

    /// The specifiers of tools that the request lacks. Without them the bundle is not whole.
    pub(crate) fn wanted(&self) -> Vec<String> {
        self.lock().tools.wanted()
    }

    /// The compiled file. `None` if the request lacks the tool of the file.
    pub(super) fn compile(&self, source: &Source, tool: &str) -> Option<Module> {
        let mut state = self.lock();
        let State { tools, compiled } = &mut *state;
        if let Some(module) = compiled.get(source.path) {
            return Some(module.clone());
        }
        tools.id(tool)?;
        // Nothing is kept by this key.
        let module = component::compile(source, String::new(), &Value::Null, tools);
        compiled.insert(source.path.to_owned(), module.clone());
        Some(module)
    }

    /// The text of a style sheet of a file that is compiled.
    pub(super) fn style(&self, file: &str, query: &str) -> Option<String> {
        let state = self.lock();
        let facts = state.compiled.get(file)?.facts.as_ref()?;
        facts.styles.iter().find(|style| style.query == query).map(|style| style.text.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The package that a tool needs.
pub(super) fn package(tool: &str) -> &str {
    packages_of(tool)[0]
}
