//! Plugins that a configuration of PostCSS names. It is read and never run.

use std::collections::BTreeSet;

use compiler_client::message::facts::Kind;

use crate::{
    module::{self, Source, options::Options},
    tree::{Tree, path},
};

/// Where the plugins are listed.
const FILES: [&str; 9] = [
    "postcss.config.js",
    "postcss.config.cjs",
    "postcss.config.mjs",
    "postcss.config.ts",
    "postcss.config.json",
    ".postcssrc",
    ".postcssrc.json",
    ".postcssrc.js",
    ".postcssrc.cjs",
];
/// Those that join `&` with the text after it.
const JOINING: [&str; 3] = ["tailwindcss/nesting", "@tailwindcss/nesting", "postcss-nested"];
/// The plugin for the nesting of CSS itself. The others can wrap it.
const STANDARD: &str = "postcss-nesting";

/// Whether nested rules are written without nesting.
pub(crate) fn has_nesting(tree: &Tree, options: &Options) -> bool {
    let names = names(tree, options);
    names.contains(STANDARD) || JOINING.iter().any(|name| names.contains(*name))
}

/// Whether `&` is joined with the text after it, as in `&__title`.
pub(super) fn joins_names(tree: &Tree, options: &Options) -> bool {
    let names = names(tree, options);
    !names.contains(STANDARD) && JOINING.iter().any(|name| names.contains(*name))
}

/// All texts and keys of the configurations.
fn names(tree: &Tree, options: &Options) -> BTreeSet<String> {
    let named = |path: &str| {
        let text = tree.configuration(path)?;
        let source = Source { path, kind: Kind::Module, id: "", content: text.as_bytes(), options };
        let text = module::readable(&source).ok()?;
        let is_yaml = path::extension(path) == "postcssrc" && !text.trim_start().starts_with('{');
        Some(if is_yaml { yaml_words(text) } else { module::strings(&source, text) })
    };
    FILES.iter().filter_map(|path| named(path)).flatten().collect()
}

/// The words of YAML without comments.
fn yaml_words(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.split('#').next());
    let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "'\":,[]{}".contains(c)));
    words.map(str::to_owned).collect()
}
