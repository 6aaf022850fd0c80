//! The style sheet of a site: the texts of all sheets, in the order in which their modules run.

use std::collections::{BTreeMap, HashSet};

use rolldown::BundleOutput;
use rolldown_common::OutputChunk;

use super::modules::Modules;
use crate::{module::imports_end, packages::chunks};

/// The joined text. `packages` are sheets of packages by the ids of their modules.
pub(super) fn text(modules: &Modules, packages: &BTreeMap<String, String>, bundled: &BundleOutput) -> String {
    let own = |id: &str| modules.by_id.get(id).and_then(|module| module.sheet.as_deref());
    let linked = modules.linked.iter().map(|(id, _)| id.clone());
    let mut seen = HashSet::new();
    let ids = linked.chain(in_order(modules, bundled)).filter(|id| seen.insert(id.clone()));
    let texts: Vec<_> = ids.filter_map(|id| own(&id).or_else(|| packages.get(&id).map(String::as_str)).map(str::to_owned)).collect();
    joined(texts.iter().map(String::as_str))
}

/// The ids of bundled modules. What a chunk imports runs before it, and what is loaded later comes last.
fn in_order(modules: &Modules, bundled: &BundleOutput) -> Vec<String> {
    let chunks: BTreeMap<&str, &OutputChunk> = chunks(bundled).map(|chunk| (chunk.filename.as_str(), chunk)).collect();
    let entry =
        |id: &str| chunks.values().find(|chunk| chunk.is_entry && chunk.facade_module_id.as_ref().is_some_and(|own| own.as_ref() == id));
    let starts = modules.entries.iter().filter_map(|start| entry(&start.id)).map(|chunk| chunk.filename.as_str());
    let (mut ids, mut seen, mut later) = (Vec::new(), HashSet::new(), Vec::new());
    let mut open: Vec<_> = starts.collect();
    while !open.is_empty() {
        for name in open.drain(..) {
            visit(&chunks, name, &mut seen, &mut ids, &mut later);
        }
        open.append(&mut later);
        open.retain(|name| !seen.contains(name));
    }
    ids
}

/// Adds the modules of a chunk after those of the chunks that it imports.
fn visit<'c>(
    chunks: &BTreeMap<&str, &'c OutputChunk>,
    name: &'c str,
    seen: &mut HashSet<&'c str>,
    ids: &mut Vec<String>,
    later: &mut Vec<&'c str>,
) {
    // A chunk is entered, and left when its imports are done.
    let mut open = vec![(name, false)];
    while let Some((name, is_done)) = open.pop() {
        let Some(chunk) = chunks.get(name) else { continue };
        if is_done {
            ids.extend(chunk.modules.keys.iter().map(|id| id.as_ref().to_owned()));
            later.extend(chunk.dynamic_imports.iter().map(|name| name.as_str()));
        } else if seen.insert(name) {
            open.push((name, true));
            open.extend(chunk.imports.iter().rev().map(|name| (name.as_str(), false)));
        }
    }
}

/// The texts as one. Imports of foreign sheets must be first.
fn joined<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let (mut imports, mut rest) = (String::new(), String::new());
    for text in texts {
        let end = imports_end(text);
        imports.push_str(&text[..end]);
        rest.push_str(&text[end..]);
    }
    imports + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_of_foreign_sheets_come_first() {
        let texts = ["@import \"https://a/;b\";@import url(https://c/;d) print;a{b:c}", "@import 'e\\';f';\n.g{}", "@media x{}", ""];
        assert_eq!(
            joined(texts.into_iter()),
            "@import \"https://a/;b\";@import url(https://c/;d) print;@import 'e\\';f';a{b:c}\n.g{}@media x{}"
        );
    }
}
