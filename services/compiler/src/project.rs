//! What `package.json` and the configurations of a project say about its modules. `version`: the version of a package that is installed.
//! `postcss`: plugins of style sheets.

mod postcss;
mod version;

pub(crate) use self::postcss::has_nesting;

use std::{collections::BTreeSet, sync::Arc};

use compiler_client::message::{
    packages,
    tools::{PREFRESH, REACT_REFRESH},
};
use oxc_resolver::TsConfig;
use serde_json::{Map, Value};

use crate::{
    module::options::{Jsx, Options},
    tool::tailwind::Version,
    tree::Tree,
};

/// The fields of `package.json` that list packages.
const LISTS: [&str; 4] = ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"];

/// The newest major version of Tailwind that is compiled.
const NEWEST_TAILWIND: u32 = 4;

/// Frameworks that a page cannot be compiled with, by their packages.
const FRAMEWORKS: [(&str, &str); 9] = [
    ("solid-js", "Solid has a JSX compiler of its own, which is not supported"),
    ("@qwik.dev/core", "Qwik has a compiler of its own, which is not supported"),
    ("@builder.io/qwik", "Qwik has a compiler of its own, which is not supported"),
    ("@angular/core", "Angular has a compiler of its own, which is not supported"),
    ("next", "Next.js needs a server; use Vite with React instead"),
    ("nuxt", "Nuxt needs a server; use Vite with Vue instead"),
    ("@sveltejs/kit", "SvelteKit needs a server; use Vite with Svelte instead"),
    ("astro", "Astro needs a server; use Vite instead"),
    ("@remix-run/react", "Remix needs a server; use Vite with React instead"),
];

/// Plugins of Vite whose JSX needs no import.
const JSX_PLUGINS: [&str; 4] = ["@vitejs/plugin-react", "@vitejs/plugin-react-swc", "@vitejs/plugin-react-oxc", "@preact/preset-vite"];

/// Packages of apps that a browser runs.
const BROWSER: [&str; 4] = ["react-dom", "preact", "vue", "svelte"];
/// The script that the page of such an app loads.
const ENTRIES: [&str; 4] = ["src/main.tsx", "src/main.ts", "src/main.jsx", "src/main.js"];

/// What the modules of a project are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Development,
    Production,
    /// A production build in few files.
    Bundle,
}

#[derive(Debug, Default)]
pub(crate) struct Project {
    /// Whether there is a readable `package.json`.
    pub(crate) has_manifest: bool,
    packages: BTreeSet<String>,
    pub(crate) is_production: bool,
    /// See [`Options::is_bundled`].
    pub(crate) is_bundled: bool,
    /// The major version of Tailwind, if the project has it.
    tailwind: Option<u32>,
    /// Browsers get the files as they are.
    pub(crate) is_plain: bool,
    /// See [`Options::is_hot`].
    pub(crate) is_hot: bool,
    /// See [`Options::release`].
    release: Arc<str>,
    /// See [`Options::joins_names`].
    joins_names: bool,
}

impl Project {
    pub(crate) fn read(tree: &Tree, output: Output) -> Self {
        let (is_production, is_bundled) = (output != Output::Development, output == Output::Bundle);
        let is_hot = output == Output::Development;
        let manifest: Option<Value> = tree.configuration("package.json").and_then(|text| serde_json::from_str(text).ok());
        let joins_names = postcss::joins_names(tree, &Self::default().options(None));
        let Some(Value::Object(manifest)) = manifest else {
            return Self { is_production, is_bundled, is_hot, joins_names, ..Self::default() };
        };
        let packages = packages(&manifest);
        let lists = LISTS.iter().filter_map(|list| manifest.get(*list)?.get("tailwindcss")?.as_str());
        let tailwind = lists.map(|range| version::major("tailwindcss", range, NEWEST_TAILWIND, tree)).min();
        let release = Arc::default();
        Self { has_manifest: true, packages, is_production, is_bundled, tailwind, is_plain: false, is_hot, release, joins_names }
    }

    /// Files that browsers get as they are.
    pub(crate) fn plain(tree: &Tree) -> Self {
        Self { is_plain: true, is_hot: false, joins_names: false, ..Self::read(tree, Output::Development) }
    }

    /// The modules are compiled by this release.
    pub(crate) fn of_release(self, release: &str) -> Self {
        Self { release: release.into(), ..self }
    }

    /// Whether the package is listed, or declares its types there.
    pub(crate) fn has(&self, package: &str) -> bool {
        self.packages.contains(package)
    }

    /// The version of Tailwind whose sheets are compiled.
    pub(crate) fn tailwind(&self) -> Option<Version> {
        match self.tailwind? {
            0..3 => None,
            3 => Some(Version::Three),
            _ => Some(Version::Four),
        }
    }

    /// Whether Tailwind is older than those that are compiled.
    pub(crate) fn has_old_tailwind(&self) -> bool {
        self.tailwind.is_some() && self.tailwind().is_none()
    }

