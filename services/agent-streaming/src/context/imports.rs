//! Which files of a project refer to which.

use std::collections::HashMap;

use crate::outline::Outlines;

/// What may follow the path of an import. An earlier one goes before a later one.
const ENDINGS: [&str; 14] =
    ["", ".js", ".jsx", ".ts", ".tsx", ".mjs", ".vue", ".svelte", ".css", ".scss", ".json", "/index.js", "/index.ts", "/index.tsx"];

/// The files that are imported by each file, as indices into `files`: paths with the ids of their contents.
pub(super) fn edges(files: &[(&str, &str)], outlines: &Outlines) -> Vec<Vec<usize>> {
    let named = named(files.iter().map(|(path, _)| *path));
    let of = |(path, blob): &(&str, &str)| {
        let imports = outlines.get(*blob).map(|outline| outline.imports.as_slice()).unwrap_or_default();
        imports.iter().filter_map(|specifier| target(path, specifier, &named)).collect()
    };
    files.iter().map(of).collect()
}

/// The files by the paths that an import may have for them. So each import is looked up once.
fn named<'a>(paths: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    let mut named: HashMap<&str, (usize, usize)> = HashMap::new();
    for (at, path) in paths.enumerate() {
        for (order, ending) in ENDINGS.iter().enumerate() {
            if let Some(name) = path.strip_suffix(ending) {
                let first = named.entry(name).or_insert((order, at));
                *first = (*first).min((order, at));
            }
        }
    }
    named.into_iter().map(|(name, (_, at))| (name, at)).collect()
}

/// The file that a specifier means. `None` for a package and for an unknown file.
fn target(from: &str, specifier: &str, named: &HashMap<&str, usize>) -> Option<usize> {
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
    named.get(path.as_str()).copied()
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
        let files = ["index.html", "src/app.tsx", "src/lib/index.ts", "style.css", "src/app.css", "src/lib.vue", "src/lib/index.js"];
        let named = named(files.into_iter());
        for (from, specifier, found) in [
            ("src/main.ts", "./app", Some("src/app.tsx")),
            ("src/main.ts", "./app.css", Some("src/app.css")),
            ("src/main.ts", "./lib", Some("src/lib.vue")),
            ("src/main.ts", "./lib/index", Some("src/lib/index.js")),
            ("src/main.ts", "../style.css?inline", Some("style.css")),
            ("src/main.ts", "@/app", Some("src/app.tsx")),
            ("src/main.ts", "/style.css", Some("style.css")),
            ("index.html", "style.css", Some("style.css")),
            ("src/main.ts", "react", None),
            ("src/main.ts", "style.css", None),
            ("src/main.ts", "../../../etc/passwd", None),
            ("src/main.ts", "./missing", None),
        ] {
            assert_eq!(target(from, specifier, &named).map(|at| files[at]), found, "{specifier} in {from}");
        }
    }
}
