//! Compilers that exist only in JavaScript. Each is bundled from its package with an adapter of this folder, and runs in an engine. React Refresh
//! and Prefresh are bundled in the same way, and run in the page.
//!
//! - [`adapter`]: the entry of a bundle. [`Tools`]: the bundles of a request. `engine`: what runs them. `runtime`: its
//!   limits. [`bytecode`]: the form of a bundle.
//! - [`tailwind`]: the entries of Tailwind. [`builtins`]: what stands for modules of Node.js. [`sheets`]: style sheets of packages.

pub(crate) mod builtins;
pub(crate) mod bytecode;
mod engine;
mod runtime;
pub(crate) mod sheets;
pub(crate) mod tailwind;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::ManuallyDrop,
    sync::Arc,
};

use compiler_client::message::tools::{self, Tool, ToolOutput};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(crate) use self::runtime::Failure;
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
    /// The process ends after one answer. To free all values of an engine would take as long as some runs.
    engines: BTreeMap<String, Result<ManuallyDrop<Engine>, String>>,
    sheets: BTreeMap<String, Arc<Sheets>>,
    /// Specifiers of those that the request lacks.
    wanted: BTreeSet<String>,
    /// Specifiers of those that cannot be had.
    absent: BTreeSet<String>,
    /// Texts of answers, by key.
    outputs: BTreeMap<String, String>,
    made: Vec<ToolOutput>,
    histories: BTreeMap<String, History>,
}

/// The inputs that a tool has had in this process.
#[derive(Default)]
struct History {
    /// The key of the last one.
    key: String,
    /// Those whose outputs were known, so that it has not run with them.
    skipped: Vec<Value>,
}

impl Tools {
    pub(crate) fn new(given: Vec<Tool>, outputs: Vec<ToolOutput>) -> Self {
        let given = given.into_iter().map(|tool| (tool.specifier.clone(), tool)).collect();
        let outputs = outputs.into_iter().map(|output| (output.key, output.text)).collect();
        Self { given, outputs, ..Self::default() }
    }

    /// These are never wanted.
    pub(crate) fn without(self, absent: Vec<String>) -> Self {
        Self { absent: absent.into_iter().collect(), ..self }
    }

    /// The address of a tool's code, with its hash. A tool that the request lacks is noted as wanted.
    pub(crate) fn id(&mut self, specifier: &str) -> Option<String> {
        let found = self.given.get(specifier).map(|tool| tool.id.clone());
        if found.is_none() && !self.absent.contains(specifier) {
            self.wanted.insert(specifier.to_owned());
        }
        found
    }

    /// The address of a tool's code, with its hash, if the request has the tool.
    pub(crate) fn given_id(&self, specifier: &str) -> Option<&str> {
        self.given.get(specifier).map(|tool| tool.id.as_str())
    }

    /// The style sheets of a package. Those that the request lacks are noted as wanted.
    pub(crate) fn sheets(&mut self, specifier: &str) -> Option<Arc<Sheets>> {
        if let Some(read) = self.sheets.get(specifier) {
            return Some(Arc::clone(read));
        }
        self.id(specifier)?;
        let read = self.given.get(specifier).and_then(|tool| serde_json::from_slice(&tool.code).ok());
        let read: Arc<Sheets> = Arc::new(read.unwrap_or_default());
        self.sheets.insert(specifier.to_owned(), Arc::clone(&read));
        Some(read)
    }

    pub(crate) fn wanted(&self) -> Vec<String> {
        self.wanted.iter().cloned().collect()
    }

    /// As [`Self::run`], unless the request has the output. A tool can remember its inputs, and may have been given code of the project by them.
    /// So the key of an output has all inputs before it, and those that were skipped are made up for before a run: the output is the same as
    /// if the request had none.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_unless_known(&mut self, specifier: &str, input: Value) -> Result<Value, Failure> {
        let id = self.given_id(specifier).unwrap_or_default().to_owned();
        let history = self.histories.entry(specifier.to_owned()).or_default();
        let key = Sha256::digest(format!("{specifier}\0{id}\0{}\0{input}", history.key));
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        history.key.clone_from(&key);
        if let Some(output) = self.outputs.get(&key).and_then(|text| serde_json::from_str(text).ok()) {
            history.skipped.push(input);
            return Ok(output);
        }
        for earlier in std::mem::take(&mut history.skipped) {
            // It has succeeded before.
            let _ = self.run(specifier, &earlier);
        }
        let output = self.run(specifier, &input)?;
        self.made.push(ToolOutput { key, text: output.to_string() });
        Ok(output)
    }

    /// The outputs that the request does not have.
    pub(crate) fn take_outputs(&mut self) -> Vec<ToolOutput> {
        std::mem::take(&mut self.made)
    }

    /// Runs a tool.
    ///
    /// # Errors
    /// It throws, or exceeds a limit.
    pub(crate) fn run(&mut self, specifier: &str, input: &Value) -> Result<Value, Failure> {
        let code = self.given.get(specifier).map(|tool| &*tool.code).unwrap_or_default();
        let engine = self
            .engines
            .entry(specifier.to_owned())
            .or_insert_with(|| Engine::start(code).map(ManuallyDrop::new).map_err(|failure| failure.0));
        match engine {
            Ok(engine) => engine.run(input),
            Err(message) => Err(Failure(message.clone())),
        }
    }
}
