//! The code of a style sheet's module, with the addresses that it loads as imports.

use std::collections::{BTreeMap, HashMap};

use compiler_client::message::{
    Facts,
    facts::{Import, Kind},
};
use lightningcss::css_modules::CssModuleExports;

use super::{Source, classes, imports_end, quoted};
use crate::{module::marks, text::Text, tree::path};

/// The start of marks for imported texts.
const MARK: &str = "backlot-import-";

pub(super) struct Parts<'p> {
    source: &'p Source<'p>,
    lines: &'p Text<'p>,
    facts: &'p mut Facts,
    /// Import declarations.
    head: String,
    /// Expressions of texts before the own one.
    before: Vec<String>,
    /// The same texts with marks, for a bundle.
    marked_before: String,
    /// The foreign address for each placeholder.
    addresses: HashMap<String, String>,
    /// The name of an imported address for each placeholder.
    marks: HashMap<String, String>,
    names: BTreeMap<String, String>,
}

impl<'p> Parts<'p> {
    pub(super) fn new(source: &'p Source<'p>, lines: &'p Text<'p>, facts: &'p mut Facts) -> Self {
        Self {
            source,
            lines,
            facts,
            head: String::new(),
            before: Vec::new(),
            marked_before: String::new(),
            addresses: HashMap::new(),
            marks: HashMap::new(),
            names: BTreeMap::new(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.source.kind
    }

    /// `@import` of a file.
    pub(super) fn import(&mut self, written: &str, line: u32, column: u32, conditions: Vec<String>) {
        let specifier = sheet_specifier(self.source.path, written);
        if conditions.is_empty() && self.source.kind == Kind::Module {
            self.head.push_str(&format!("import {};\n", quoted(&specifier)));
            self.note(import(written, specifier), line, column);
            return;
        }
        let specifier = format!("{}?inline", path::split_query(&specifier).0);
        let (opening, closing) = (conditions.concat(), "}".repeat(conditions.len()));
        let mark = if self.is_bundled() { format!("{MARK}{}", self.facts.imports.len()) } else { String::new() };
        self.marked_before.push_str(&format!("{opening}{mark}{closing}\n"));
        if !self.is_in_bundled_sheet() {
            let name = self.name(&specifier);
            self.before.push(format!("{} + {name} + {}", quoted(&opening), quoted(&format!("{closing}\n"))));
        }
        self.note(Import { mark, ..import(written, specifier) }, line, column);
    }

    fn is_bundled(&self) -> bool {
        self.source.options.is_bundled
    }

    /// The text goes to the style sheet of a bundle, and is in no module.
    fn is_in_bundled_sheet(&self) -> bool {
        self.is_bundled() && self.source.kind == Kind::Module
    }

    /// `@import` that stays in the text: of a foreign sheet, or in a sheet.
    pub(super) fn sheet(&mut self, written: &str, placeholder: String, line: u32, column: u32) {
        if path::is_foreign(written) {
            self.addresses.insert(placeholder, written.to_owned());
            return;
        }
        let specifier = sheet_specifier(self.source.path, written);
        self.note(Import { mark: placeholder, ..import(written, specifier) }, line, column);
    }

    pub(super) fn url(&mut self, written: &str, placeholder: String, line: u32, column: u32) {
        if path::is_foreign(written) || written.is_empty() || written.starts_with('#') {
            self.addresses.insert(placeholder, written.to_owned());
            return;
        }
        let is_plain = !path::is_relative(written) && !written.starts_with(['/', '@', '~']);
        let specifier = path::stable(self.source.path, &if is_plain { format!("./{written}") } else { written.to_owned() });
        let specifier = format!("{}?url", path::split_query(&specifier).0);
        let import = Import { is_reference: true, ..import(written, specifier.clone()) };
        if self.source.kind == Kind::Sheet || self.is_in_bundled_sheet() {
            return self.note(Import { mark: placeholder, ..import }, line, column);
        }
        let name = self.name(&specifier);
        let mark = if self.is_bundled() { placeholder.clone() } else { String::new() };
        self.marks.insert(placeholder, name);
        self.note(Import { mark, ..import }, line, column);
    }

    /// The name of an imported text.
    fn name(&mut self, specifier: &str) -> String {
        name_of(&mut self.names, &mut self.head, specifier)
    }

    fn note(&mut self, import: Import, line: u32, column: u32) {
        self.facts.imports.push(Import { place: Some(self.lines.place_at(line, column)), ..import });
    }

    /// `values`: those of `:export`.
    pub(super) fn finish(mut self, text: String, exports: Option<&CssModuleExports>, values: &[(String, String)]) -> String {
        let text = marks::fill(&text, &self.addresses);
        if self.source.kind == Kind::Sheet {
            self.facts.marked = text;
            return String::new();
        }
        let (foreign, own) = text.split_at(imports_end(&text));
        if self.is_bundled() {
            self.facts.marked = format!("{foreign}{}{own}", self.marked_before);
        }
        let start = (!foreign.is_empty()).then(|| self.expression(foreign));
        let all: Vec<_> = start.into_iter().chain(self.before.iter().cloned()).chain([self.expression(own)]).collect();
        let css = all.join(" + ");
        if self.source.kind == Kind::Inline {
            self.facts.exports.push("default".to_owned());
            return format!("{}export default {css};\n", self.head);
        }
        let scoped = exports.map(|exports| {
            let (code, names) = classes(exports, values, |specifier| {
                let specifier = path::stable(self.source.path, specifier);
                let import = Import { written: specifier.clone(), specifier: specifier.clone(), ..Import::default() };
                self.facts.imports.push(import);
                name_of(&mut self.names, &mut self.head, &specifier)
            });
            self.facts.exports.extend(names);
            code
        });
        self.facts.exports.push("default".to_owned());
        let id = quoted(self.source.path);
        if self.is_in_bundled_sheet() {
            return self.head + &scoped.unwrap_or_else(|| "export default undefined;\n".to_owned());
        }
        let end = scoped.unwrap_or_else(|| "export default css;\n".to_owned());
        format!(
            "{}const css = {css};\nconst style = document.createElement(\"style\");\nstyle.dataset.file = {id};\nstyle.textContent = css;\n\
             document.head.append(style);\n{end}",
            self.head
        )
    }

    /// A text with names at its placeholders, as an expression.
    fn expression(&self, text: &str) -> String {
        let parts = marks::split(text, |word| self.marks.contains_key(word));
        let printed = parts.iter().map(|(part, is_mark)| if *is_mark { self.marks[*part].clone() } else { quoted(part) });
        // It begins with a text, so that `+` joins texts.
        std::iter::once("\"\"".to_owned())
            .filter(|_| parts.first().is_none_or(|first| first.1))
            .chain(printed)
            .collect::<Vec<_>>()
            .join(" + ")
    }
}

fn name_of(names: &mut BTreeMap<String, String>, head: &mut String, specifier: &str) -> String {
    let next = format!("part{}", names.len());
    names
        .entry(specifier.to_owned())
        .or_insert_with(|| {
            head.push_str(&format!("import {next} from {};\n", quoted(specifier)));
            next
        })
        .clone()
}

fn import(written: &str, specifier: String) -> Import {
    Import { written: written.to_owned(), specifier, ..Import::default() }
}

/// A name of one segment is a file beside the sheet; a longer one without `./` is a package or an alias.
fn sheet_specifier(file: &str, written: &str) -> String {
    let is_plain = !path::is_relative(written) && !written.contains('/') && path::extension(written) == "css";
    path::stable(file, &if is_plain { format!("./{written}") } else { written.to_owned() })
}