    /// The options for the modules of one configuration.
    pub(crate) fn options(&self, configuration: Option<&TsConfig>) -> Options {
        let options = configuration.map(|configuration| &configuration.compiler_options);
        let flag = |get: fn(&oxc_resolver::CompilerOptions) -> Option<bool>| options.and_then(get);
        let text = |get: fn(&oxc_resolver::CompilerOptions) -> &Option<String>| options.and_then(|options| get(options).clone());
        let source = text(|options| &options.jsx_import_source).unwrap_or_else(|| self.jsx_source());
        let factory = text(|options| &options.jsx_factory);
        let is_classic = factory.is_some() || text(|options| &options.jsx).as_deref() == Some("react") && !self.has_jsx_plugin();
        let jsx = if is_classic {
            Jsx::Classic { factory, fragment: text(|options| &options.jsx_fragment_factory) }
        } else {
            Jsx::Automatic { source }
        };
        let target = text(|options| &options.target).map(|target| target.to_ascii_lowercase());
        let is_modern = |target: &str| target == "esnext" || target.strip_prefix("es").and_then(|year| year.parse().ok()) >= Some(2022);
        let refresh = self.refresh(&jsx);
        Options {
            jsx,
            has_preact_for_react: self.has_preact_for_react(),
            joins_names: self.joins_names,
            has_decorators: flag(|options| options.experimental_decorators) == Some(true),
            has_metadata: flag(|options| options.emit_decorator_metadata) == Some(true),
            strict_nulls: flag(|options| options.strict_null_checks.or(options.strict)) == Some(true),
            // As TypeScript, whose target without a setting is an old one. A file that no configuration includes is modern.
            defines_fields: flag(|options| options.use_define_for_class_fields)
                .unwrap_or_else(|| configuration.is_none() || target.as_deref().is_some_and(is_modern)),
            keeps_imports: flag(|options| options.verbatim_module_syntax.or(options.preserve_value_imports)) == Some(true),
            is_production: self.is_production,
            is_bundled: self.is_bundled,
            tailwind: self.tailwind().filter(|_| !self.is_plain),
            is_plain: self.is_plain,
            is_hot: self.is_hot,
            refresh,
            release: Arc::clone(&self.release),
        }
    }

    /// Whether a plugin of Vite compiles JSX, whatever `jsx` of `tsconfig.json` says.
    fn has_jsx_plugin(&self) -> bool {
        JSX_PLUGINS.iter().any(|plugin| self.has(plugin))
    }

    pub(crate) fn has_preact_for_react(&self) -> bool {
        packages::has_preact_for_react(|package| self.has(package))
    }

    /// What exchanges the components of an open page.
    fn refresh(&self, jsx: &Jsx) -> Option<&'static str> {
        let source = match jsx {
            Jsx::Automatic { source } if source == "preact" => "preact",
            _ if self.has("react") => "react",
            _ => "preact",
        };
        let tool = if source == "react" { REACT_REFRESH } else { PREFRESH };
        Some(tool).filter(|_| self.is_hot && self.has(source))
    }

    /// Whether the project is an app of Vite for browsers, which needs a page. A library has none, and a server makes its own.
    pub(crate) fn expects_page(&self, tree: &Tree) -> bool {
        let is_app = vite_configuration(tree).and_then(|path| tree.text(path)).is_some_and(|text| !text.contains("lib:"));
        is_app && ENTRIES.iter().any(|path| tree.has(path)) && BROWSER.iter().any(|package| self.has(package))
    }

    /// Whether a tool defines names and modules for the files of the project that no file shows.
    pub(crate) fn has_generated_names(&self) -> bool {
        self.has("nuxt")
    }

    fn jsx_source(&self) -> String {
        let other = FRAMEWORKS.iter().map(|(package, _)| *package).chain(["preact"]).find(|package| self.has(package));
        other.filter(|_| !self.has("react")).unwrap_or("react").to_owned()
    }

    /// The package of a framework that is not compiled, and why.
    pub(crate) fn refused(&self) -> Option<(&'static str, &'static str)> {
        FRAMEWORKS.iter().copied().find(|(package, _)| self.has(package))
    }
}

/// The path of Vite's configuration.
pub(crate) fn vite_configuration(tree: &Tree) -> Option<&'static str> {
    ["vite.config.ts", "vite.config.js", "vite.config.mts", "vite.config.mjs", "vite.config.cts", "vite.config.cjs"]
        .into_iter()
        .find(|path| tree.has(path))
}

/// The packages that a manifest lists, and its own name.
fn packages(manifest: &Map<String, Value>) -> BTreeSet<String> {
    let lists = LISTS.iter().filter_map(|list| manifest.get(*list)?.as_object());
    let listed = lists.flat_map(|list| list.keys().map(String::as_str));
    listed.chain(manifest.get("name").and_then(Value::as_str)).map(str::to_owned).collect()
}

/// The packages of all manifests below the root, such as those of workspaces.
pub(crate) fn nested_packages(tree: &Tree) -> BTreeSet<String> {
    let is_nested = |path: &&str| path.ends_with("/package.json") && !path.split('/').any(|part| part == "node_modules");
    let manifests = tree.paths().filter(is_nested).filter_map(|path| serde_json::from_str::<Value>(tree.text(path)?).ok());
    manifests.filter_map(|manifest| Some(packages(manifest.as_object()?))).flatten().collect()
}
