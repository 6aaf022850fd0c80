//! Which files of a project refer to which.

use std::collections::{BTreeMap, BTreeSet};

use crate::outline::Outline;

/// What may follow the path of an import.
const ENDINGS: [&str; 14] =
    ["", ".js", ".jsx", ".ts", ".tsx", ".mjs", ".vue", ".svelte", ".css", ".scss", ".json", "/index.js", "/index.ts", "/index.tsx"];

/// The files that are imported by each file, as indices into `files`: paths with the ids of their contents, sorted by path.
pub(super) fn edges(files: &[(&str, &str)], outlines: &BTreeMap<String, Outline>) -> Vec<BTreeSet<usize>> {
    let at: BTreeMap<&str, usize> = files.iter().enumerate().map(|(at, (path, _))| (*path, at)).collect();
    let of = |(path, blob): &(&str, &str)| -> BTreeSet<usize> {
        let imports = outlines.get(*blob).map(|outline| outline.imports.as_slice()).unwrap_or_default();
        imports.iter().filter_map(|specifier| target(path, specifier, &at)).collect()
    };
    files.iter().map(of).collect()
}

/// The file that a specifier means. `None` for a package and for an unknown file.
fn target(from: &str, specifier: &str, files: &BTreeMap<&str, usize>) -> Option<usize> {
    let specifier = specifier.split(['?', '#']).next()?;
    let path = if let Some(path) = specifier.strip_prefix("@/") {
        format!("src/{path}")
    } else if let Some(path) = specifier.strip_prefix('/') {
        path.to_owned()
    } else if specifier.starts_with('.') || from.ends_with(".html") {
        join(from, specifier)?
    } else {
        return None;
    };
    ENDINGS.iter().find_map(|ending| files.get(format!("{path}{ending}").as_str()).copied())
}

/// The path of a relative specifier. `None` if it is outside of the project.
fn join(from: &str, specifier: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in specifier.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specifier_means_a_file() {
        let files = BTreeMap::from([("index.html", 0), ("src/app.tsx", 1), ("src/lib/index.ts", 2), ("style.css", 3)]);
        for (from, specifier, found) in [
            ("src/main.ts", "./app", Some(1)),
            ("src/main.ts", "./lib", Some(2)),
            ("src/main.ts", "../style.css?inline", Some(3)),
            ("src/main.ts", "@/app", Some(1)),
            ("src/main.ts", "/style.css", Some(3)),
            ("index.html", "style.css", Some(3)),
            ("src/main.ts", "react", None),
            ("src/main.ts", "style.css", None),
            ("src/main.ts", "../../../etc/passwd", None),
            ("src/main.ts", "./missing", None),
        ] {
            assert_eq!(target(from, specifier, &files), found, "{specifier} in {from}");
        }
    }
}
