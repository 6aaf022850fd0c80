//! Style sheets of Tailwind. Their rules depend on the words of all files that the page loads, so that they are written last, and anew for
//! each page.

use std::collections::{BTreeMap, BTreeSet};

use compiler_client::message::{Facts, Finding, facts::Kind, finding::code, packages::package_of, tools::TAILWIND};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Graph, Name};
use crate::{
    module::{self, Source, tailwind},
    text::Text,
    tool::Failure,
    tree::path,
};

/// The most sheets of the project that one imports.
const MAX_SHEETS: usize = 200;
/// The most words of a page.
const MAX_WORDS: usize = 50_000;

/// What the tool gets besides the sheet.
#[derive(Default)]
struct Parts {
    /// Sheets of the project, by importer and specifier.
    sheets: BTreeMap<String, Value>,
    /// Sheets and plugins of packages.
    packages: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Parts {
    /// The specifier of the tool.
    fn tool(&self) -> String {
        let parts: Vec<_> = self.packages.iter().map(String::as_str).collect();
        if parts.is_empty() { TAILWIND.to_owned() } else { format!("{TAILWIND}?{}", parts.join("&")) }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Output {
    css: String,
    error: Option<Report>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Report {
    message: String,
    line: u32,
    column: u32,
    path: String,
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
        let Some(parts) = self.parts(&name.0, &text) else { return false };
        let mut facts = Facts { path: name.0.clone(), is_open: true, findings: parts.findings.clone(), ..Facts::default() };
        facts.set_kind(name.1);
        if facts.findings.is_empty() {
            if self.tools.id(&parts.tool()).is_none() {
                return false;
            }
            match self.rules(name, &text, &parts, words) {
                Ok(css) => facts = self.sheet_of(name, &text, &css),
                Err(finding) => facts.findings.push(finding),
            }
        }
        self.facts.insert(name.clone(), facts);
        true
    }

    /// The sheets and plugins that a sheet names, over all that it imports. `None` if a content is absent.
    fn parts(&self, file: &str, text: &str) -> Option<Parts> {
        let mut parts = Parts::default();
        let (mut open, mut is_whole) = (vec![(file.to_owned(), text.to_owned())], true);
        while let Some((importer, text)) = open.pop() {
            for reference in tailwind::references(&text) {
                let specifier = &reference.specifier;
                if path::is_foreign(specifier) {
                    continue;
                }
                let is_sheet = ["import", "reference"].contains(&reference.rule);
                let found = self.sheet_file(&importer, specifier);
                match found {
                    Some(target) if is_sheet => {
                        let key = format!("{importer} {specifier}");
                        if parts.sheets.contains_key(&key) || parts.sheets.len() == MAX_SHEETS {
                            continue;
                        }
                        match self.tree.text(&target) {
                            Some(content) => {
                                parts.sheets.insert(key, json!({ "path": target, "text": content }));
                                open.push((target, content.to_owned()));
                            }
                            None => is_whole = false,
                        }
                    }
                    None if self.project.has(package_of(specifier)) => {
                        let is_own = package_of(specifier) == "tailwindcss";
                        let end = if is_sheet { "" } else { "#module" };
                        parts.packages.extend((!is_own || !is_sheet).then(|| format!("{specifier}{end}")));
                    }
                    found => parts.findings.push(refused(&importer, &text, &reference, found.is_some())),
                }
            }
        }
        is_whole.then_some(parts)
    }

    /// The sheet of the project that a sheet names.
    fn sheet_file(&self, importer: &str, specifier: &str) -> Option<String> {
        let is_plain = !path::is_relative(specifier) && !specifier.starts_with(['/', '@', '#', '~']);
        let beside = || self.resolver.resolve(importer, &format!("./{specifier}"));
        let found = self.resolver.resolve(importer, specifier);
        found.or_else(|| if is_plain && path::extension(specifier) == "css" { beside() } else { None })
    }

    fn rules(&mut self, name: &Name, text: &str, parts: &Parts, words: &[String]) -> Result<String, Finding> {
        (self.progress)(&name.0);
        let input = json!({ "css": text, "path": name.0, "sheets": parts.sheets, "words": words });
        let lines = Text::new(text);
        let output = self.tools.run(&parts.tool(), &input);
        let output = output.and_then(|output| serde_json::from_value(output).map_err(|error| Failure(error.to_string())));
        match output {
            Ok(Output { css, error: None }) => Ok(css),
            Ok(Output { error: Some(report), .. }) => {
                let other = parts.sheets.values().find(|sheet| sheet["path"] == report.path && report.path != name.0);
                let found = |lines: &Text, file: &str| {
                    lines.finding(code::TAILWIND, file, &lines.place_at(report.line, report.column), &report.message)
                };
                let other = other.and_then(|sheet| sheet["text"].as_str());
                Err(other.map_or_else(|| found(&lines, &name.0), |text| found(&Text::new(text), &report.path)))
            }
            Err(Failure(message)) => {
                let message = format!("Tailwind has failed: {message}");
                Err(lines.finding(code::TOOL_FAILED, &name.0, &crate::text::start(), &message))
            }
        }
    }

    /// The module of the rules. It is not kept: its facts have no key.
    fn sheet_of(&mut self, name: &Name, text: &str, css: &str) -> Facts {
        let configuration = self.resolver.configuration(path::split_query(&name.0).0);
        let options = module::options::Options { has_tailwind: false, ..self.project.options(configuration.as_deref()) };
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

fn refused(file: &str, text: &str, reference: &tailwind::Reference, is_own: bool) -> Finding {
    let lines = Text::new(text);
    let (place, specifier) = (lines.place(reference.offset), &reference.specifier);
    if is_own {
        let message = format!("@{} \"{specifier}\": configurations and plugins of the project do not run here", reference.rule);
        let help = "Write the theme as @theme in the style sheet, or use a plugin of a package.".to_owned();
        return Finding { help, ..lines.finding(code::UNSUPPORTED, file, &place, &message) };
    }
    let is_package = !path::is_relative(specifier) && !specifier.starts_with('/');
    let (code, message) = match is_package {
        true => (code::MISSING_PACKAGE, format!("the package {} is not in package.json", package_of(specifier))),
        false => (code::UNRESOLVED_IMPORT, format!("there is no file for the import {specifier}")),
    };
    lines.finding(code, file, &place, &message)
}

/// Whether a module waits for the words of the page.
pub(super) fn waits(facts: &Facts) -> bool {
    facts.is_tailwind && [Kind::Module, Kind::Inline, Kind::Sheet].contains(&facts.kind())
}
