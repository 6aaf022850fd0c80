//! The packages that a project imports, bundled to ECMAScript modules.
//!
//! - [`bundle`]: a request to an answer. `files`: the installed packages as a file system, and which file a specifier names.
//! - `entry`: a module for each specifier, with named exports for CommonJS. `plugin`: what the bundler reads.
//! - `components`: files of Svelte and Vue in packages. `sheets`: style sheets for SCSS of the project. `programs`: tools as bytecode.
//! - `build`: one run of the bundler. `output`: addresses by content. `notes`: findings. `threads`: what the bundler runs on.

mod build;
mod components;
mod entry;
mod files;
mod notes;
mod output;
mod plugin;
mod programs;
mod sheets;
mod threads;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use compiler_client::message::{
    PackagesAnswer, PackagesRequest,
    finding::{code, listed},
};

use rolldown::{BundleOutput, InputItem};

pub(crate) use self::{
    build::{Build, Failure, Output, chunks},
    components::Components,
    files::{Files, Mode},
    notes::Notes,
    plugin::Packages,
};
use self::{
    entry::Entry,
    plugin::{ENTRY, NAME_END, NAME_START},
};
pub use self::{programs::bytecode, threads::Threads};
use crate::{
    project::Project,
    tool::{self, Tools},
};

/// The most specifiers of a bundle.
const MAX_SPECIFIERS: usize = 1_000;
/// Each run leaves out the files that broke the one before.
pub(crate) const MAX_RUNS: usize = 8;

/// Bundles packages. The same request has the same answer. What cannot be bundled has a finding, and the others are bundled.
pub fn bundle(request: PackagesRequest, threads: &Threads) -> PackagesAnswer {
    let mode = if request.mode == "production" { Mode::Production } else { Mode::Development };
    let files = Arc::new(Files::new(request.files, mode).with_preact_for_react(request.has_preact_for_react));
    let notes = Arc::new(Notes::default());
    let (sheets, specifiers): (BTreeSet<String>, BTreeSet<String>) =
        request.specifiers.into_iter().partition(|specifier| tool::sheets::package(specifier).is_some());
    for surplus in specifiers.iter().skip(MAX_SPECIFIERS) {
        notes.add(code::NOT_BUNDLED, "", &format!("{surplus}: the project imports more than {MAX_SPECIFIERS} specifiers of packages"));
    }
    let entries: Vec<Entry> = specifiers.iter().take(MAX_SPECIFIERS).filter_map(|specifier| entry::of(&files, specifier, &notes)).collect();
    let components = Arc::new(Components::new(Tools::new(request.tools, Vec::new())));
    let mut answer = run((&files, &notes, &components), entries, threads);
    answer.wanted_tools = components.wanted();
    if !answer.wanted_tools.is_empty() {
        return PackagesAnswer { wanted_tools: answer.wanted_tools, ..PackagesAnswer::default() };
    }
    programs::compile(&mut answer, &notes);
    let PackagesAnswer { packages, modules, .. } = sheets::answer(&files, &sheets, &notes);
    answer.packages.extend(packages);
    answer.modules.extend(modules);
    answer.findings = listed(notes.all());
    answer
}

/// Runs the bundler until nothing breaks it.
fn run(
    (files, notes, components): (&Arc<Files>, &Arc<Notes>, &Arc<Components>),
    mut entries: Vec<Entry>,
    threads: &Threads,
) -> PackagesAnswer {
    let mut broken = BTreeMap::new();
    for _ in 0..MAX_RUNS {
        if entries.is_empty() {
            break;
        }
        let build = Build { files, notes, components, broken: &broken };
        match run_once(&build, &entries, threads) {
            Ok(built) => return output::answer(&built, notes.resources(), &entries),
            Err(Failure::Files(found)) => broken.extend(found),
            Err(Failure::Other(_)) => {
                let kept = separately(&build, &entries, threads);
                if kept.len() == entries.len() {
                    break;
                }
                entries = kept;
            }
        }
    }
    for entry in &entries {
        notes.add(code::NOT_BUNDLED, "", &format!("{} cannot be bundled with the other packages", entry.specifier));
    }
    PackagesAnswer::default()
}

fn run_once(build: &Build, entries: &[Entry], threads: &Threads) -> Result<BundleOutput, Failure> {
    let mut packages = Packages::new(build, &Project::default().options(None));
    packages.entries = entries.iter().map(|entry| entry.code.clone()).collect();
    packages.shared = entries.iter().find_map(|entry| tool::shared_package(&entry.specifier));
    packages.is_tool = entries.iter().any(|entry| tool::runs_in_engine(&entry.specifier));
    let input = (0..entries.len()).map(|at| InputItem { name: Some(format!("entry{at}")), import: format!("{ENTRY}{at}") });
    let name = format!("{NAME_START}[name]{NAME_END}");
    // QuickJS makes `import.meta` from the name of the source, which the bytecode of tools does not have.
    let define = if packages.is_tool { vec![("import.meta".to_owned(), "{}".to_owned())] } else { Vec::new() };
    let output = Output { input: input.collect(), names: [name.clone(), name], define, mode: build.files.mode };
    build.run(Arc::new(packages), output, threads)
}

/// The entries that can be bundled alone. Each of the others gets a finding.
fn separately(build: &Build, entries: &[Entry], threads: &Threads) -> Vec<Entry> {
    let is_bundled = |entry: &&Entry| match run_once(build, std::slice::from_ref(entry), threads) {
        Err(Failure::Other(message)) => {
            build.notes.add(code::NOT_BUNDLED, "", &format!("{} cannot be bundled: {message}", entry.specifier));
            false
        }
        _ => true,
    };
    entries.iter().filter(is_bundled).cloned().collect()
}
