//! The module of a specifier. Browsers read the names of exports before a module runs, so a CommonJS module gets a list of its names.

use std::collections::BTreeSet;

use compiler_client::message::{facts::Kind, finding::code, packages::package_of};
use serde_json::Value;

use super::{
    files::{By, Files, Resolution},
    notes::Notes,
};
use crate::{
    module::{self, Source, Surface},
    project::Project,
    tool,
    tree::path,
};

/// How far modules that re-export others are followed.
const MAX_STEPS: usize = 200;

/// A specifier that is bundled.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) specifier: String,
    pub(super) code: String,
}

/// The entry of a specifier; one that names nothing has a finding.
pub(super) fn of(files: &Files, specifier: &str, notes: &Notes) -> Option<Entry> {
    let (name, query) = path::split_query(specifier);
    if let Some(code) = tool::adapter(specifier) {
        return Some(Entry { specifier: specifier.to_owned(), code });
    }
    let package = package_of(name);
    let refuse = |code, message: &str| {
        notes.add(code, "", message);
        None
    };
    let file = match files.find("", name, By::Import) {
        Resolution::File(file, _) => file,
        Resolution::Builtin(_) => return refuse(code::UNSUPPORTED, &format!("{specifier} is a module of Node.js; a browser has none")),
        Resolution::Empty => return Some(Entry { specifier: specifier.to_owned(), code: "export default {};".to_owned() }),
        Resolution::Missing if files.has_package(package) => {
            return refuse(code::UNRESOLVED_IMPORT, &format!("the package {package} has no file for the import {specifier}"));
        }
        Resolution::Missing => {
            let message = format!("the package {package} is not installed; add it to the dependencies in package.json");
            return refuse(code::MISSING_PACKAGE, &message);
        }
    };
    let target = format!("/{file}{query}");
    let is_plain = query.is_empty() && module::is_script(&file);
    let code = match is_plain {
        true => script(files, &file, &target),
        false if query.is_empty() && module::is_component(&file) => exports(&target),
        false => other(&file, query, &target),
    };
    Some(Entry { specifier: specifier.to_owned(), code })
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A component. It can have named exports, too.
fn exports(target: &str) -> String {
    let target = quoted(target);
    format!("export * from {target};export {{ default }} from {target};")
}

/// JSON, a style sheet, or an address: modules with a default export.
fn other(file: &str, query: &str, target: &str) -> String {
    let target = quoted(target);
    let is_json = query.is_empty() && path::extension(file) == "json";
    let star = if is_json { format!("export * from {target};") } else { String::new() };
    format!("{star}export {{ default }} from {target};")
}

fn script(files: &Files, file: &str, target: &str) -> String {
    let own = surface(files, file);
    let target = quoted(target);
    if !own.is_module {
        let names = names(files, file, By::Require);
        return format!("import * as all from {target};\nexport default all.default;\n{}", picked("all", &names));
    }
    let mut code = format!("export * from {target};\n");
    if own.names.contains("default") {
        code.push_str(&format!("export {{ default }} from {target};\n"));
    }
    // A star over CommonJS has no names for the browser.
    let mut known = own.names;
    for (at, other) in commonjs_below(files, file).into_iter().enumerate() {
        let fresh: BTreeSet<_> = names(files, &other, By::Require).into_iter().filter(|name| known.insert(name.clone())).collect();
        code.push_str(&format!("import * as star{at} from {};\n{}", quoted(&format!("/{other}")), picked(&format!("star{at}"), &fresh)));
    }
    code
}

/// Exports for members of an object.
fn picked(object: &str, names: &BTreeSet<String>) -> String {
    let members: String = names
        .iter()
        .enumerate()
        .map(|(at, name)| format!("const {object}_{at} = {object}.{name};\nexport {{ {object}_{at} as {name} }};\n"))
        .collect();
    members
}

/// The names of a module and of those that it re-exports.
fn names(files: &Files, file: &str, by: By) -> BTreeSet<String> {
    let (mut names, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![file.to_owned()]);
    while let Some(file) = open.pop() {
        if seen.len() == MAX_STEPS || !seen.insert(file.clone()) {
            continue;
        }
        let surface = surface(files, &file);
        names.extend(surface.names);
        open.extend(surface.stars.iter().filter_map(|star| script_at(files, &file, star, by)));
    }
    names.remove("default");
    names
}

/// The CommonJS modules that an ECMAScript module re-exports with stars.
fn commonjs_below(files: &Files, file: &str) -> BTreeSet<String> {
    let (mut found, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![file.to_owned()]);
    while let Some(file) = open.pop() {
        if seen.len() == MAX_STEPS || !seen.insert(file.clone()) {
            continue;
        }
        let surface = surface(files, &file);
        if surface.is_module {
            open.extend(surface.stars.iter().filter_map(|star| script_at(files, &file, star, By::Import)));
        } else {
            found.insert(file);
        }
    }
    found
}

/// What a file exports; nothing if no parser may read it.
fn surface(files: &Files, file: &str) -> Surface {
    let options = Project::default().options(None);
    let text = files.content(file).and_then(|content| {
        let source = Source { path: file, kind: Kind::Module, id: &content.id, content: &content.bytes, options: &options };
        module::readable(&source).ok().map(module::surface)
    });
    text.unwrap_or_default()
}

fn script_at(files: &Files, importer: &str, specifier: &str, by: By) -> Option<String> {
    match files.find(importer, specifier, by) {
        Resolution::File(file, _) if module::is_script(&file) => Some(file),
        _ => None,
    }
}
