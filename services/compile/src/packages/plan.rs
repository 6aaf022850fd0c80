//! Which packages of a resolution a page needs: those that its specifiers name, and what these depend on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use compiler_client::message::{
    File,
    packages::{has_preact_for_react, is_bundled, package_of},
    tools::packages_of,
};
use npm::Tree;

use crate::hash;

/// Hexadecimal digits of a file's id.
const ID_DIGITS: usize = 24;

/// More than this is sent without files that a bundle is unlikely to contain.
const MUCH: u64 = 48 << 20;
/// Ends of the names of such files: builds for a `<script>`, tests, texts for people, sources in TypeScript.
const UNLIKELY_ENDS: [&str; 13] =
    [".min.js", ".umd.js", ".iife.js", ".global.js", ".test.js", ".spec.js", ".ts", ".tsx", ".mts", ".html", ".snap", ".txt", ".yml"];
const UNLIKELY_FOLDERS: [&str; 8] = ["umd", "test", "tests", "__tests__", "docs", "demo", "fixtures", "benchmark"];

/// Paths of files, with their bytes.
type Files = BTreeMap<String, Bytes>;

pub(super) struct Plan {
    /// Those whose package is installed, sorted.
    pub(super) specifiers: Vec<String>,
    /// The packages of the others, sorted.
    pub(super) absent: BTreeSet<String>,
    /// Paths of packages.
    pub(super) paths: BTreeSet<String>,
    /// Preact stands in for React.
    pub(super) has_preact_for_react: bool,
}

impl Plan {
    pub(super) fn new(tree: &Tree, specifiers: &[String]) -> Self {
        let is_installed = |package: &&str| tree.dependencies.contains_key(*package);
        let packages = || specifiers.iter().flat_map(|specifier| packages_of(specifier));
        let is_wanted = |specifier: &&String| packages_of(specifier).iter().all(is_installed);
        let wanted: BTreeSet<_> = specifiers.iter().filter(is_wanted).cloned().collect();
        let absent = packages().filter(|package| !is_installed(package)).map(str::to_owned).collect();
        let has_preact_for_react = has_preact_for_react(|package| tree.dependencies.contains_key(package));
        let named = packages().chain(has_preact_for_react.then_some("preact"));
        let mut open: Vec<_> = named.filter_map(|package| tree.dependencies.get(package)).cloned().collect();
        let mut paths = BTreeSet::new();
        while let Some(path) = open.pop() {
            let Some(package) = tree.packages.get(&path) else { continue };
            if package.is_skipped || !paths.insert(path) {
                continue;
            }
            open.extend(package.dependencies.values().chain(&package.link).cloned());
        }
        Self { specifiers: wanted.into_iter().collect(), absent, paths, has_preact_for_react }
    }

    /// What a bundle depends on.
    pub(super) fn key(&self, tree: &Tree, mode: &str, release: &[u8]) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = vec![b"bundle".to_vec(), release.to_vec(), mode.as_bytes().to_vec()];
        parts.extend(self.specifiers.iter().map(|specifier| specifier.clone().into_bytes()));
        parts.extend(self.has_preact_for_react.then(|| b"preact for react".to_vec()));
        for path in &self.paths {
            let package = &tree.packages[path];
            let integrity = package.integrity.as_ref().map(ToString::to_string).unwrap_or_default();
            let link = package.link.clone().unwrap_or_default();
            parts.extend([path.clone(), package.name.clone(), package.version.clone(), integrity, link].map(String::into_bytes));
        }
        hash::of_parts(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// The files as the bundler takes them, without ids. A package that another one stands in for has the files of that one.
    pub(super) fn files(&self, tree: &Tree, mut installed: BTreeMap<String, Files>) -> Vec<File> {
        let mut files = Vec::new();
        let links: Vec<_> = self.paths.iter().filter_map(|path| Some((path, tree.packages[path].link.as_ref()?))).collect();
        for (path, link) in links {
            if let Some(target) = installed.get(link).cloned() {
                installed.insert(path.clone(), target);
            }
        }
        for (path, contents) in installed {
            for (name, bytes) in contents.into_iter().filter(|(name, _)| is_bundled(name)) {
                files.push(File { path: format!("{path}/{name}"), id: String::new(), size: bytes.len() as u64, content: Some(bytes) });
            }
        }
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        if bytes > MUCH {
            files.retain(|file| !is_unlikely(&file.path));
        }
        files
    }
}

/// The files with their ids. An id is part of addresses, which all persons share. So it names the content, and not what the process that
/// fetches says.
pub(super) fn identified(mut files: Vec<File>) -> Vec<File> {
    for file in &mut files {
        let id = hash::hex(hash::of_parts(&[file.content()]));
        file.id = id[..ID_DIGITS].to_owned();
    }
    files
}

fn is_unlikely(path: &str) -> bool {
    // The folder of a package can have any name.
    let inside = path.rsplit("node_modules/").next().unwrap_or_default();
    let inside = inside.strip_prefix(package_of(inside)).unwrap_or(inside);
    let folder = inside.rsplit_once('/').map_or("", |(folder, _)| folder);
    UNLIKELY_ENDS.iter().any(|end| path.ends_with(end)) || folder.split('/').any(|part| UNLIKELY_FOLDERS.contains(&part))
}

#[cfg(test)]
mod tests {
    use npm::Package;

