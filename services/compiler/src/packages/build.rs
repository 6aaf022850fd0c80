//! One run of the bundler.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use compiler_client::message::{Finding, finding::code};
use rolldown::{
    BundleFactory, BundleFactoryOptions, BundleOutput, BundlerOptions, InputItem, OutputFormat, Platform, RawMinifyOptions, ResolveOptions,
    TsConfig, plugin::__inner::SharedPluginable,
};
use rolldown_common::OutputChunk;
use rolldown_error::{BatchedBuildDiagnostic, BuildDiagnostic, DiagnosticOptions};

use super::{
    components::Components,
    files::{Files, Mode, ROOT},
    notes::Notes,
    threads::Threads,
};
use crate::{
    module::{self, Source},
    project::Project,
    tree::path,
};

/// A run of the bundler over the files of packages.
pub(crate) struct Build<'b> {
    pub(crate) files: &'b Arc<Files>,
    pub(crate) notes: &'b Arc<Notes>,
    pub(crate) components: &'b Arc<Components>,
    /// Files that are left out, and why.
    pub(crate) broken: &'b BTreeMap<String, String>,
}

/// Why there is no bundle.
pub(crate) enum Failure {
    /// Files that the bundler cannot read, with messages.
    Files(BTreeMap<String, String>),
    /// A message.
    Other(String),
}

/// What the bundler writes.
pub(crate) struct Output {
    pub(crate) input: Vec<InputItem>,
    /// The names of entries and other chunks, with `[name]` and `[hash]`.
    pub(crate) names: [String; 2],
    /// Expressions, and the code that replaces them.
    pub(crate) define: Vec<(String, String)>,
    pub(crate) mode: Mode,
}

impl Build<'_> {
    pub(crate) fn run(&self, plugin: SharedPluginable, output: Output, threads: &Threads) -> Result<BundleOutput, Failure> {
        let options =
            BundleFactoryOptions { bundler_options: options(output), plugins: vec![plugin], session: None, disable_tracing_setup: true };
        let system = self.files.system.clone();
        let tsconfig = tsconfig_off();
        let resolver =
            rolldown_resolver::Resolver::new(system.clone(), PathBuf::from(ROOT), Platform::Browser, &tsconfig, ResolveOptions::default());
        let built = threads.runtime.block_on(async {
            let mut factory = BundleFactory::new(options)?;
            factory.create_bundle_with_fs(system, Arc::new(resolver)).generate().await
        });
        built.map_err(|errors| self.failure(errors))
    }

    /// Which files broke the run. A file that was left out already says nothing new.
    fn failure(&self, errors: BatchedBuildDiagnostic) -> Failure {
        let shown = DiagnosticOptions { cwd: PathBuf::from(ROOT) };
        let (mut broken, mut other) = (BTreeMap::new(), String::new());
        for error in &errors.into_vec() {
            let message = error.to_message_with(&shown);
            match self.file_of(error).filter(|file| !self.broken.contains_key(file)) {
                Some(file) => {
                    let found = self.explain(&file, &message);
                    let message = found.message.clone();
                    self.notes.put(found);
                    broken.insert(file, message);
                }
                None => other = message,
            }
        }
        if broken.is_empty() { Failure::Other(other) } else { Failure::Files(broken) }
    }

    fn file_of(&self, error: &BuildDiagnostic) -> Option<String> {
        let ids = error.id().into_iter().chain(error.ids().unwrap_or_default());
        let files = ids.map(|id| path::split_query(id.trim_start_matches(ROOT).trim_start_matches('/')).0.to_owned());
        files.into_iter().find(|file| self.files.content(file).is_some())
    }

    /// The finding of the own parser, or the bundler's message.
    fn explain(&self, file: &str, message: &str) -> Finding {
        let options = Project::default().options(None);
        let own = self.files.content(file).and_then(|content| {
            let kind = module::kind(file, "").ok()?;
            let compiled = module::compile(&Source { path: file, kind, id: "", content: &content.bytes, options: &options });
            compiled.facts?.findings.into_iter().find(|finding| !finding.is_warning)
        });
        own.unwrap_or_else(|| crate::text::finding(code::NOT_BUNDLED, file, &crate::text::start(), message))
    }
}

/// The chunks of a bundle.
pub(crate) fn chunks(bundled: &BundleOutput) -> impl Iterator<Item = &OutputChunk> {
    bundled.assets.iter().filter_map(|output| match output {
        rolldown_common::Output::Chunk(chunk) => Some(&**chunk),
        rolldown_common::Output::Asset(_) => None,
    })
}

fn options(output: Output) -> BundlerOptions {
    let is_production = output.mode == Mode::Production;
    let mode = output.mode.name();
    let define = [
        ("process.env.NODE_ENV", format!("\"{mode}\"")),
        ("import.meta.env.MODE", format!("\"{mode}\"")),
        ("import.meta.env.DEV", (!is_production).to_string()),
        ("import.meta.env.PROD", is_production.to_string()),
        // Flags of Vue, with the values that it has without a bundler's.
        ("__VUE_OPTIONS_API__", "true".to_owned()),
        ("__VUE_PROD_DEVTOOLS__", "false".to_owned()),
        ("__VUE_PROD_HYDRATION_MISMATCH_DETAILS__", "false".to_owned()),
        ("global", "globalThis".to_owned()),
    ];
    let define = define.map(|(name, value)| (name.to_owned(), value));
    let [entries, chunks] = output.names;
    BundlerOptions {
        input: Some(output.input),
        cwd: Some(PathBuf::from(ROOT)),
        platform: Some(Platform::Browser),
        format: Some(OutputFormat::Esm),
        entry_filenames: Some(entries.into()),
        chunk_filenames: Some(chunks.into()),
        define: Some(define.into_iter().chain(output.define).collect()),
        minify: is_production.then_some(RawMinifyOptions::Bool(true)),
        shim_missing_exports: Some(true),
        tsconfig: Some(tsconfig_off()),
        ..BundlerOptions::default()
    }
}

fn tsconfig_off() -> TsConfig {
    TsConfig::Auto(false)
}
