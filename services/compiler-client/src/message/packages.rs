//! A request to bundle the packages that a project imports, and its answer.

use bytes::Bytes;

use super::{File, Finding, Package, Resource, Tool};

/// The files of installed packages, and what is imported of them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PackagesRequest {
    /// Every file that can be part of a bundle (see [`is_bundled`]), with its content. Its path begins with `node_modules/`.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<File>,
    /// Such as `react` and `react/jsx-runtime`. Order and repetitions do not matter.
    #[prost(string, repeated, tag = "2")]
    pub specifiers: Vec<String>,
    /// `production`, or empty for `development`.
    #[prost(string, tag = "3")]
    pub mode: String,
    /// Compilers of files in packages. Those that lack are in [`PackagesAnswer::wanted_tools`].
    #[prost(message, repeated, tag = "4")]
    pub tools: Vec<Tool>,
    /// Preact stands in for React in the packages, too ([`has_preact_for_react`]).
    #[prost(bool, tag = "5")]
    pub has_preact_for_react: bool,
}

/// Bundled packages. The same request has the same answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PackagesAnswer {
    /// The part of the import map, sorted by specifier. A specifier that cannot be bundled is absent, and has a finding.
    #[prost(message, repeated, tag = "1")]
    pub packages: Vec<Package>,
    /// Sorted by address. Modules import each other by relative addresses.
    #[prost(message, repeated, tag = "2")]
    pub modules: Vec<PackageModule>,
    /// Files that the modules load, such as fonts.
    #[prost(message, repeated, tag = "3")]
    pub resources: Vec<Resource>,
    /// At most [`super::finding::MAX_FINDINGS`]. A warning names what the bundle lacks: a module of Node.js, native code. The file of a
    /// finding without a file is `package.json`.
    #[prost(message, repeated, tag = "4")]
    pub findings: Vec<Finding>,
    /// Specifiers of tools that the request lacks. If there is any, the answer has nothing else.
    #[prost(string, repeated, tag = "5")]
    pub wanted_tools: Vec<String>,
    /// Names of packages that need compiled code. The caller sets it: the files that say so are not part of the request.
    #[prost(string, repeated, tag = "6")]
    pub native: Vec<String>,
}

/// One ECMAScript module, a tool, or the style sheets of a package.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PackageModule {
    /// Below the base, such as `@m/HASH.js`. The hash covers the code and the modules that it imports. That of a tool ends with `.qjs`, and
    /// answers no browser.
    #[prost(string, tag = "1")]
    pub url: String,
    /// UTF-8, or the bytecode of a tool.
    #[prost(bytes = "bytes", tag = "2")]
    pub code: Bytes,
}

/// Endings of files that no bundle contains.
const UNUSED: [&str; 10] = [".d.ts", ".d.mts", ".d.cts", ".map", ".md", ".markdown", ".flow", ".tsbuildinfo", ".exe", ".lock"];

/// Whether a file of a package can be part of a bundle. Declarations, source maps and texts for people cannot.
pub fn is_bundled(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    !UNUSED.iter().any(|end| path.ends_with(end))
}

/// Whether Preact stands in for React, as `@preact/preset-vite` has it. `lists` says whether the project lists a package. One that lists
/// React has React.
pub fn has_preact_for_react(lists: impl Fn(&str) -> bool) -> bool {
    lists("@preact/preset-vite") && lists("preact") && !lists("react")
}

/// The specifier that stands in for one of React, with the aliases of the preset.
#[must_use]
pub fn preact_for(specifier: &str) -> Option<String> {
    match specifier {
        "react/jsx-runtime" => Some("preact/jsx-runtime".to_owned()),
        "react-dom/test-utils" => Some("preact/test-utils".to_owned()),
        _ => {
            let package = package_of(specifier);
            ["react", "react-dom"].contains(&package).then(|| format!("preact/compat{}", &specifier[package.len()..]))
        }
    }
}

/// The name of the package of a specifier: `@a/b` of `@a/b/c`.
#[must_use]
pub fn package_of(specifier: &str) -> &str {
    let slashes = if specifier.starts_with('@') { 2 } else { 1 };
    specifier.match_indices('/').nth(slashes - 1).map_or(specifier, |(at, _)| &specifier[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_and_maps_are_in_no_bundle() {
        assert!(["react/index.js", "a/package.json", "a/x.css", "a/x.woff2", "a/x.ts"].iter().all(|path| is_bundled(path)));
        assert!(["a/index.d.ts", "a/x.js.map", "a/README.md"].iter().all(|path| !is_bundled(path)));
    }

    #[test]
    fn preact_stands_in_with_its_preset() {
        for (listed, expected) in [
            (vec!["preact", "@preact/preset-vite"], true),
            (vec!["preact", "@preact/preset-vite", "react"], false),
            (vec!["preact"], false),
            (vec!["@preact/preset-vite"], false),
        ] {
            assert_eq!(has_preact_for_react(|package| listed.contains(&package)), expected, "{listed:?}");
        }
        for (specifier, expected) in [
            ("react", Some("preact/compat")),
            ("react-dom", Some("preact/compat")),
            ("react-dom/client", Some("preact/compat/client")),
            ("react/jsx-runtime", Some("preact/jsx-runtime")),
            ("react/jsx-dev-runtime", Some("preact/compat/jsx-dev-runtime")),
            ("react-dom/test-utils", Some("preact/test-utils")),
            ("react-router", None),
            ("@scope/react", None),
            ("./react", None),
        ] {
            assert_eq!(preact_for(specifier).as_deref(), expected, "{specifier}");
        }
    }

    #[test]
    fn a_package_has_one_name_or_two() {
        for (specifier, package) in
            [("react", "react"), ("react/jsx-runtime", "react"), ("@a/b", "@a/b"), ("@a/b/c/d", "@a/b"), ("@a", "@a"), ("", "")]
        {
            assert_eq!(package_of(specifier), package);
        }
    }
}