    use super::*;

    fn package(dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|name| ((*name).to_owned(), format!("node_modules/{name}"))).collect();
        Package {
            name: "p".to_owned(),
            version: "1.0.0".to_owned(),
            integrity: None,
            dependencies,
            bundled: Vec::new(),
            is_dev: false,
            is_optional: false,
            is_skipped: false,
            link: None,
        }
    }

    #[test]
    fn what_no_specifier_names_is_not_fetched() {
        let mut tree = Tree::default();
        for (name, needs) in [("a", vec!["b"]), ("b", vec!["a", "c"]), ("c", vec![]), ("vite", vec!["c"])] {
            tree.packages.insert(format!("node_modules/{name}"), package(&needs));
            tree.dependencies.insert(name.to_owned(), format!("node_modules/{name}"));
        }
        let specifiers = ["a/x".to_owned(), "none".to_owned(), "a".to_owned()];
        let plan = Plan::new(&tree, &specifiers);
        assert_eq!(plan.specifiers, ["a", "a/x"]);
        assert_eq!(plan.paths.iter().collect::<Vec<_>>(), ["node_modules/a", "node_modules/b", "node_modules/c"]);
        let key = plan.key(&tree, "development", b"1");
        assert_ne!(plan.key(&tree, "production", b"1"), key);
        assert_ne!(plan.key(&tree, "development", b"2"), key);
        tree.packages.get_mut("node_modules/c").expect("c").version = "2.0.0".to_owned();
        assert_ne!(plan.key(&tree, "development", b"1"), key);
        tree.packages.get_mut("node_modules/vite").expect("vite").version = "2.0.0".to_owned();
        assert_eq!(plan.key(&tree, "development", b"1"), Plan::new(&tree, &specifiers).key(&tree, "development", b"1"));
    }

    #[test]
    fn the_id_of_a_file_is_that_of_its_content() {
        let mut tree = Tree::default();
        tree.packages.insert("node_modules/a".to_owned(), package(&[]));
        tree.dependencies.insert("a".to_owned(), "node_modules/a".to_owned());
        let plan = Plan::new(&tree, &["a".to_owned()]);
        let id = |content: &'static str| {
            let files = Files::from([("x.png".to_owned(), Bytes::from_static(content.as_bytes()))]);
            identified(plan.files(&tree, BTreeMap::from([("node_modules/a".to_owned(), files)])))[0].id.clone()
        };
        assert_eq!(id("a"), id("a"));
        assert_ne!(id("a"), id("b"));
    }

    #[test]
    fn preact_comes_with_every_package_if_it_stands_in_for_react() {
        let mut tree = Tree::default();
        for name in ["a", "preact"] {
            tree.packages.insert(format!("node_modules/{name}"), package(&[]));
            tree.dependencies.insert(name.to_owned(), format!("node_modules/{name}"));
        }
        let specifiers = ["a".to_owned()];
        let own = Plan::new(&tree, &specifiers);
        assert!(own.paths.len() == 1 && !own.has_preact_for_react);
        tree.dependencies.insert("@preact/preset-vite".to_owned(), "node_modules/@preact/preset-vite".to_owned());
        let both = Plan::new(&tree, &specifiers);
        assert!(both.paths.contains("node_modules/preact") && both.has_preact_for_react);
        assert_eq!(both.specifiers, ["a"]);
        tree.dependencies.insert("react".to_owned(), "node_modules/react".to_owned());
        assert!(!Plan::new(&tree, &specifiers).has_preact_for_react);
    }

    #[test]
    fn builds_for_scripts_and_tests_are_unlikely() {
        for path in [
            "node_modules/a/dist/a.min.js",
            "node_modules/@b/c/umd/x.js",
            "node_modules/a/node_modules/d/src/x.ts",
            "node_modules/a/test/x.js",
        ] {
            assert!(is_unlikely(path), "{path}");
        }
        for path in
            ["node_modules/umd/index.js", "node_modules/@docs/test/index.js", "node_modules/a/dist/a.js", "node_modules/a/package.json"]
        {
            assert!(!is_unlikely(path), "{path}");
        }
    }
}
