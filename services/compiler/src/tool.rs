//! Compilers that exist only in JavaScript. Each is bundled from its package with an adapter of this folder, and runs in an engine. React Refresh
//! and Prefresh are bundled in the same way, and run in the page.
//!
//! - [`adapter`]: the entry of a bundle. [`Tools`]: the bundles of a request. `engine`: what runs them.
//! - [`tailwind`]: the entries of Tailwind. [`builtins`]: what stands for modules of Node.js. [`sheets`]: style sheets of packages.

pub(crate) mod builtins;
mod engine;
pub(crate) mod sheets;
pub(crate) mod tailwind;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use compiler_client::message::tools::{self, Tool};
use serde_json::Value;

pub(crate) use self::engine::Failure;
use self::{engine::Engine, sheets::Sheets};

/// The code of the entry of a tool.
pub(crate) fn adapter(specifier: &str) -> Option<String> {
    match specifier {
        tools::SVELTE => Some(builtins::IMPORTS.to_owned() + include_str!("tool/svelte.js") + include_str!("tool/project_modules.js")),
        tools::VUE => Some(include_str!("tool/vue.js").to_owned()),
        tools::REACT_REFRESH => Some(include_str!("tool/react_refresh.js").to_owned() + include_str!("tool/exchange.js")),
        tools::PREFRESH => Some(include_str!("tool/prefresh.js").to_owned() + include_str!("tool/exchange.js")),
        _ => tailwind::adapter(specifier),
    }
}

/// Whether a bundle of the specifier runs in an engine, and not in a page.
pub(crate) fn runs_in_engine(specifier: &str) -> bool {
    specifier.starts_with(tools::PREFIX) && !tools::REFRESHES.contains(&specifier)
}

/// The package that a bundle of the specifier leaves to the import map of the page.
pub(crate) fn shared_package(specifier: &str) -> Option<&'static str> {
    (specifier == tools::PREFRESH).then_some("preact")
}

/// The tools of a request.
#[derive(Default)]
pub(crate) struct Tools {
    given: BTreeMap<String, Tool>,
    engines: BTreeMap<String, Result<Engine, String>>,
    sheets: BTreeMap<String, Arc<Sheets>>,
    /// Specifiers of those that the request lacks.
    wanted: BTreeSet<String>,
}

impl Tools {
    pub(crate) fn new(given: Vec<Tool>) -> Self {
        let given = given.into_iter().map(|tool| (tool.specifier.clone(), tool)).collect();
        Self { given, ..Self::default() }
    }

    /// The hash of a tool's code. A tool that the request lacks is noted as wanted.
    pub(crate) fn id(&mut self, specifier: &str) -> Option<String> {
        let found = self.given.get(specifier).map(|tool| tool.id.clone());
        if found.is_none() {
            self.wanted.insert(specifier.to_owned());
        }
        found
    }

    /// The hash of a tool's code, if the request has the tool.
    pub(crate) fn given_id(&self, specifier: &str) -> Option<&str> {
        self.given.get(specifier).map(|tool| tool.id.as_str())
    }

    /// The style sheets of a package. Those that the request lacks are noted as wanted.
    pub(crate) fn sheets(&mut self, specifier: &str) -> Option<Arc<Sheets>> {
        if let Some(read) = self.sheets.get(specifier) {
            return Some(Arc::clone(read));
        }
        self.id(specifier)?;
        let read = self.given.get(specifier).and_then(|tool| serde_json::from_str(&tool.code).ok());
        let read: Arc<Sheets> = Arc::new(read.unwrap_or_default());
        self.sheets.insert(specifier.to_owned(), Arc::clone(&read));
        Some(read)
    }

    pub(crate) fn wanted(&self) -> Vec<String> {
        self.wanted.iter().cloned().collect()
    }

    /// Runs a tool.
    ///
    /// # Errors
    /// It throws, or exceeds a limit.
    pub(crate) fn run(&mut self, specifier: &str, input: &Value) -> Result<Value, Failure> {
        let code = self.given.get(specifier).map(|tool| tool.code.as_str()).unwrap_or_default();
        let engine = self.engines.entry(specifier.to_owned()).or_insert_with(|| Engine::start(code).map_err(|failure| failure.0));
        match engine {
            Ok(engine) => engine.run(input),
            Err(message) => Err(Failure(message.clone())),
        }
    }
}
