//! The files of a build, and what of them the compiler gets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use compiler_client::message::{Facts, File};
use proto::{compile::TreeFile, error::Violations, layout};

use crate::{
    error::{Error, SERVICE},
    hash,
};

/// The page, whose inline scripts are modules.
const PAGE: &str = "index.html";
/// Files of one message.
const MAX_PART: usize = 5_000;
/// Bytes of a path.
const MAX_PATH: usize = 1_024;
/// Files that the compiler reads in nearly every project.
const CONFIGURATION: [&str; 6] = [PAGE, "package.json", "vite.config.ts", "vite.config.js", "vite.config.mts", "vite.config.mjs"];
/// Sources that are sent before the compiler asks for them, if they are not larger than this.
const EARLY_BYTES: u64 = 256 * 1024;
const EARLY: [&str; 14] = ["ts", "tsx", "js", "jsx", "mts", "mjs", "cts", "cjs", "css", "json", "vue", "svelte", "scss", "sass"];
/// Of no use to a page, and often large.
const NEVER_EARLY: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];

/// Limits of one tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) files: usize,
    /// Of the contents that a build reads.
    pub(crate) bytes: usize,
}

/// The files by path.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, (String, u64)>,
    contents: HashMap<String, Bytes>,
    bytes: usize,
}

impl Tree {
    /// Adds a part of the list. Returns the bytes that it takes.
    ///
    /// # Errors
    /// A file is invalid or occurs twice, or the tree has too many files.
    pub(crate) fn add(&mut self, files: Vec<TreeFile>, limits: &Limits) -> Result<usize, Error> {
        let mut violations = Violations::default();
        if files.len() > MAX_PART {
            violations.add("files.files", format!("must have at most {MAX_PART} files"));
        }
        if self.files.len() + files.len() > limits.files {
            return Err(Error::TreeTooLarge { what: "files", limit: limits.files });
        }
        let mut bytes = 0;
        for (i, file) in files.into_iter().enumerate() {
            let field = |name| format!("files.files[{i}].{name}");
            let is_relative = file.path.split('/').all(|part| !["", ".", ".."].contains(&part));
            if !is_relative || file.path.len() > MAX_PATH || file.path.chars().any(char::is_control) {
                violations.add(field("path"), format!("must be a path without empty parts, `.` and `..`, of 1 to {MAX_PATH} bytes"));
            }
            if !hash::is_id(&file.blob_id) {
                violations.add(field("blob_id"), "must be 40 lower-case hexadecimal digits");
            }
            bytes += file.path.len() + file.blob_id.len();
            if self.files.insert(file.path, (file.blob_id, file.size)).is_some() {
                violations.add(field("path"), "occurs twice");
            }
        }
        violations.check(SERVICE)?;
        Ok(bytes)
    }

    /// The file that a module belongs to, and the id of its content: an inline script belongs to the page, and a style sheet of a component
    /// to the component.
    pub(crate) fn owner<'t>(&'t self, facts: &'t Facts) -> Option<(&'t str, &'t str)> {
        let path = facts.path.split('?').next().unwrap_or_default();
        let found = self.files.get_key_value(path).or_else(|| self.files.get_key_value(PAGE))?;
        Some((found.0, &found.1.0))
    }

    /// Whether browsers get a compiled page, and not the files as they are.
    pub(crate) fn is_compiled(&self) -> bool {
        layout::is_compiled(self.files.keys().map(String::as_str))
    }

    /// Paths, and the ids of their contents.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, (id, _))| (path.as_str(), id.as_str()))
    }

    /// Path, id and size of each file, by path.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.files.iter().map(|(path, (id, size))| (path.as_str(), id.as_str(), *size))
    }

    /// The ids of contents that the compiler will probably ask for: those of files without facts.
    pub(crate) fn early(&self, known: &HashSet<&str>, limits: &Limits) -> BTreeSet<String> {
        let mut room = limits.bytes as u64 / 4;
        let mut ids = BTreeSet::new();
        for (path, (id, size)) in &self.files {
            if is_early(path, *size)
                && (is_configuration(path) || !known.contains(path.as_str()))
                && *size <= room
                && ids.insert(id.clone())
            {
                room -= *size;
            }
        }
        ids
    }

    /// The ids of the contents of paths, as far as they are absent.
    pub(crate) fn absent(&self, paths: &[String]) -> BTreeSet<String> {
        let ids = paths.iter().filter_map(|path| self.files.get(path)).map(|(id, _)| id);
        ids.filter(|id| !self.contents.contains_key(*id)).cloned().collect()
    }

    /// The id of a file's content.
    pub(crate) fn id(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|(id, _)| id.as_str())
    }

    /// A content that the build has.
    pub(crate) fn content(&self, id: &str) -> Option<&[u8]> {
        self.contents.get(id).map(Bytes::as_ref)
    }

    pub(crate) fn has_content(&self, id: &str) -> bool {
        self.contents.contains_key(id)
    }

    /// How many more bytes of content the build may read.
    pub(crate) fn room(&self, limits: &Limits) -> usize {
        limits.bytes.saturating_sub(self.bytes)
    }

    /// Keeps a content for the build.
    ///
    /// # Errors
    /// The build has read too much.
    pub(crate) fn put(&mut self, id: String, content: Vec<u8>, limits: &Limits) -> Result<(), Error> {
        if content.len() > self.room(limits) {
            return Err(Error::TreeTooLarge { what: "bytes in the files that are compiled", limit: limits.bytes });
        }
        self.bytes += content.len();
        self.contents.insert(id, content.into());
        Ok(())
    }

    /// A file with its content, as the compiler takes it.
    pub(crate) fn file(&self, path: &str) -> Option<File> {
        let (id, size) = self.files.get(path)?;
        Some(File { path: path.to_owned(), id: id.clone(), size: *size, content: self.contents.get(id).cloned() })
    }

    /// The ids of the contents that the build has.
    pub(crate) fn held(&self) -> Vec<String> {
        self.contents.keys().cloned().collect()
    }

    /// The files as the compiler takes them.
    pub(crate) fn files(&self) -> Vec<File> {
        let file = |(path, (id, size)): (&String, &(String, u64))| File {
            path: path.clone(),
            id: id.clone(),
            size: *size,
            content: self.contents.get(id).cloned(),
        };
        self.files.iter().map(file).collect()
    }
}

fn is_configuration(path: &str) -> bool {
    CONFIGURATION.contains(&path) || path.starts_with("tsconfig") && path.ends_with(".json")
}

fn is_early(path: &str, size: u64) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
    size <= EARLY_BYTES && !NEVER_EARLY.contains(&path) && (is_configuration(path) || EARLY.contains(&extension))
}
