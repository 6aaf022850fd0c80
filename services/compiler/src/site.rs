//! The page of a project, its modules and its packages as the few files of a published site.
//!
//! - `modules`: what the bundler reads of the project. `plugin`: how it reads. `sheet`: the texts of all style sheets as one.
//! - `output`: chunks, the sheet, assets and the page.

mod modules;
mod output;
mod plugin;
mod sheet;

use std::{collections::BTreeMap, sync::Arc};

use compiler_client::message::{
    File, SiteAnswer, SiteRequest,
    finding::{code, listed},
};
use rolldown::{BundleOutput, InputItem};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::{modules::Modules, plugin::SitePlugin};
use crate::{
    compile::{Compilation, follow},
    environment,
    graph::PAGE,
    module::ASSETS,
    packages::{Build, Components, Failure, Files, MAX_RUNS, Mode, Notes, Output as BundlerOutput, Packages, Threads},
    project::Output,
};

/// Builds a site. The same request has the same answer. `progress` gets the path of each file before it is compiled.
pub fn build(request: SiteRequest, threads: &Threads, progress: &mut dyn FnMut(&str)) -> SiteAnswer {
    let SiteRequest { tree, packages } = request;
    let tree = compiler_client::message::Request { known: Vec::new(), packages: Vec::new(), check_all: false, ..tree.unwrap_or_default() };
    follow(tree, Output::Bundle, progress, |compilation| bundle(compilation, packages, threads))
}

fn bundle(mut compilation: Compilation<'_>, packages: Vec<File>, threads: &Threads) -> SiteAnswer {
    let (wanted, wanted_tools) = (compilation.complete(), compilation.graph.tools.wanted());
    if !wanted.is_empty() || !wanted_tools.is_empty() {
        return SiteAnswer { wanted, wanted_tools, ..SiteAnswer::default() };
    }
    let mut findings = compilation.findings();
    if findings.iter().any(|finding| compilation.is_broken_by(finding)) {
        return SiteAnswer { findings: listed(findings), ..SiteAnswer::default() };
    }
    let define = define(&compilation);
    let modules = Arc::new(Modules::of(&mut compilation, &surroundings(&packages, &define)));
    let has_preact_for_react = compilation.graph.project.has_preact_for_react();
    let files = Arc::new(Files::new(packages, Mode::Production).with_preact_for_react(has_preact_for_react));
    let components = Arc::new(Components::new(std::mem::take(&mut compilation.graph.tools)));
    let site = Site { modules, files, notes: Arc::new(Notes::default()), components, define };
    let bundled = site.run(threads);
    let wanted_tools = site.components.wanted();
    if !wanted_tools.is_empty() {
        return SiteAnswer { wanted_tools, ..SiteAnswer::default() };
    }
    let notes = site.notes.all();
    // A package that cannot be bundled stops the page of a preview, too.
    let is_whole = notes.iter().all(|finding| finding.is_warning);
    findings.extend(notes);
    let files = bundled.filter(|_| is_whole).map(|bundled| output::files(&compilation, &site, &bundled)).unwrap_or_default();
    SiteAnswer { files, findings: listed(findings), ..SiteAnswer::default() }
}

/// What the bundler gets.
struct Site {
    modules: Arc<Modules>,
    files: Arc<Files>,
    notes: Arc<Notes>,
    components: Arc<Components>,
    define: Vec<(String, String)>,
}

impl Site {
    /// Runs the bundler, and leaves out the files of packages that break it.
    fn run(&self, threads: &Threads) -> Option<BundleOutput> {
        let mut broken = BTreeMap::new();
        for _ in 0..MAX_RUNS {
            let build = Build { files: &self.files, notes: &self.notes, components: &self.components, broken: &broken };
            match self.run_once(&build, threads) {
                Ok(bundled) => return Some(bundled),
                Err(Failure::Files(found)) => broken.extend(found),
                Err(Failure::Other(message)) => {
                    self.notes.add(code::NOT_BUNDLED, PAGE, &message);
                    return None;
                }
            }
        }
        self.notes.add(code::NOT_BUNDLED, PAGE, &format!("the packages still have files that cannot be bundled after {MAX_RUNS} attempts"));
        None
    }

    fn run_once(&self, build: &Build, threads: &Threads) -> Result<BundleOutput, Failure> {
        let entries = self.modules.entries.iter();
        let input: Vec<_> = entries.map(|entry| InputItem { name: Some(entry.name.clone()), import: entry.id.clone() }).collect();
        if input.is_empty() {
            return Ok(BundleOutput::default());
        }
        // The names of entries have a hash already.
        let names = [format!("{ASSETS}[name].js"), format!("{ASSETS}[name]-[hash].js")];
        let packages = Packages::new(build, &self.modules.options);
        let plugin = SitePlugin { packages, modules: Arc::clone(&self.modules) };
        let output = BundlerOutput { input, names, define: self.define.clone(), mode: Mode::Production };
        build.run(Arc::new(plugin), output, threads)
    }
}

/// A hash of what a bundle depends on besides the project's own modules: the packages, the environment, and the compiler.
fn surroundings(packages: &[File], define: &[(String, String)]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    for (name, value) in define {
        hasher.update(format!("{name}\0{value}\0"));
    }
    for file in packages {
        let content = file.content.as_deref().unwrap_or_default();
        hasher.update(format!("{}\0{}\0{}\0", file.path, file.id, content.len()));
        hasher.update(content);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The values of `import.meta.env`.
fn define(compilation: &Compilation) -> Vec<(String, String)> {
    let values = environment::values(compilation.graph.tree, &compilation.walk.base, true);
    let members = values.iter().map(|(name, value)| (format!("import.meta.env.{name}"), value.to_string()));
    let mut define: Vec<_> = members.collect();
    define.push(("import.meta.env".to_owned(), Value::Object(values).to_string()));
    define
}
