//! Files whose words a style sheet or a configuration names: `@source`, and `content` of a configuration. The words of a script count only if
//! the page loads it; those of other files count if they are named.

use std::collections::BTreeSet;

use compiler_client::message::packages::package_of;
use serde::Deserialize;

use super::{MAX_WORDS, Output};
use crate::{
    graph::{Graph, PAGE},
    module::{self, scss::is_scss, tailwind},
    tool::tailwind::Part,
    tree::{path, patterns::Patterns},
};

/// The most files besides the modules of a page.
const MAX_FILES: usize = 1_000;
/// The most patterns of one sheet, and the most bytes of one.
const MAX_PATTERNS: usize = 200;
const MAX_PATTERN: usize = 1_000;
/// Files without words.
const BINARY: [&str; 18] =
    ["avif", "eot", "gif", "gz", "ico", "jpeg", "jpg", "mov", "mp3", "mp4", "otf", "pdf", "png", "ttf", "wasm", "webm", "webp", "woff"];
/// The files of a package, if a pattern names its folder.
const ALL_OF_PACKAGE: &str = "/**/*.{js,mjs,cjs,jsx,ts,tsx,html,vue,svelte}";

/// Files of the project or of a package.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pattern {
    /// The file to which the pattern is relative.
    base: String,
    pattern: String,
    negated: bool,
}

impl Pattern {
    /// From the root of the project, without `/` at its start.
    fn absolute(&self) -> String {
        let folder = if self.pattern.starts_with('/') { "" } else { path::folder(&self.base) };
        path::join(folder, &self.pattern).trim_start_matches('/').to_owned()
    }
}

/// Why a sheet with these patterns is refused.
pub(super) fn excess(output: &Output) -> Option<String> {
    let count = output.sources.len();
    if count > MAX_PATTERNS {
        return Some(format!("`content` and `@source` name {count} patterns, more than {MAX_PATTERNS}"));
    }
    let longest = output.sources.iter().map(|source| source.pattern.len()).max().filter(|length| *length > MAX_PATTERN)?;
    Some(format!("a pattern of `content` or `@source` has {longest} bytes, more than {MAX_PATTERN}"))
}

/// What patterns name.
#[derive(Default)]
pub(super) struct Named {
    pub(super) words: BTreeSet<String>,
    /// Words of packages.
    pub(super) packages: BTreeSet<Part>,
    /// A content is absent.
    pub(super) is_partial: bool,
}

impl Graph<'_> {
    /// The words of the files that a sheet or its configuration names.
    pub(super) fn named(&self, output: &Output) -> Named {
        let mut named = Named::default();
        let all: Vec<_> = output.sources.iter().map(|source| (source.absolute(), source.negated)).collect();
        let (not, yes): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, negated)| *negated);
        let (packages, own): (Vec<_>, Vec<_>) = yes.into_iter().partition(|(pattern, _)| pattern.contains("node_modules/"));
        named.packages = packages.iter().filter_map(|(pattern, _)| self.of_package(pattern)).collect();
        let whole = |(pattern, _): &(String, bool)| [pattern.clone(), format!("{pattern}/**/*")];
        let (own, not): (Vec<_>, Vec<_>) = (own.iter().flat_map(whole).collect(), not.iter().flat_map(whole).collect());
        if own.is_empty() {
            return named;
        }
        let (own, not) = (Patterns::new(own.iter().map(String::as_str)), Patterns::new(not.iter().map(String::as_str)));
        let is_named = |path: &str| own.is_match(path) && !not.is_match(path);
        if output.is_closed {
            let modules = self.facts.values().filter(|facts| is_named(&facts.path));
            named.words.extend(modules.flat_map(|facts| facts.words.lines().map(str::to_owned)));
        }
        let is_closed_page = |path: &str| output.is_closed && path == PAGE;
        let files = self.tree.paths().filter(|path| (is_other(path) || is_closed_page(path)) && is_named(path));
        for file in files.filter(|path| self.tree.get(path).is_some_and(|entry| entry.size <= module::MAX_SOURCE)).take(MAX_FILES) {
            match self.tree.content(file).map(std::str::from_utf8) {
                Some(Ok(text)) => named.words.extend(tailwind::words(text).lines().map(str::to_owned)),
                Some(Err(_)) => {}
                None => named.is_partial = true,
            }
        }
        named.words = named.words.into_iter().take(MAX_WORDS).collect();
        named
    }

    /// The words of a package of the project.
    fn of_package(&self, pattern: &str) -> Option<Part> {
        let (_, inside) = pattern.split_once("node_modules/")?;
        let is_plain = !inside.contains(['?', '&', '#', '>', '!']);
        let is_folder = !inside.contains('*') && !module::is_script(inside);
        let end = if is_folder { ALL_OF_PACKAGE } else { "" };
        (is_plain && self.project.has(package_of(inside))).then(|| Part::Words(format!("{}{end}", inside.trim_end_matches('/'))))
    }
}

/// Whether a file can have words, and is neither a module nor the page.
fn is_other(path: &str) -> bool {
    let extension = path::extension(path);
    let is_hidden = path.split('/').any(|part| part.starts_with('.') || ["node_modules", "dist"].contains(&part));
    let is_module = module::is_script(path) || module::is_component(path) || is_scss(path) || extension == "css";
    let is_lock = path.ends_with("-lock.json") || extension == "lock";
    !is_hidden && !is_module && !is_lock && path != PAGE && !BINARY.contains(&extension.as_str())
}
