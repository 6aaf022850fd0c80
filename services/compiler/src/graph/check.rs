//! What is wrong with the modules together: imports, exports and names.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use compiler_client::message::{
    Facts, Finding, Package, Place,
    facts::{Import, Kind, Member, Named},
    finding::{MAX_FINDINGS, code},
};

use super::{Classic, Graph, Name, Target, Walk};
use crate::{
    advice::{advice, read_default},
    module, project, text,
    tree::path,
};

/// Modules of Node.js, without `node:`.
const BUILTINS: [&str; 34] = [
    "assert",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "events",
    "fs",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "path",
    "perf_hooks",
    "process",
    "querystring",
    "readline",
    "repl",
    "stream",
    "string_decoder",
    "timers",
    "tls",
    "tty",
    "url",
    "util",
    "vm",
    "zlib",
];

/// What to do about a type that is imported as a value.
const IMPORT_TYPE: &str = "Write `import type`, or `export type` where it is exported again.";
/// What to do about a name that compiled JSX calls.
const JSX_CALLS: &str = "JSX calls it. Import it, or set \"jsx\" to \"react-jsx\" in tsconfig.json.";
/// The folder of a build.
const BUILT: &str = "/dist/";

/// Whether the file configures a tool, such as `eslint.config.js`.
fn is_configuration(path: &str) -> bool {
    module::is_script(path) && !path.contains('/') && path.rsplit_once('.').is_some_and(|(stem, _)| stem.ends_with(".config"))
}

/// Whether a specifier names a module of Node.js.
pub(crate) fn is_builtin(specifier: &str) -> bool {
    specifier.starts_with("node:") || BUILTINS.contains(&specifier.split('/').next().unwrap_or_default())
}

pub(crate) struct Checker<'c, 'g> {
    graph: &'c Graph<'g>,
    walk: &'c Walk,
    /// What scripts of the page define that are no modules.
    classic: &'c Classic,
    /// Names that scripts and declaration files define for all.
    globals: BTreeSet<&'c str>,
    ambient: Vec<&'c str>,
    checks_names: bool,
    /// Names that modules import from packages.
    imported: OnceCell<BTreeSet<String>>,
    /// The keys of import maps, for files that browsers get as they are.
    mapped: BTreeSet<&'c str>,
    /// See [`Checker::of_other_tool`].
    is_foreign: bool,
    /// The packages of the manifests below the root.
    nested: OnceCell<BTreeSet<String>>,
    /// What modules of packages export, sorted, by specifier. Those of which it is not known are absent.
    packages: BTreeMap<&'c str, &'c [String]>,
    findings: Vec<Finding>,
}

