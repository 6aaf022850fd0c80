//! Style sheets: as a module that adds a style element, as a text, and as a sheet for a `<link>`. Addresses in it become imports.

mod balance;
mod exported;
mod imports;
mod nested;
mod parts;

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use compiler_client::message::{Facts, Finding, facts::Kind, finding::code};
use lightningcss::{
    css_modules::{Config, CssModuleExports, CssModuleReference},
    dependencies::{Dependency, DependencyOptions},
    error::{Error, ParserError},
    printer::PrinterOptions,
    rules::{CssRule, import::ImportRule},
    stylesheet::{MinifyOptions, ParserOptions, StyleSheet},
    traits::ToCss,
};

pub(crate) use self::imports::imports_end;
use self::parts::Parts;
use super::{Source, data::quoted, identifier::is_identifier, tailwind};
use crate::{text::Text, tree::path};

/// At rules of Tailwind, which are no CSS.
const TAILWIND: [&str; 12] =
    ["tailwind", "apply", "theme", "utility", "variant", "custom-variant", "source", "plugin", "config", "reference", "screen", "layer"];
const MAX_FINDINGS: usize = 20;
const NESTING_HELP: &str = "Write the whole name, use SCSS, or list postcss-nested in postcss.config.js.";

/// Returns the code of the module. A sheet is in its facts, and has no code.
pub(super) fn compile(source: &Source, text: &str, facts: &mut Facts) -> String {
    let lines = Text::new(text);
    if let Some((offset, message)) = balance::first_fault(text) {
        facts.findings.push(lines.finding(code::INVALID_CSS, source.path, &lines.place(offset), &message));
        return String::new();
    }
    if source.options.tailwind.is_some_and(|version| tailwind::is_source(text, version)) {
        (facts.is_tailwind, facts.is_open) = (true, true);
        text.clone_into(&mut facts.marked);
        return String::new();
    }
    if source.options.joins_names
        && nested::first_joined(text, false).is_some()
        && let Some(flattened) = nested::flattened(text)
    {
        let code = rules(source, &flattened, facts);
        super::place_in(facts, text);
        return code;
    }
    if let Some(offset) = nested::first_joined(text, true) {
        let message = "CSS does not join & with the text after it, so that this selector matches nothing";
        let found = lines.finding(code::UNSUPPORTED, source.path, &lines.place(offset), message);
        facts.findings.push(Finding { is_warning: true, help: NESTING_HELP.to_owned(), ..found });
    }
    rules(source, text, facts)
}

/// The code of a sheet whose nested rules are those of CSS.
fn rules(source: &Source, text: &str, facts: &mut Facts) -> String {
    let lines = Text::new(text);
    let has_own_names = is_scoped(source.path);
    let (taken, values) = if has_own_names { exported::take(text) } else { (String::new(), Vec::new()) };
    let text = if has_own_names { taken.as_str() } else { text };
    let warnings = Arc::new(RwLock::new(Vec::new()));
    let options = ParserOptions {
        filename: source.path.to_owned(),
        css_modules: has_own_names.then(Config::default),
        error_recovery: true,
        warnings: Some(Arc::clone(&warnings)),
        ..ParserOptions::default()
    };
    let mut sheet = match StyleSheet::parse(text, options) {
        Ok(sheet) => sheet,
        Err(error) => {
            facts.findings.push(found(source.path, &lines, &error, false));
            return String::new();
        }
    };
    let warnings = warnings.read().map(|found| found.clone()).unwrap_or_default();
    let warnings = warnings.iter().filter(|warning| !is_of_tailwind(&warning.kind));
    facts.findings.extend(warnings.take(MAX_FINDINGS).map(|warning| found(source.path, &lines, warning, true)));
    let mut parts = Parts::new(source, &lines, facts);
    take_imports(&mut sheet, &mut parts);
    let is_bundled = source.options.is_bundled;
    if let Some(error) = is_bundled.then(|| sheet.minify(MinifyOptions::default()).err()).flatten() {
        facts.findings.push(lines.finding(code::INVALID_CSS, source.path, &crate::text::start(), &error.kind.to_string()));
        return String::new();
    }
    let dependencies = Some(DependencyOptions { remove_imports: false });
    let printed = sheet.to_css(PrinterOptions { analyze_dependencies: dependencies, minify: is_bundled, ..PrinterOptions::default() });
    match printed {
        Ok(printed) => {
            for dependency in printed.dependencies.unwrap_or_default() {
                note(dependency, &mut parts);
            }
            parts.finish(printed.code, printed.exports.as_ref(), &values)
        }
        Err(error) => {
            facts.findings.push(lines.finding(code::INVALID_CSS, source.path, &crate::text::start(), &error.kind.to_string()));
            String::new()
        }
    }
}

