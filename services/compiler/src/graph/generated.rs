//! Modules that are no files: the answers of `import.meta.glob` and of addresses with variables, and the inline scripts of the page.

use std::collections::BTreeSet;

use compiler_client::message::facts::{Glob, GlobForm, Import};
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
/// The module of an `import()` with variables. The message begins as that of Vite.
const IMPORT: &str = "export default async (path) => {
  const file = files[path];
  if (!file) throw new Error(`Unknown variable dynamic import: ${path}. A variable stands for a part of a name, without a slash.`);
  return file();
};
";
/// The module of a `new URL` with variables. A query and a fragment stay, and an address of no file stays as it is.
const ADDRESS: &str = "export default (path) => {
  const name = path.split(/[?#]/, 1)[0];
  const address = files[name] ?? files[`./${name}`];
  return address === undefined ? path : address + path.slice(name.length);
};
";

/// The path under which the text of an inline script is compiled.
pub(crate) fn inline_name(page: &str, item: &Item) -> String {
    format!("{page}.{}.js", item.element)
}

/// The code for a glob, and its imports. In the script of a worker these have marks.
pub(crate) fn glob(graph: &Graph, glob: &Glob) -> (String, Vec<Import>) {
    let is_of_worker = !glob.mark.is_empty();
    let is_hot = graph.project.is_hot && !is_of_worker;
    let load = if is_hot { "load" } else { "import" };
    let (mut head, mut members, mut imports) = (String::new(), Vec::new(), Vec::new());
    for (at, file) in files(graph, glob).into_iter().enumerate() {
        let specifier = format!("/{file}{}", glob.query);
        let mark = if is_of_worker { format!("{}-{at}", glob.specifier.trim_start_matches(GLOB)) } else { String::new() };
        let (key, quoted) = (Value::from(key(glob, file)), Value::from(if is_of_worker { mark.as_str() } else { specifier.as_str() }));
        if glob.is_eager {
            head.push_str(&match glob.import.as_str() {
                "" | "*" => format!("import * as file{at} from {quoted};\n"),
                name => format!("import {{ {} as file{at} }} from {quoted};\n", Value::from(name)),
            });
            members.push(format!("{key}: file{at}"));
        } else {
            let pick = match glob.import.as_str() {
                "" | "*" => String::new(),
                name => format!(".then((module) => module[{}])", Value::from(name)),
            };
            members.push(format!("{key}: () => {load}({quoted}){pick}"));
        }
        imports.push(Import { written: specifier.clone(), specifier, is_dynamic: !glob.is_eager, mark, ..Import::default() });
    }
    let members = members.join(", ");
    let body = match glob.form() {
        GlobForm::Files => format!("export default {{ {members} }};\n"),
        GlobForm::Import => format!("const files = {{ __proto__: null, {members} }};\n{IMPORT}"),
        GlobForm::Address => format!("const files = {{ __proto__: null, {members} }};\n{ADDRESS}"),
    };
    let end = if is_hot && !glob.is_eager { module::hot_import(load) } else { String::new() };
    (format!("{head}{body}{end}"), imports)
}

/// The files of a glob, sorted.
fn files<'g>(graph: &'g Graph<'_>, glob: &'g Glob) -> BTreeSet<&'g str> {
    let (not, yes): (Vec<_>, Vec<_>) = glob.patterns.iter().map(String::as_str).partition(|pattern| pattern.starts_with('!'));
    let starts: BTreeSet<_> = yes.iter().map(|pattern| literal_start(pattern)).collect();
    let (yes, not) = (Patterns::new(yes), Patterns::new(not.into_iter().map(|pattern| &pattern[1..])));
    let is_hidden = |path: &&str| path.split('/').any(|part| part.starts_with('.') || part == "node_modules");
    let matches = |path: &&str| {
        let absolute = format!("/{path}");
        yes.is_match(&absolute) && !not.is_match(&absolute)
    };
    let found = starts.into_iter().flat_map(|start| graph.tree.below(start)).filter(|path| !is_hidden(path)).filter(matches);
    found.take(MAX_FILES).collect()
}

/// The path before the first character of a pattern that stands for others.
fn literal_start(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    pattern[..end].trim_start_matches('/')
}

/// Relative to the file that asks, unless its patterns are absolute. The text of an `import()` has the query.
fn key(glob: &Glob, file: &str) -> String {
    let key = glob.folder.as_ref().map_or_else(|| format!("/{file}"), |folder| path::relative(folder, file));
    if glob.form() == GlobForm::Import { key + &glob.query } else { key }
}
