//! Which projects are compiled before a browser runs them. Only names decide.

/// The page that is compiled.
pub const PAGE: &str = "index.html";
/// Names of Vite's configuration, in the root.
pub const CONFIGURATIONS: [&str; 6] =
    ["vite.config.ts", "vite.config.js", "vite.config.mts", "vite.config.mjs", "vite.config.cts", "vite.config.cjs"];
/// With this file and a folder [`SOURCES`] a project has Vite's layout.
pub const MANIFEST: &str = "package.json";
/// The folder of the sources.
pub const SOURCES: &str = "src";
/// Ends of the names of files that no browser runs as they are.
const COMPILED: [&str; 12] = [".ts", ".tsx", ".mts", ".cts", ".jsx", ".vue", ".svelte", ".scss", ".sass", ".less", ".styl", ".module.css"];
/// Declarations have no code.
const DECLARATIONS: [&str; 3] = [".d.ts", ".d.mts", ".d.cts"];
/// A build leaves its results here, and packages are installed here.
const IGNORED: [&str; 2] = ["node_modules", "dist"];

/// Whether no browser runs a file with this name as it is.
#[must_use]
pub fn is_source(name: &str) -> bool {
    COMPILED.iter().any(|end| name.ends_with(end)) && !DECLARATIONS.iter().any(|end| name.ends_with(end))
}

/// Whether the files of a folder with this name do not count as sources.
#[must_use]
pub fn is_ignored(folder: &str) -> bool {
    IGNORED.contains(&folder)
}

/// Whether a tree with these files has Vite's layout, or a file that must be compiled, and a page or a [`MANIFEST`]. Without a page the compiler
/// says what is missing.
pub fn is_compiled<'a>(paths: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut has_page, mut has_manifest, mut has_sources, mut needs_compiler) = (false, false, false, false);
    for path in paths {
        has_page |= path == PAGE;
        has_manifest |= path == MANIFEST;
        needs_compiler |= CONFIGURATIONS.contains(&path);
        let (folders, name) = path.rsplit_once('/').map_or(("", path), |(folders, name)| (folders, name));
        has_sources |= folders.split('/').next() == Some(SOURCES);
        needs_compiler |= is_source(name) && !folders.split('/').any(is_ignored);
    }
    (has_page || has_manifest) && (needs_compiler || has_manifest && has_sources)
}

/// Ends of the names of files that are checked in a tree that is not compiled.
const CHECKED: [&str; 7] = [".html", ".htm", ".js", ".mjs", ".cjs", ".css", ".json"];

/// Whether a tree has a file that can be checked.
pub fn is_checked<'a>(paths: impl IntoIterator<Item = &'a str>) -> bool {
    paths.into_iter().any(|path| is_source(path) || CHECKED.iter().any(|end| path.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_without_sources_is_not_checked() {
        assert!(is_checked(["notes.txt", "a/page.html"]) && is_checked(["a.json"]) && is_checked(["main.tsx"]));
        assert!(!is_checked(["notes.txt", "README.md", "types.d.ts", "a.png"]) && !is_checked([]));
    }

    #[test]
    fn names_decide_what_is_compiled() {
        for paths in [
            &["index.html", "vite.config.js"][..],
            &["index.html", "package.json", "src/main.js"],
            &["index.html", "src/main.tsx"],
            &["index.html", "a/b/c.module.css"],
            &["index.html", "main.vue", "style.css"],
            &["src/main.tsx", "vite.config.ts", "package.json"],
            &["package.json", "app/page.tsx"],
        ] {
            assert!(is_compiled(paths.iter().copied()), "{paths:?}");
        }
        for paths in [
            &["index.html", "style.css", "app.js", "data.json"][..],
            &["index.html", "src/main.js"],
            &["index.html", "package.json", "scripts/main.js"],
            &["index.html", "package.json", "src"],
            &["index.html", "types.d.ts", "dist/a.ts", "node_modules/x/a.tsx"],
            &["src/main.tsx", "vite.config.ts"],
            &["package.json", "server.js"],
            &[],
        ] {
            assert!(!is_compiled(paths.iter().copied()), "{paths:?}");
        }
    }
}
