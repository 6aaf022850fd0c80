//! What is wrong with the modules together: imports, exports, names, and files that the page refers to.

use std::collections::BTreeSet;

use compiler_client::message::{
    Facts, Finding, Place,
    facts::{Import, Kind, Member, Named},
    finding::{MAX_FINDINGS, code},
};

use super::{Graph, Name, Target, Walk, walk};
use crate::{
    module,
    page::{Item, Outline, Role},
    text,
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

/// Whether a specifier names a module of Node.js.
pub(crate) fn is_builtin(specifier: &str) -> bool {
    specifier.starts_with("node:") || BUILTINS.contains(&specifier.split('/').next().unwrap_or_default())
}

pub(crate) struct Checker<'c, 'g> {
    graph: &'c Graph<'g>,
    walk: &'c Walk,
    /// Names that scripts and declaration files define for all.
    globals: BTreeSet<&'c str>,
    ambient: Vec<&'c str>,
    /// Scripts that are no modules may define any name.
    checks_names: bool,
    findings: Vec<Finding>,
}

impl<'c, 'g> Checker<'c, 'g> {
    pub(crate) fn new(graph: &'c Graph<'g>, walk: &'c Walk, outline: &Outline) -> Self {
        let all = || graph.facts.values();
        Self {
            graph,
            walk,
            globals: all().flat_map(|facts| &facts.globals).map(String::as_str).collect(),
            ambient: all().flat_map(|facts| &facts.ambient).map(String::as_str).collect(),
            checks_names: !outline.has_classic,
            findings: Vec::new(),
        }
    }

    /// Checks every module that is loaded.
    pub(crate) fn modules(mut self) -> Vec<Finding> {
        for (name, facts) in &self.graph.facts {
            self.findings.extend(facts.findings.iter().cloned());
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
            Target::File(target) => self.exports(name, import, &target),
            Target::Missing if self.is_declared(written) => {}
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
            Target::Package(package) => self.package(name, import, &package),
            Target::Foreign | Target::Generated(_) | Target::Unsupported(_) => {}
        }
    }

    fn exports(&mut self, name: &Name, import: &Import, target: &Name) {
        for Named { name: export, place } in &import.names {
            let is_started = module::worker::Form::of(path::split_query(&import.specifier).1).is_some();
            let is_there = if is_started { export == "default" } else { self.graph.exports(target, export) };
            if !is_there {
                let message = if export == "default" {
                    format!("{} has no default export", import.written)
                } else {
                    format!("{} has no export named {export}", import.written)
                };
                let help = self.exported(target);
                self.add(name, code::MISSING_EXPORT, place.as_ref(), &message).help = help;
            }
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
        if is_builtin(package) && !self.graph.project.has(package) {
            if self.is_reached(name) {
                let message = format!("{written} is a module of Node.js; a browser has none");
                self.add(name, code::UNSUPPORTED, import.place.as_ref(), &message);
            }
            return;
        }
        let types = format!("@types/{}", package.trim_start_matches('@').replace('/', "__"));
        let is_virtual = ["virtual:", "bun:", "~", "$"].iter().any(|start| package.starts_with(start));
        let is_known = self.graph.project.has(package) || self.graph.project.has(&types) || is_virtual || self.is_declared(written);
        if !is_known && self.graph.project.has_manifest {
            let message = format!("the package {package} is not in package.json");
            let found = self.add(name, code::MISSING_PACKAGE, import.place.as_ref(), &message);
            found.help = format!("Add {package} to the dependencies in package.json.");
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
            self.add(name, code::UNDEFINED_NAME, place.as_ref(), &format!("{used} is not defined"));
        }
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

/// Files that the page refers to and that are not there.
pub(crate) fn page(graph: &Graph, outline: &Outline) -> Vec<Finding> {
    let is_checked = |item: &&Item| item.role != Role::InlineModule && crate::page::is_own(&item.value);
    let missing = outline.items.iter().filter(is_checked).filter(|item| walk::resolve_in_page(graph, &item.value).is_none());
    missing
        .map(|item| {
            let found =
                walk::at(item, code::MISSING_FILE, &format!("<{} {}=\"{}\">: there is no such file", item.tag, item.attribute, item.value));
            // A page without its icon works.
            Finding { is_warning: item.role == Role::File, ..found }
        })
        .collect()
}