impl<'c, 'g> Checker<'c, 'g> {
    pub(crate) fn new(graph: &'c Graph<'g>, walk: &'c Walk, classic: &'c Classic) -> Self {
        let all = || graph.facts.values();
        Self {
            graph,
            walk,
            classic,
            globals: all().flat_map(|facts| &facts.globals).chain(&classic.names).map(String::as_str).collect(),
            ambient: all().flat_map(|facts| &facts.ambient).map(String::as_str).collect(),
            checks_names: true,
            imported: OnceCell::new(),
            mapped: BTreeSet::new(),
            is_foreign: false,
            nested: OnceCell::new(),
            packages: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    /// The packages of the page are bundled.
    pub(crate) fn with_packages(self, packages: &'c [Package]) -> Self {
        let known = packages.iter().filter(|package| !package.exports.is_empty());
        Self { packages: known.map(|package| (package.specifier.as_str(), package.exports.as_slice())).collect(), ..self }
    }

    /// Checks files that browsers get as they are. `mapped` are the keys of the import maps of the pages. Scripts of other origins are how
    /// such pages get their libraries, so that with one no name is checked.
    pub(crate) fn plain(graph: &'c Graph<'g>, walk: &'c Walk, classic: &'c Classic, mapped: BTreeSet<&'c str>) -> Self {
        Self { mapped, checks_names: !classic.is_open, ..Self::new(graph, walk, classic) }
    }

    /// The files are built or run by another tool if `is_foreign`. Its addresses, aliases and generated modules are not known.
    pub(crate) fn of_other_tool(self, is_foreign: bool) -> Self {
        let has_generated_names = is_foreign && self.graph.project.has_generated_names();
        Self { is_foreign, checks_names: self.checks_names && !has_generated_names, ..self }
    }

    /// Checks every module that is loaded.
    pub(crate) fn modules(mut self) -> Vec<Finding> {
        for (name, facts) in &self.graph.facts {
            // A server or a tool finds such files when it runs.
            let is_reached = self.is_reached(name);
            self.findings.extend(facts.findings.iter().filter(|found| is_reached || found.code != code::UNKNOWN_ADDRESS).cloned());
            // A script that no page loads can be one of a server or of a tool.
            if self.graph.project.is_plain && module::is_script(&name.0) && !self.is_reached(name) {
                continue;
            }
            for import in &facts.imports {
                self.import(name, import);
            }
            self.names(name, facts);
            for member in &facts.members {
                self.member(name, member);
            }
        }
        self.findings
    }

    /// Whether a browser loads the file.
    fn is_reached(&self, name: &Name) -> bool {
        self.walk.reached.contains(name)
    }

    fn add(&mut self, name: &Name, code: &str, place: Option<&Place>, message: &str) -> &mut Finding {
        let start = text::start();
        let at = self.findings.len();
        self.findings.push(text::finding(code, &name.0, place.unwrap_or(&start), message));
        &mut self.findings[at]
    }

    fn import(&mut self, name: &Name, import: &Import) {
        let (written, place) = (&import.written, import.place.as_ref());
        match self.graph.target(name, import) {
            Target::File(target) if self.is_no_script(name, import, &target) => {
                let message = format!("{written} is no script, and a browser imports only scripts");
                self.add(name, code::UNSUPPORTED, place, &message).help = "Link the file in the page.".to_owned();
            }
            Target::File(target) => self.exports(name, import, &target),
            Target::Missing if self.is_declared(written) => {}
            // A server of the project imports what a build leaves there.
            Target::Missing if import.specifier.starts_with(BUILT) && !self.is_reached(name) => {}
            Target::Missing if self.is_foreign && self.is_of_tool(written) => {}
            // A tool resolves its addresses itself.
            Target::Missing if import.is_reference && !self.is_reached(name) && module::is_script(&name.0) => {}
            Target::Missing if import.is_reference => {
                self.add(name, code::MISSING_FILE, place, &format!("there is no file {written}"));
            }
            Target::Missing => {
                let help = self.similar(name, import).map(|found| format!("Did you mean {found}?")).unwrap_or_default();
                self.add(name, code::UNRESOLVED_IMPORT, place, &format!("there is no file for the import {written}")).help = help;
            }
            Target::Unsupported(message) if self.is_reached(name) => {
                self.add(name, code::UNSUPPORTED, place, &format!("{written}: {message}"));
            }
            Target::Package(package) => {
                self.package(name, import, &package);
                self.exports_of_package(name, import);
            }
            Target::Foreign | Target::Generated(_) | Target::Refresh | Target::Unsupported(_) => {}
        }
    }

    /// Whether an address depends on the root of a server, or a specifier on what a tool generates.
    fn is_of_tool(&self, written: &str) -> bool {
        written.starts_with('/') || written.starts_with('#') && self.graph.project.has_generated_names()
    }

    /// Whether a script that no tool compiles imports another file than a script. With names it may have an attribute such as
    /// `with { type: "json" }`.
    fn is_no_script(&self, name: &Name, import: &Import, target: &Name) -> bool {
        let is_import = module::is_script(&name.0) && !import.is_reference && import.names.is_empty();
        self.graph.project.is_plain && is_import && !module::is_script(&target.0)
    }

    fn exports(&mut self, name: &Name, import: &Import, target: &Name) {
        for Named { name: export, place } in &import.names {
            let is_started = module::worker::Form::of(path::split_query(&import.specifier).1).is_some();
            let is_there = if is_started { export == "default" } else { self.graph.exports(target, export) };
            if is_there {
                continue;
            }
            let is_type = !is_started && self.graph.exports_type(target, export);
            // Another tool can know of all files which exports are types.
            if is_type && !self.is_reached(name) {
                continue;
            }
            let written = &import.written;
            let message = match export.as_str() {
                _ if is_type => format!("{written} exports {export} only as a type, which no code has"),
                "default" => format!("{written} has no default export"),
                _ => format!("{written} has no export named {export}"),
            };
            let help = if is_type { IMPORT_TYPE.to_owned() } else { self.exported(target) };
            self.add(name, code::MISSING_EXPORT, place.as_ref(), &message).help = help;
        }
    }

    /// The first exports of a file, as a help.
    fn exported(&self, target: &Name) -> String {
        let exports = self.graph.facts.get(target).map(|facts| facts.exports.iter().take(10).cloned().collect::<Vec<_>>());
        let exports = exports.unwrap_or_default();
        if exports.is_empty() { String::new() } else { format!("It exports {}.", exports.join(", ")) }
    }

    fn package(&mut self, name: &Name, import: &Import, package: &str) {
        let written = if import.written.is_empty() { &import.specifier } else { &import.written };
        if self.graph.project.is_plain {
            let is_mapped = |key: &&str| *key == written || key.ends_with('/') && written.starts_with(key);
            if !self.mapped.iter().any(is_mapped) {
                let message = format!("a browser does not find the package {package}");
                let is_warning = self.is_foreign;
                let found = self.add(name, code::UNRESOLVED_IMPORT, import.place.as_ref(), &message);
                found.is_warning = is_warning;
                found.help = format!("Import https://esm.sh/{written}, or map {written} to an address with an import map in the page.");
            }
            return;
        }
        if is_builtin(package) && !self.graph.project.has(package) {
            if self.is_reached(name) {
                let message = format!("{written} is a module of Node.js; a browser has none");
                self.add(name, code::UNSUPPORTED, import.place.as_ref(), &message).help = advice(&[package]);
            }
            return;
        }
        let types = format!("@types/{}", package.trim_start_matches('@').replace('/', "__"));
        let is_virtual = ["virtual:", "bun:", "~", "$"].iter().any(|start| package.starts_with(start));
        // A tool can have its packages from another one.
        let is_configuration = is_configuration(&name.0) && !self.is_reached(name);
        let has = |package: &str| self.graph.project.has(package);
        // No package has such a name.
        let is_alias = self.is_foreign && ["@/", "@@/"].iter().any(|start| package.starts_with(start));
        let is_nested =
            || !self.is_reached(name) && self.nested.get_or_init(|| project::nested_packages(self.graph.tree)).contains(package);
        let is_known =
            has(package) || has(&types) || is_virtual || is_configuration || is_alias || self.is_declared(written) || is_nested();
        if !is_known && self.graph.project.has_manifest {
            let message = format!("the package {package} is not in package.json");
            let found = self.add(name, code::MISSING_PACKAGE, import.place.as_ref(), &message);
            found.help = format!("Add {package} to the dependencies in package.json.");
        }
    }

    /// A browser runs no module of the page if one of them imports a name that a package does not export.
    fn exports_of_package(&mut self, name: &Name, import: &Import) {
        let Some(exports) = self.packages.get(import.specifier.as_str()).copied().filter(|_| self.is_reached(name)) else { return };
        for Named { name: export, place } in import.names.iter().filter(|named| exports.binary_search(&named.name).is_err()) {
            let written = if import.written.is_empty() { &import.specifier } else { &import.written };
            let message = match export.as_str() {
                "default" => format!("{written} has no default export"),
                _ => format!("{written} has no export named {export}"),
            };
            let similar = exports.iter().find(|known| known.len() > 2 && (export.starts_with(known.as_str()) || known.starts_with(export)));
            let help = similar.map(|found| format!("Did you mean {found}?")).or_else(|| read_default(exports)).unwrap_or_default();
            self.add(name, code::MISSING_EXPORT, place.as_ref(), &message).help = help;
        }
    }

    /// Whether a declaration file declares the module.
    fn is_declared(&self, written: &str) -> bool {
        self.ambient.iter().any(|pattern| match pattern.split_once('*') {
            Some((start, end)) => {
                written.len() >= start.len() + end.len()
                    && written.starts_with(start)
                    && written.ends_with(end)
                    && !path::is_relative(written)
            }
            None => *pattern == written,
        })
    }

    /// A file of the same folder whose name differs only by case or extension.
    fn similar(&self, name: &Name, import: &Import) -> Option<String> {
        if self.findings.len() > MAX_FINDINGS {
            return None;
        }
        let specifier = import.specifier.strip_prefix('/')?;
        let stem = |path: &str| path.rsplit_once('.').map_or(path, |(stem, _)| stem).to_ascii_lowercase();
        let wanted = [specifier.to_ascii_lowercase(), stem(specifier)];
        let found = self.graph.tree.paths().find(|path| wanted.contains(&stem(path)) || wanted.contains(&path.to_ascii_lowercase()))?;
        Some(path::relative(path::folder(&name.0), found))
    }

    fn names(&mut self, name: &Name, facts: &Facts) {
        let is_tool = !self.is_reached(name);
        if !self.checks_names || ![Kind::Module, Kind::Worker].contains(&name.1) {
            return;
        }
        for Named { name: used, place } in &facts.undefined {
            if self.globals.contains(used.as_str()) || is_tool && module::is_of_tools(used) {
                continue;
            }
            let is_doubtful = self.classic.is_open && !facts.components.contains(used) && !self.is_of_package(used);
            self.undefined(name, place.as_ref(), used, is_doubtful);
        }
        // Another tool may compile JSX in another way.
        for Named { name: used, place } in &facts.jsx {
            if is_tool || self.globals.contains(used.as_str()) {
                continue;
            }
            self.undefined(name, place.as_ref(), used, self.classic.is_open).help = JSX_CALLS.to_owned();
        }
    }

    fn undefined(&mut self, name: &Name, place: Option<&Place>, used: &str, is_doubtful: bool) -> &mut Finding {
        let end = if is_doubtful { ", unless a script that the page loads from elsewhere defines it" } else { "" };
        let found = self.add(name, code::UNDEFINED_NAME, place, &format!("{used} is not defined{end}"));
        found.is_warning = is_doubtful;
        found
    }

    /// Whether a name is probably an import that is absent: it is that of a hook, or other modules import it from a package.
    fn is_of_package(&self, used: &str) -> bool {
        let is_hook = used.strip_prefix("use").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        is_hook || self.imported.get_or_init(|| imported(self.graph)).contains(used)
    }

    fn member(&mut self, name: &Name, member: &Member) {
        let Some(named) = &member.named else { return };
        let import = Import { specifier: member.specifier.clone(), ..Import::default() };
        let Target::File(target) = self.graph.target(name, &import) else { return };
        let is_known = |facts: &Facts| facts.exports.contains(&named.name) || facts.findings.iter().any(|finding| !finding.is_warning);
        if target.1 == Kind::Module && self.graph.facts.get(&target).is_some_and(|facts| !is_known(facts)) {
            let message = format!("{} has no class {}", target.0, named.name);
            self.add(name, code::MISSING_CLASS, named.place.as_ref(), &message).is_warning = true;
        }
    }
}

/// The names that modules import from packages.
fn imported(graph: &Graph) -> BTreeSet<String> {
    let imports = graph.facts.iter().flat_map(|(name, facts)| facts.imports.iter().map(move |import| (name, import)));
    let of_packages = imports.filter(|(name, import)| matches!(graph.target(name, import), Target::Package(_)));
    of_packages.flat_map(|(_, import)| &import.names).map(|named| named.name.clone()).collect()
}
