//! The code of a style sheet's module, with the addresses that it loads as imports.

use std::collections::BTreeMap;

use compiler_client::message::{
    Facts,
    facts::{Import, Kind},
};
use lightningcss::css_modules::CssModuleExports;

use super::{Source, classes, quoted};
use crate::{text::Text, tree::path};

pub(super) struct Parts<'p> {
    source: &'p Source<'p>,
    lines: &'p Text<'p>,
    facts: &'p mut Facts,
    /// Import declarations.
    head: String,
    /// Expressions of texts before the own one.
    before: Vec<String>,
    /// What stands for each placeholder: an expression, or a text.
    marks: Vec<(String, Mark)>,
    names: BTreeMap<String, String>,
}

enum Mark {
    Name(String),
    Text(String),
}

impl<'p> Parts<'p> {
    pub(super) fn new(source: &'p Source<'p>, lines: &'p Text<'p>, facts: &'p mut Facts) -> Self {
        Self { source, lines, facts, head: String::new(), before: Vec::new(), marks: Vec::new(), names: BTreeMap::new() }
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
        let name = self.name(&specifier);
        let closing = "}".repeat(conditions.len());
        self.before.push(format!("{} + {name} + {}", quoted(&conditions.concat()), quoted(&format!("{closing}\n"))));
        self.note(import(written, specifier), line, column);
    }

    /// `@import` that stays in the text: of a foreign sheet, or in a sheet.
    pub(super) fn sheet(&mut self, written: &str, placeholder: String, line: u32, column: u32) {
        if path::is_foreign(written) {
            return self.marks.push((placeholder, Mark::Text(written.to_owned())));
        }
        let specifier = sheet_specifier(self.source.path, written);
        self.note(Import { mark: placeholder, ..import(written, specifier) }, line, column);
    }

    pub(super) fn url(&mut self, written: &str, placeholder: String, line: u32, column: u32) {
        if path::is_foreign(written) || written.is_empty() || written.starts_with('#') {
            return self.marks.push((placeholder, Mark::Text(written.to_owned())));
        }
        let is_plain = !path::is_relative(written) && !written.starts_with(['/', '@', '~']);
        let specifier = path::stable(self.source.path, &if is_plain { format!("./{written}") } else { written.to_owned() });
        let specifier = format!("{}?url", path::split_query(&specifier).0);
        let import = Import { is_reference: true, ..import(written, specifier.clone()) };
        if self.source.kind == Kind::Sheet {
            return self.note(Import { mark: placeholder, ..import }, line, column);
        }
        let name = self.name(&specifier);
        self.marks.push((placeholder, Mark::Name(name)));
        self.note(import, line, column);
    }

    /// The name of an imported text.
    fn name(&mut self, specifier: &str) -> String {
        name_of(&mut self.names, &mut self.head, specifier)
    }

    fn note(&mut self, import: Import, line: u32, column: u32) {
        self.facts.imports.push(Import { place: Some(self.lines.place_at(line, column)), ..import });
    }

    pub(super) fn finish(mut self, text: String, exports: Option<&CssModuleExports>) -> String {
        let text = self.marks.iter().fold(text, |text, (placeholder, mark)| match mark {
            Mark::Text(address) => text.replace(placeholder, address),
            Mark::Name(_) => text,
        });
        if self.source.kind == Kind::Sheet {
            self.facts.sheet = text;
            return String::new();
        }
        let own = self.expression(&text);
        let all: Vec<_> = self.before.iter().cloned().chain([own]).collect();
        let css = all.join(" + ");
        if self.source.kind == Kind::Inline {
            self.facts.exports.push("default".to_owned());
            return format!("{}export default {css};\n", self.head);
        }
        let scoped = exports.map(|exports| {
            let (code, names) = classes(exports, |specifier| {
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
        let end = scoped.unwrap_or_else(|| "export default css;\n".to_owned());
        format!(
            "{}const css = {css};\nconst style = document.createElement(\"style\");\nstyle.dataset.file = {id};\nstyle.textContent = css;\n\
             document.head.append(style);\n{end}",
            self.head
        )
    }

    /// A text with names at its placeholders, as an expression.
    fn expression(&self, text: &str) -> String {
        let mut pieces = vec![(text.to_owned(), false)];
        for (placeholder, mark) in &self.marks {
            let Mark::Name(name) = mark else { continue };
            pieces = pieces.into_iter().flat_map(|piece| if piece.1 { vec![piece] } else { split(&piece.0, placeholder, name) }).collect();
        }
        let printed: Vec<_> = pieces.iter().map(|(text, is_name)| if *is_name { text.clone() } else { quoted(text) }).collect();
        printed.join(" + ")
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

/// The texts between placeholders, with the name between each two.
fn split(text: &str, placeholder: &str, name: &str) -> Vec<(String, bool)> {
    let mut pieces = Vec::new();
    for part in text.split(placeholder) {
        if !pieces.is_empty() {
            pieces.push((name.to_owned(), true));
        }
        pieces.push((part.to_owned(), false));
    }
    pieces
}

fn import(written: &str, specifier: String) -> Import {
    Import { written: written.to_owned(), specifier, ..Import::default() }
}

/// A name of one segment is a file beside the sheet; a longer one without `./` is a package or an alias.
fn sheet_specifier(file: &str, written: &str) -> String {
    let is_plain = !path::is_relative(written) && !written.contains('/') && path::extension(written) == "css";
    path::stable(file, &if is_plain { format!("./{written}") } else { written.to_owned() })
}
