//! The files of the repository, and the names in their code.

use std::fs;

use crate::root;

/// A file of the repository.
pub struct File {
    /// The path from the root of the repository, with `/` as the separator.
    pub path: String,
    pub text: String,
}

impl File {
    /// The text before `mod tests`, which is last in a file.
    #[must_use]
    pub fn own(&self) -> &str {
        let tests = self
            .text
            .match_indices("#[cfg(test)]")
            .find(|(at, marker)| self.text[at + marker.len()..].trim_start().starts_with("mod tests"));
        tests.map_or(self.text.as_str(), |(at, _)| &self.text[..at])
    }

    #[must_use]
    pub fn own_lines(&self) -> usize {
        self.own().lines().count()
    }

    /// The text without comment lines.
    #[must_use]
    pub fn code(&self) -> String {
        self.text
            .lines()
            .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
            .fold(String::new(), |code, line| code + line + "\n")
    }
}

/// Whether the text contains the name as a whole word.
#[must_use]
pub fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// Whether the code contains a path that begins with the name of the library.
#[must_use]
pub fn uses(code: &str, library: &str) -> bool {
    [format!("{library}::"), format!("use {library};"), format!("#[{library}")].iter().any(|path| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        code.match_indices(path.as_str()).any(|(at, _)| !code[..at].ends_with(part))
    })
}

/// Returns the source files of all crates without test files: the `src` folders, and the scripts of the first page.
///
/// # Panics
/// If fewer than 50 files are found, or a file cannot be read.
#[must_use]
pub fn sources() -> Vec<File> {
    let is_source = |path: &str| {
        let code = path.ends_with(".rs") && path.contains("/src/") || path.ends_with(".js") && path.starts_with("gateway/");
        code && !path.ends_with("/tests.rs") && !path.contains("/tests/")
    };
    let found = files(is_source);
    assert!(found.len() > 50, "only {} source files were found", found.len());
    found
}

/// Returns all Rust files, including build scripts and tests.
#[must_use]
pub fn rust_files() -> Vec<File> {
    files(|path| path.ends_with(".rs"))
}

/// Returns the files that `is_wanted` accepts by path, without those that git ignores.
///
/// # Panics
/// If a file cannot be read.
#[must_use]
pub fn files(is_wanted: impl Fn(&str) -> bool) -> Vec<File> {
    let walk = ignore::WalkBuilder::new(root()).require_git(false).build();
    let paths = walk.filter_map(Result::ok).map(|entry| entry.path().to_owned());
    let named = paths.filter_map(|path| {
        let name = path.strip_prefix(root()).ok()?.to_string_lossy().into_owned();
        is_wanted(&name).then_some((path, name))
    });
    named.map(|(path, name)| File { text: fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}")), path: name }).collect()
}
