//! What `package.json` and the configurations of a project say about its modules.

use std::collections::BTreeSet;

use oxc_resolver::TsConfig;
use serde_json::Value;

use crate::{
    module::options::{Jsx, Options},
    tree::Tree,
};

/// The fields of `package.json` that list packages.
const LISTS: [&str; 4] = ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"];

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
    /// Tailwind before version 4, whose sources are not compiled.
    pub(crate) has_old_tailwind: bool,
}

/// Whether a range of versions is below 4.
fn is_old(range: &str) -> bool {
    let number = range.trim_start_matches(|c: char| !c.is_ascii_digit()).split(|c: char| !c.is_ascii_digit()).next();
    number.and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number < 4)
}

impl Project {
    pub(crate) fn read(tree: &Tree, output: Output) -> Self {
        let (is_production, is_bundled) = (output != Output::Development, output == Output::Bundle);
        let manifest: Option<Value> = tree.text("package.json").and_then(|text| serde_json::from_str(text).ok());
        let Some(Value::Object(manifest)) = manifest else {
            return Self { is_production, is_bundled, ..Self::default() };
        };
        let lists = LISTS.iter().filter_map(|list| manifest.get(*list)?.as_object());
        let mut packages: BTreeSet<String> = lists.flat_map(|list| list.keys().cloned()).collect();
        packages.extend(manifest.get("name").and_then(Value::as_str).map(str::to_owned));
        let lists = LISTS.iter().filter_map(|list| manifest.get(*list)?.get("tailwindcss")?.as_str());
        let has_old_tailwind = lists.into_iter().any(is_old);
        Self { has_manifest: true, packages, is_production, is_bundled, has_old_tailwind }
    }

    /// Whether the package is listed, or declares its types there.
    pub(crate) fn has(&self, package: &str) -> bool {
        self.packages.contains(package)
    }

    /// The options for the modules of one configuration.
    pub(crate) fn options(&self, configuration: Option<&TsConfig>) -> Options {
        let options = configuration.map(|configuration| &configuration.compiler_options);
        let flag = |get: fn(&oxc_resolver::CompilerOptions) -> Option<bool>| options.and_then(get);
        let text = |get: fn(&oxc_resolver::CompilerOptions) -> &Option<String>| options.and_then(|options| get(options).clone());
        let source = text(|options| &options.jsx_import_source).unwrap_or_else(|| self.jsx_source());
        let factory = text(|options| &options.jsx_factory);
        let is_classic = text(|options| &options.jsx).as_deref() == Some("react") || factory.is_some();
        let jsx = if is_classic {
            Jsx::Classic { factory, fragment: text(|options| &options.jsx_fragment_factory) }
        } else {
            Jsx::Automatic { source }
        };
        let target = text(|options| &options.target).map(|target| target.to_ascii_lowercase());
        let is_modern = |target: &str| target == "esnext" || target.strip_prefix("es").and_then(|year| year.parse().ok()) >= Some(2022);
        Options {
            jsx,
            has_decorators: flag(|options| options.experimental_decorators) == Some(true),
            has_metadata: flag(|options| options.emit_decorator_metadata) == Some(true),
            strict_nulls: flag(|options| options.strict_null_checks.or(options.strict)) == Some(true),
            // As TypeScript, whose target without a setting is an old one. A file that no configuration includes is modern.
            defines_fields: flag(|options| options.use_define_for_class_fields)
                .unwrap_or_else(|| configuration.is_none() || target.as_deref().is_some_and(is_modern)),
            keeps_imports: flag(|options| options.verbatim_module_syntax.or(options.preserve_value_imports)) == Some(true),
            is_production: self.is_production,
            is_bundled: self.is_bundled,
            has_tailwind: self.has("tailwindcss") && !self.has_old_tailwind,
        }
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