/// Whether the names of a style sheet are its own.
pub(super) fn is_scoped(path: &str) -> bool {
    [".module.css", ".module.scss", ".module.sass"].iter().any(|end| path.ends_with(end))
}

fn is_of_tailwind(error: &ParserError) -> bool {
    matches!(error, ParserError::AtRuleInvalid(name) if TAILWIND.contains(&name.as_ref()))
}

fn found(path: &str, lines: &Text, error: &Error<ParserError>, is_warning: bool) -> Finding {
    let place = error.loc.as_ref().map_or_else(crate::text::start, |at| lines.place_at(at.line + 1, at.column));
    Finding { is_warning, ..lines.finding(code::INVALID_CSS, path, &place, &error.kind.to_string()) }
}

/// Takes out the imports of files, which become imports of modules. A sheet keeps them.
fn take_imports(sheet: &mut StyleSheet, parts: &mut Parts) {
    if parts.kind() == Kind::Sheet {
        return;
    }
    for rule in &mut sheet.rules.0 {
        let CssRule::Import(import) = rule else { continue };
        if path::is_foreign(&import.url) {
            continue;
        }
        parts.import(&import.url, import.loc.line + 1, import.loc.column, conditions(import));
        *rule = CssRule::Ignored;
    }
}

/// The blocks around an imported sheet: `@media print {`.
fn conditions(import: &ImportRule) -> Vec<String> {
    let mut conditions = Vec::new();
    let print = PrinterOptions::default;
    if !import.media.media_queries.is_empty() {
        conditions.extend(import.media.to_css_string(print()).ok().map(|media| format!("@media {media}{{")));
    }
    if let Some(supports) = &import.supports {
        conditions.extend(supports.to_css_string(print()).ok().map(|supports| format!("@supports {supports}{{")));
    }
    match &import.layer {
        Some(Some(layer)) => conditions.extend(layer.to_css_string(print()).ok().map(|layer| format!("@layer {layer}{{"))),
        Some(None) => conditions.push("@layer{".to_owned()),
        None => {}
    }
    conditions
}

fn note(dependency: Dependency, parts: &mut Parts) {
    match dependency {
        Dependency::Url(url) => parts.url(&url.url, url.placeholder, url.loc.start.line, url.loc.start.column),
        Dependency::Import(import) => parts.sheet(&import.url, import.placeholder, import.loc.start.line, import.loc.start.column),
    }
}

/// The exports of a CSS module: each class with the scoped names that it stands for, and the values of `:export`. `imports` names other
/// modules.
fn classes(exports: &CssModuleExports, values: &[(String, String)], mut import: impl FnMut(&str) -> String) -> (String, Vec<String>) {
    let mut names: Vec<_> = exports.iter().collect();
    names.sort_by(|a, b| a.0.cmp(b.0));
    // The last value of a name counts, and a class before it.
    let values: BTreeMap<_, _> =
        values.iter().map(|(name, value)| (name, value)).filter(|(name, _)| !exports.contains_key(*name)).collect();
    let (mut members, mut code) = (Vec::new(), String::new());
    for (at, (name, export)) in names.iter().enumerate() {
        let composed = export.composes.iter().map(|reference| match reference {
            CssModuleReference::Local { name } | CssModuleReference::Global { name } => quoted(name),
            CssModuleReference::Dependency { name, specifier } => format!("{}[{}]", import(specifier), quoted(name)),
        });
        let all: Vec<_> = std::iter::once(quoted(&export.name)).chain(composed).collect();
        code.push_str(&format!("const class{at} = [{}].join(\" \");\n", all.join(", ")));
        if is_identifier(name) && *name != "default" {
            code.push_str(&format!("export {{ class{at} as {name} }};\n"));
        }
        members.push(format!("[{}]: class{at}", quoted(name)));
    }
    for (at, (name, value)) in values.iter().enumerate() {
        code.push_str(&format!("const value{at} = {};\n", quoted(value)));
        if is_identifier(name) && *name != "default" {
            code.push_str(&format!("export {{ value{at} as {name} }};\n"));
        }
        members.push(format!("[{}]: value{at}", quoted(name)));
    }
    code.push_str(&format!("export default {{ {} }};\n", members.join(", ")));
    (code, names.into_iter().map(|(name, _)| name).chain(values.into_keys()).cloned().collect())
}
