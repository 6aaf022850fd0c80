//! Modules that are no files: the answers of `import.meta.glob`, and the inline scripts of the page.

use std::collections::BTreeSet;

use compiler_client::message::facts::{Glob, Import};
use serde_json::Value;

use super::Graph;
use crate::{
    module,
    page::Item,
    tree::{path, patterns::Patterns},
};

/// The start of the specifiers of globs.
pub(super) const GLOB: &str = module::GLOB_PREFIX;
/// The most files of one glob.
const MAX_FILES: usize = 5_000;

/// The path under which the text of an inline script is compiled.
pub(crate) fn inline_name(page: &str, item: &Item) -> String {
    format!("{page}.{}.js", item.element)
}

/// The code for a glob, and its imports.
pub(crate) fn glob(graph: &Graph, glob: &Glob) -> (String, Vec<Import>) {
    let (not, yes): (Vec<_>, Vec<_>) = glob.patterns.iter().map(String::as_str).partition(|pattern| pattern.starts_with('!'));
    let starts: BTreeSet<_> = yes.iter().map(|pattern| literal_start(pattern)).collect();
    let (yes, not) = (Patterns::new(yes), Patterns::new(not.into_iter().map(|pattern| &pattern[1..])));
    let is_hidden = |path: &&str| path.split('/').any(|part| part.starts_with('.') || part == "node_modules");
    let matches = |path: &&str| {
        let absolute = format!("/{path}");
        yes.is_match(&absolute) && !not.is_match(&absolute)
    };
    let load = if graph.project.is_hot { "load" } else { "import" };
    let (mut head, mut members, mut imports) = (String::new(), Vec::new(), Vec::new());
    let paths = starts.into_iter().flat_map(|start| graph.tree.below(start)).filter(|path| !is_hidden(path)).filter(matches);
    let paths: BTreeSet<_> = paths.take(MAX_FILES).collect();
    for (at, file) in paths.into_iter().enumerate() {
        let specifier = format!("/{file}{}", glob.query);
        let (key, quoted) = (key(glob, file), Value::from(specifier.as_str()));
        if glob.is_eager {
            head.push_str(&match glob.import.as_str() {
                "" | "*" => format!("import * as file{at} from {quoted};\n"),
                name => format!("import {{ {} as file{at} }} from {quoted};\n", Value::from(name)),
            });
            members.push(format!("{}: file{at}", Value::from(key)));
        } else {
            let pick = match glob.import.as_str() {
                "" | "*" => String::new(),
                name => format!(".then((module) => module[{}])", Value::from(name)),
            };
            members.push(format!("{}: () => {load}({quoted}){pick}", Value::from(key)));
        }
        imports.push(Import { written: specifier.clone(), specifier, is_dynamic: !glob.is_eager, ..Import::default() });
    }
    let end = if graph.project.is_hot && !glob.is_eager { module::hot_import(load) } else { String::new() };
    (format!("{head}export default {{ {} }};\n{end}", members.join(", ")), imports)
}

/// The path before the first character of a pattern that stands for others.
fn literal_start(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    pattern[..end].trim_start_matches('/')
}

/// Relative to the file that asks, unless its patterns are absolute.
fn key(glob: &Glob, file: &str) -> String {
    glob.folder.as_ref().map_or_else(|| format!("/{file}"), |folder| path::relative(folder, file))
}
