//! The tree as the file system of `oxc_resolver`, below a folder of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use oxc_resolver::{FileMetadata, FileSystem, ResolveError};
use serde_json::Value;

use super::{Tree, path};

/// The folder of the project for the resolver.
pub(super) const ROOT: &str = "/project";

/// Names and configurations. It owns what it answers with, because a resolver may be used by several threads.
#[derive(Debug)]
pub(super) struct View {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl View {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut files: BTreeSet<String> = tree.paths().map(str::to_owned).collect();
        let mut texts = BTreeMap::new();
        let mut open: Vec<String> = tree.paths().filter(|path| is_configuration(path)).map(str::to_owned).collect();
        while let Some(name) = open.pop() {
            if texts.contains_key(&name) {
                continue;
            }
            let Some(text) = tree.configuration(&name) else { continue };
            if name.ends_with("package.json") {
                let is_object = matches!(serde_json::from_str(text), Ok(Value::Object(_)));
                texts.insert(name, if is_object { text } else { "{}" }.to_owned());
            } else {
                let text = configuration(tree, &name, text, &mut open);
                texts.insert(name, text);
            }
        }
        // A project of JavaScript has its paths in `jsconfig.json`.
        for name in tree.paths().filter_map(|name| name.strip_suffix("jsconfig.json")) {
            let standard = format!("{name}tsconfig.json");
            if let Some(text) = texts.get(&format!("{name}jsconfig.json")).filter(|_| !files.contains(&standard)).cloned() {
                texts.insert(standard.clone(), text);
                files.insert(standard);
            }
        }
        Self { files, folders: tree.folders.iter().cloned().collect(), texts }
    }

    fn name<'p>(&self, path: &'p Path) -> io::Result<&'p str> {
        let inside = path.to_str().and_then(|path| path.strip_prefix(ROOT)).ok_or(io::ErrorKind::NotFound)?;
        Ok(inside.strip_prefix('/').unwrap_or(inside))
    }
}

fn is_configuration(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or_default();
    path::extension(path) == "json" && (["package.json", "jsconfig.json"].contains(&file) || file.contains("tsconfig"))
}

/// A configuration without what it extends outside of the tree, and with the options that the resolver asks for. Text that is no JSON
/// becomes an empty configuration; the checks name it. What it extends is added to `open`.
fn configuration(tree: &Tree, name: &str, text: &str, open: &mut Vec<String>) -> String {
    let mut bytes = text.to_owned();
    let _ = json_strip_comments::strip(&mut bytes);
    let Ok(Value::Object(mut object)) = serde_json::from_str(&bytes) else { return "{}".to_owned() };
    let mut is_inside = |value: &Value| {
        let Some(specifier) = value.as_str().filter(|specifier| path::is_relative(specifier)) else { return false };
        let target = path::join(path::folder(name), specifier);
        let found = [target[1..].to_owned(), format!("{}.json", &target[1..])].into_iter().find(|target| tree.has(target));
        let is_found = found.is_some();
        open.extend(found);
        is_found
    };
    match object.get_mut("extends") {
        Some(Value::Array(several)) => several.retain(is_inside),
        Some(one) if !is_inside(one) => drop(object.remove("extends")),
        _ => {}
    }
    if let Some(Value::Array(references)) = object.get_mut("references") {
        references.retain(|reference| {
            let target = reference["path"].as_str().map(|target| path::join(path::folder(name), target)).unwrap_or_default();
            !target.is_empty() && (tree.has(&target[1..]) || tree.has(&format!("{}/tsconfig.json", &target[1..])))
        });
    }
    let options = object.entry("compilerOptions").or_insert_with(|| Value::Object(serde_json::Map::new()));
    // Vite reads the configuration for scripts of both languages.
    if let Some(options) = options.as_object_mut() {
        options.insert("allowJs".to_owned(), Value::Bool(true));
    }
    Value::Object(object).to_string()
}

impl FileSystem for View {
    fn new(_: bool) -> Self {
        Self::of(&Tree::default())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read_to_string(path).map(String::into_bytes)
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        self.texts.get(self.name(path)?).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        if path == Path::new("/") {
            return Ok(FileMetadata::new(false, true, false));
        }
        let name = self.name(path)?;
        match (self.files.contains(name), self.folders.contains(name)) {
            (true, _) => Ok(FileMetadata::new(true, false, false)),
            (_, true) => Ok(FileMetadata::new(false, true, false)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn symlink_metadata(&self, path: &Path) -> io::Result<FileMetadata> {
        self.metadata(path)
    }

    fn read_link(&self, _: &Path) -> Result<PathBuf, ResolveError> {
        Err(io::Error::from(io::ErrorKind::InvalidInput).into())
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
}
