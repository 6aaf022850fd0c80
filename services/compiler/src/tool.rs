//! Compilers that exist only in JavaScript. Each is bundled from its package with an adapter of this folder, and runs in an engine.
//!
//! - [`adapter`]: the entry of a bundle. [`Tools`]: the bundles of a request. `engine`: what runs them.

mod engine;

use std::collections::{BTreeMap, BTreeSet};

use compiler_client::message::tools::{self, Tool};
use serde_json::Value;

use self::engine::Engine;
pub(crate) use self::engine::Failure;

/// The code of the entry of a tool.
pub(crate) fn adapter(specifier: &str) -> Option<&'static str> {
    match specifier {
        tools::SVELTE => Some(include_str!("tool/svelte.js")),
        tools::VUE => Some(include_str!("tool/vue.js")),
        _ => None,
    }
}

/// The tools of a request.
#[derive(Default)]
pub(crate) struct Tools {
    given: BTreeMap<String, Tool>,
    engines: BTreeMap<String, Result<Engine, String>>,
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
