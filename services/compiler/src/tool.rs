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
pub(crate) fn adapter(specifier: &str) -> Option<String> {
    match specifier {
        tools::SVELTE => Some(include_str!("tool/svelte.js").to_owned()),
        tools::VUE => Some(include_str!("tool/vue.js").to_owned()),
        _ => tailwind(specifier.strip_prefix(tools::TAILWIND)?),
    }
}

/// The entry of Tailwind, with sheets and plugins of packages.
fn tailwind(parts: &str) -> Option<String> {
    let own = ["", "/theme", "/preflight", "/utilities"].map(|name| {
        let file = if name.is_empty() { "/index" } else { name };
        let names = [format!("tailwindcss{name}"), format!("tailwindcss{file}.css")];
        (names.to_vec(), format!("tailwindcss{file}.css"))
    });
    let parts: Vec<_> = match parts.strip_prefix('?') {
        Some(parts) => parts.split('&').collect(),
        None if parts.is_empty() => Vec::new(),
        None => return None,
    };
    let (modules, sheets): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.ends_with("#module"));
    let sheets = own.into_iter().chain(sheets.into_iter().map(|sheet| (vec![sheet.to_owned()], sheet.to_owned())));
    let mut code = "import { compile } from \"tailwindcss\";\nconst SHEETS = new Map();\nconst MODULES = new Map();\n".to_owned();
    for (at, (names, file)) in sheets.enumerate() {
        code += &format!("import sheet{at} from {};\n", Value::from(format!("{file}?raw")));
        code.extend(names.iter().map(|name| format!("SHEETS.set({}, sheet{at});\n", Value::from(name.as_str()))));
    }
    for (at, module) in modules.iter().enumerate() {
        let name = Value::from(module.trim_end_matches("#module"));
        code += &format!("import * as module{at} from {name};\nMODULES.set({name}, module{at});\n");
    }
    Some(code + include_str!("tool/tailwindcss.js"))
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
