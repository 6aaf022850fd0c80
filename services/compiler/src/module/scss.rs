//! SCSS and Sass to CSS, of files and of the style sheets in components. What they import is read from the tree and from packages.
//!
//! - [`compile`]: a file. [`in_component`]: the style sheets of a component, which `blocks` finds.
//! - [`Library`]: what they can import, and what they have read. `files`: how Sass looks for it.

mod blocks;
mod files;
mod library;

use std::path::Path;

use compiler_client::message::{Finding, finding::code, packages::package_of};
use grass::{ErrorKind, Options, OutputStyle};

pub(crate) use self::library::Library;
use self::{
    blocks::blocks,
    files::{Block, Files, alias, of_parser, package_import},
};
use crate::{
    panics,
    text::{self, Text},
    tree::path,
};

/// Whether a file is compiled here.
pub(crate) fn is_scss(path: &str) -> bool {
    ["scss", "sass"].contains(&path::extension(path).as_str())
}

/// Whether a file can be imported here.
pub(crate) fn is_sheet(path: &str) -> bool {
    is_scss(path) || path::extension(path) == "css"
}

/// The file as CSS.
///
/// # Errors
/// What is wrong with it, or with a file that it imports.
pub(crate) fn compile(library: &Library, file: &str) -> Result<String, Box<Finding>> {
    css(&Files::new(library, file, None))
}

/// Whether a component has style sheets of SCSS or Sass.
pub(crate) fn is_in_component(file: &str, text: &str) -> bool {
    !blocks(file, text).is_empty()
}

/// The text of a component with CSS in place of SCSS and Sass. All else keeps its line.
///
/// # Errors
/// What is wrong with the first style sheet that cannot be compiled.
pub(crate) fn in_component(library: &Library, file: &str, text: &str) -> Result<String, Box<Finding>> {
    let (mut written, mut end) = (String::new(), 0);
    for found in blocks(file, text) {
        let own = &text[found.content.clone()];
        let lines = u32::try_from(text[..found.content.start].matches('\n').count()).unwrap_or(u32::MAX);
        let block = Block { path: format!("{file}.{}", &text[found.language.clone()]), text: own, component: text, lines };
        let css = css(&Files::new(library, file, Some(block)))?;
        let css = css.trim_start_matches('\u{feff}').replace('\n', " ");
        written.extend([&text[end..found.language.start], "css", &text[found.language.end..found.content.start], css.as_str()]);
        written.push_str(&"\n".repeat(own.matches('\n').count()));
        end = found.content.end;
    }
    Ok(written + &text[end..])
}

/// The file as CSS, or the block of it on one line.
fn css(files: &Files) -> Result<String, Box<Finding>> {
    let (path, style) = match &files.block {
        Some(block) => (block.path.as_str(), OutputStyle::Compressed),
        None => (files.file, OutputStyle::Expanded),
    };
    let options = Options::default().fs(files).quiet(true).load_path("").style(style);
    let at_start = |message: &str| text::finding(code::SCSS_SYNTAX, files.file, &text::start(), message);
    let Some(compiled) = panics::caught(|| grass::from_path(path, &options)) else {
        return Err(Box::new(at_start("the compiler of Sass fails at this file, or at one that it imports")));
    };
    compiled.map_err(|error| {
        Box::new(match error.kind() {
            ErrorKind::ParseError { message, loc, .. } => {
                let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
                let at = (count(loc.begin.line), count(loc.begin.column));
                placed(files, loc.file.name(), &of_parser(loc.file.source()), at, &message)
            }
            ErrorKind::IoError(error) => at_start(&error.to_string()),
            ErrorKind::FromUtf8Error(message) => at_start(&message),
            _ => at_start("the file cannot be compiled"),
        })
    })
}

/// The finding for an error of Sass in a text. `at` is line and column.
fn placed(files: &Files, file: &str, source: &str, at: (u32, u32), message: &str) -> Finding {
    let import = source.lines().nth(at.0 as usize - 1).and_then(|line| imported(line, at.1)).filter(|_| message.starts_with(NOT_FOUND));
    let (code, message, help) = match import {
        Some(import) => absent(files, import),
        None => (code::SCSS_SYNTAX, message.to_owned(), String::new()),
    };
    let found = match files.block.as_ref().filter(|block| Path::new(&block.path) == Path::new(file)) {
        Some(block) => {
            let lines = Text::new(block.component);
            let place = lines.place_at(at.0.saturating_add(block.lines), at.1);
            lines.finding(code, files.file, &place, &message)
        }
        None => {
            let lines = Text::new(source);
            lines.finding(code, file, &lines.place_at(at.0, at.1), &message)
        }
    };
    Finding { help, ..found }
}

/// How Sass says that an import names nothing.
const NOT_FOUND: &str = "Can't find stylesheet";

/// The first quoted text of a line at a column or behind it.
fn imported(line: &str, column: u32) -> Option<&str> {
    let rest = line.char_indices().nth(column as usize - 1).map_or("", |(at, _)| &line[at..]);
    let start = rest.find(['"', '\''])?;
    let quote = if rest[start..].starts_with('"') { '"' } else { '\'' };
    rest[start + 1..].split_once(quote).map(|(import, _)| import)
}

/// What to say of an import that names nothing: code, message and help.
fn absent(files: &Files, import: &str) -> (&'static str, String, String) {
    let own = || (code::SCSS_SYNTAX, format!("there is no style sheet for the import {import}"), String::new());
    let explicit = package_import(import).filter(|_| alias(import).is_none());
    let specifier = explicit.unwrap_or(import);
    let package = package_of(specifier);
    if path::is_relative(specifier) || specifier.starts_with('/') || alias(import).is_some() {
        return own();
    }
    if files.library.is_listed(package) {
        let message = format!("the package {package} has no style sheet for the import {specifier}");
        return (code::UNRESOLVED_IMPORT, message, String::new());
    }
    let first = specifier.split('/').next().unwrap_or_default();
    if explicit.is_none() && (first == specifier || files.has_folder(first)) {
        return own();
    }
    let help = format!("Add {package} to the dependencies in package.json.");
    (code::MISSING_PACKAGE, format!("the package {package} is not in package.json"), help)
}
