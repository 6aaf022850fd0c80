//! Style sheets of Tailwind. Their rules depend on the words of all files that the page loads, so that they are written last, and anew for
//! each page.
//!
//! - [`Graph::expand`]: a sheet to its rules. `modules`: configurations and plugins of the project. `sources`: files whose words a sheet or a
//!   configuration names.

mod modules;
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use compiler_client::message::{Facts, Finding, facts::Kind, finding::code, packages::package_of};
use serde::Deserialize;
use serde_json::{Value, json};

use self::sources::Pattern;
use super::{Graph, Name};
use crate::{
    module::{self, Source, tailwind},
    project,
    text::Text,
    tool::{
        Failure,
        tailwind::{Part, Version},
    },
    tree::path,
};

/// The most sheets of the project that one imports.
const MAX_SHEETS: usize = 200;
/// The most words of a page.
const MAX_WORDS: usize = 50_000;

/// What a tool gets besides the sheet, or the modules of a configuration.
#[derive(Default)]
pub(super) struct Parts {
    /// Sheets of the project, by importer and specifier.
    sheets: BTreeMap<String, Value>,
    /// What it needs of packages.
    packages: BTreeSet<Part>,
    /// Configurations, plugins and what they import, each after what it needs.
    pub(super) modules: Vec<Value>,
    /// Paths of modules by importer and specifier.
    pub(super) targets: BTreeMap<String, String>,
    /// The texts of the modules, by path.
    files: BTreeMap<String, String>,
    /// The configuration of Tailwind 3.
    configuration: Option<String>,
    /// A content is absent.
    is_partial: bool,
    pub(super) findings: Vec<Finding>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Output {
    css: String,
    error: Option<Report>,
    /// Files whose words are read besides those of the modules.
    sources: Vec<Pattern>,
    /// The words of the modules are read only if `sources` has their files.
    #[serde(rename = "isClosed")]
    is_closed: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Report {
    message: String,
    line: u32,
    column: u32,
    path: String,
}

/// A sheet, and words that can be its classes.
struct Sheet<'s> {
    name: &'s Name,
    text: &'s str,
    version: Version,
    /// Those of the modules and of the page.
    loaded: &'s [String],
    /// Those of other files.
    named: BTreeSet<String>,
}

impl Graph<'_> {
    /// The words of the modules that the page has reached, and of the page.
    pub(super) fn words(&self, reached: &BTreeSet<Name>, page: &str) -> Vec<String> {
        let own = reached.iter().filter_map(|name| self.facts.get(name)).flat_map(|facts| facts.words.lines());
        let page = tailwind::words(page);
        let all: BTreeSet<_> = own.chain(page.lines()).collect();
        all.into_iter().take(MAX_WORDS).map(str::to_owned).collect()
    }

    /// Writes the rules of a sheet. `false` if the request lacks a content or the tool.
    pub(super) fn expand(&mut self, name: &Name, words: &[String]) -> bool {
        let Some(text) = self.facts.get(name).map(|facts| facts.marked.clone()) else { return false };
        let Some(version) = self.project.tailwind() else { return false };
        let mut parts = self.parts(&name.0, &text, version);
        if parts.is_partial {
            return false;
        }
        let mut facts = Facts { path: name.0.clone(), is_open: true, findings: parts.findings.clone(), ..Facts::default() };
        facts.set_kind(name.1);
        if facts.findings.is_empty() {
            let sheet = Sheet { name, text: &text, version, loaded: words, named: BTreeSet::new() };
            match self.with_sources(sheet, &mut parts) {
                Ok(Some(css)) => facts = self.sheet_of(name, &text, &css),
                Ok(None) => return false,
                Err(finding) => facts.findings.push(*finding),
            }
        }
        self.facts.insert(name.clone(), facts);
        true
    }

    /// The rules of a sheet, with the words of the files that it names. `None` if the request lacks a content or the tool.
    fn with_sources(&mut self, mut sheet: Sheet, parts: &mut Parts) -> Result<Option<String>, Box<Finding>> {
        let Some(output) = self.rules(&sheet, parts)? else { return Ok(None) };
        if let Some(message) = sources::excess(&output) {
            let file = parts.configuration.as_deref().unwrap_or(&sheet.name.0);
            return Err(Box::new(crate::text::finding(code::TAILWIND, file, &crate::text::start(), &message)));
        }
        let named = self.named(&output);
        if named.is_partial {
            return Ok(None);
        }
        if named.words.is_empty() && named.packages.is_subset(&parts.packages) {
            return Ok(Some(output.css));
        }
        sheet.named = named.words;
        parts.packages.extend(named.packages);
        Ok(self.rules(&sheet, parts)?.map(|output| output.css))
    }

    /// What a sheet names, over all that it imports.
    fn parts(&self, file: &str, text: &str, version: Version) -> Parts {
        let mut parts = Parts::default();
        let mut open = vec![(file.to_owned(), text.to_owned())];
        while let Some((importer, text)) = open.pop() {
            for reference in tailwind::references(&text) {
                let specifier = &reference.specifier;
                if path::is_foreign(specifier) {
                    continue;
                }
                let is_sheet = ["import", "reference"].contains(&reference.rule);
                let key = format!("{importer} {specifier}");
                match self.sheet_file(&importer, specifier) {
                    Some(target) if is_sheet => {
                        if parts.sheets.contains_key(&key) || parts.sheets.len() == MAX_SHEETS {
                            continue;
                        }
                        match self.tree.text(&target) {
                            Some(content) => {
                                parts.sheets.insert(key, json!({ "path": target, "text": content }));
                                open.push((target, content.to_owned()));
                            }
                            None => parts.is_partial = true,
                        }
                    }
                    Some(target) => {
                        self.add_module(&mut parts, &target);
                        if reference.rule == "config" && importer == file {
                            parts.configuration = Some(target.clone());
                        }
                        parts.targets.insert(key, target);
                    }
                    None if self.project.has(package_of(specifier)) => {
                        let is_own = package_of(specifier) == "tailwindcss";
                        let part = if is_sheet { Part::Sheet(specifier.clone()) } else { Part::Import(specifier.clone()) };
                        parts.packages.extend((!is_own || !is_sheet).then_some(part));
                    }
                    None => parts.findings.push(refused(&importer, &text, &reference)),
                }
            }
        }
        if version == Version::Three {
            self.add_configuration(&mut parts);
        }
        parts
    }

    /// The sheet of the project that a sheet names.
    fn sheet_file(&self, importer: &str, specifier: &str) -> Option<String> {
        let is_plain = !path::is_relative(specifier) && !specifier.starts_with(['/', '@', '#', '~']);
        let beside = || self.resolver.resolve(importer, &format!("./{specifier}"));
        let found = self.resolver.resolve(importer, specifier);
        found.or_else(|| if is_plain && path::extension(specifier) == "css" { beside() } else { None })
    }

    /// Runs the tool. `None` if the request lacks it.
    fn rules(&mut self, sheet: &Sheet, parts: &Parts) -> Result<Option<Output>, Box<Finding>> {
        let tool = sheet.version.tool(&parts.packages);
        if self.tools.id(&tool).is_none() {
            return Ok(None);
        }
        (self.progress)(&sheet.name.0);
        let input = json!({
            "css": sheet.text,
            "path": sheet.name.0,
            "sheets": parts.sheets,
            "words": { "loaded": sheet.loaded, "named": sheet.named },
            "modules": parts.modules,
            "targets": parts.targets,
            "files": parts.files,
            "configuration": parts.configuration,
            "hasNesting": sheet.version == Version::Three && project::has_nesting(self.tree, &self.project.options(None)),
        });
        let output = self.tools.run_unless_known(&tool, input);
        let output = output.and_then(|output| serde_json::from_value::<Output>(output).map_err(|error| Failure(error.to_string())));
        let lines = Text::new(sheet.text);
        match output {
            Ok(Output { error: Some(report), .. }) => Err(Box::new(reported(sheet, parts, &report))),
            Ok(output) => Ok(Some(output)),
            Err(Failure(message)) => {
                let message = format!("Tailwind has failed: {message}");
                Err(Box::new(lines.finding(code::TOOL_FAILED, &sheet.name.0, &crate::text::start(), &message)))
            }
        }
    }

    /// The module of the rules. It is not kept: its facts have no key.
    fn sheet_of(&mut self, name: &Name, text: &str, css: &str) -> Facts {
        let configuration = self.resolver.configuration(path::split_query(&name.0).0);
        let options = module::options::Options { tailwind: None, ..self.project.options(configuration.as_deref()) };
        let source = Source { path: &name.0, kind: name.1, id: &module::hash(css), content: css.as_bytes(), options: &options };
        let mut module = module::compile(&source);
        let mut facts = module.facts.take().unwrap_or_default();
        facts.key = String::new();
        // Lines of the rules are not those of the file.
        module::place_in(&mut facts, text);
        module.facts = Some(facts.clone());
        self.compiled.push(module);
        facts
    }
}

/// What the tool reports, in the sheet, in one that it imports, or in a configuration.
fn reported(sheet: &Sheet, parts: &Parts, report: &Report) -> Finding {
    let other = parts.sheets.values().find(|other| other["path"] == report.path).and_then(|other| other["text"].as_str());
    let other = other.or_else(|| parts.files.get(&report.path).map(String::as_str)).filter(|_| report.path != sheet.name.0);
    let (file, text) = other.map_or((sheet.name.0.as_str(), sheet.text), |text| (report.path.as_str(), text));
    let lines = Text::new(text);
    lines.finding(code::TAILWIND, file, &lines.place_at(report.line, report.column), &report.message)
}

/// A finding that a rule names what is not there.
fn refused(file: &str, text: &str, reference: &tailwind::Reference) -> Finding {
    let lines = Text::new(text);
    absent(&lines, file, reference.offset, &reference.specifier)
}

/// A finding that an import names what is not there.
fn absent(lines: &Text, file: &str, offset: usize, specifier: &str) -> Finding {
    let is_package = !path::is_relative(specifier) && !specifier.starts_with('/');
    if !is_package {
        return lines.finding(code::UNRESOLVED_IMPORT, file, &lines.place(offset), &format!("there is no file for the import {specifier}"));
    }
    let package = package_of(specifier);
    let found = lines.finding(code::MISSING_PACKAGE, file, &lines.place(offset), &format!("the package {package} is not in package.json"));
    Finding { help: format!("Add {package} to the dependencies in package.json."), ..found }
}

/// Whether a module waits for the words of the page.
pub(super) fn waits(facts: &Facts) -> bool {
    facts.is_tailwind && [Kind::Module, Kind::Inline, Kind::Sheet].contains(&facts.kind())
}
