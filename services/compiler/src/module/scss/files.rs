//! The files of the project and of its packages as Sass looks for them. Sass asks for names beside the file that imports, and then from the
//! root of the project. A name of a package is found if no file of the project has it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
};

use compiler_client::message::packages::package_of;
use grass::Fs;

use super::{Library, is_sheet};
use crate::tree::path;

/// The folder of packages.
const PACKAGES: &str = "node_modules/";
/// The ends of names that Sass tries.
const ENDS: [&str; 3] = [".sass", ".scss", ".css"];

pub(super) struct Files<'f, 'l> {
    pub(super) library: &'f Library<'l>,
    /// The file that is compiled. Aliases are those of its configuration.
    pub(super) file: &'f str,
    /// A style sheet in the file, which is compiled alone.
    pub(super) block: Option<Block<'f>>,
    /// The folders of what was read.
    folders: RefCell<BTreeSet<String>>,
}

/// A style sheet in a component.
pub(super) struct Block<'b> {
    /// The path under which Sass reads it, beside the component.
    pub(super) path: String,
    pub(super) text: &'b str,
    /// The text of the component.
    pub(super) component: &'b str,
    /// Lines of the component before the text.
    pub(super) lines: u32,
}

impl fmt::Debug for Files<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Files").field("file", &self.file).finish_non_exhaustive()
    }
}

impl<'f, 'l> Files<'f, 'l> {
    pub(super) fn new(library: &'f Library<'l>, file: &'f str, block: Option<Block<'f>>) -> Self {
        library.note(file);
        Self { library, file, block, folders: RefCell::new(BTreeSet::from([String::new()])) }
    }

    /// The path of the style sheet that Sass asks for, in the project or below `node_modules/`.
    fn locate(&self, path: &Path) -> Option<String> {
        let written = path.to_str()?;
        let own = own(written);
        if self.library.tree.has(&own) {
            return is_sheet(&own).then_some(own);
        }
        if let Some(at) = alias(written) {
            return self.library.resolver.resolve(self.file, &written[at..]).filter(|path| is_sheet(path));
        }
        if let Some(found) = own.strip_prefix(PACKAGES).and_then(|name| self.in_package(name)) {
            return Some(found);
        }
        let is_relative = written.split('/').any(|part| [".", ".."].contains(&part));
        if is_relative || self.is_own(&own) {
            return None;
        }
        self.specifiers(&own).iter().find_map(|specifier| self.in_package(specifier))
    }

    /// The names of packages' files that a path can stand for: Sass joins a specifier to the folder of the file that has it.
    fn specifiers(&self, path: &str) -> Vec<String> {
        let folders = self.folders.borrow();
        let inside = folders.iter().filter_map(|folder| match folder.as_str() {
            "" => Some(path),
            folder => path.strip_prefix(folder)?.strip_prefix('/'),
        });
        let named = inside.filter_map(|name| match package_import(name) {
            Some(name) => Some(name),
            None => Some(name).filter(|name| !self.is_own(name)),
        });
        named.map(str::to_owned).collect()
    }

    /// Whether the project has a file that Sass finds by this name with another ending.
    fn is_own(&self, path: &str) -> bool {
        let stem = stem(path);
        let (folder, name) = stem.rsplit_once('/').map_or(("", stem), |(folder, name)| (folder, name));
        let name = name.strip_prefix('_').unwrap_or(name);
        let joined = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let names = [joined(name), joined(&format!("_{name}")), joined(&format!("{name}/index")), joined(&format!("{name}/_index"))];
        names.iter().any(|name| ENDS.iter().any(|end| self.library.tree.has(&format!("{name}{end}"))))
    }

    fn in_package(&self, specifier: &str) -> Option<String> {
        let sheets = self.library.sheets(package_of(stem(specifier)));
        sheets.iter().find_map(|sheets| sheets.find(specifier)).map(str::to_owned)
    }

    /// Whether the project has the folder, beside what was read or in the root.
    pub(super) fn has_folder(&self, name: &str) -> bool {
        let folders = self.folders.borrow();
        let mut paths = folders.iter().map(|folder| own(&format!("{folder}/{name}/")));
        paths.any(|path| self.library.tree.below(&path).next().is_some())
    }
}

/// How `pkg:` is written for the parser, which would have it in the name of the module. It has the same length.
const PACKAGE: &str = "~~~/";

/// The specifier of a package's file in `~x` and `pkg:x`.
pub(super) fn package_import(name: &str) -> Option<&str> {
    [PACKAGE, "pkg:", "~"].iter().find_map(|start| name.strip_prefix(start))
}

/// The text for the parser.
fn for_parser(text: &str) -> String {
    let (mut written, mut end) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices("pkg:") {
        let before = text[..at].strip_suffix(['"', '\'']).map(str::trim_end);
        if before.is_some_and(|before| before.ends_with("@use")) {
            written.extend([&text[end..at], PACKAGE]);
            end = at + PACKAGE.len();
        }
    }
    written + &text[end..]
}

/// The text that was given to the parser, as its file has it.
pub(super) fn of_parser(text: &str) -> String {
    text.replace(PACKAGE, "pkg:")
}

/// Where an alias begins in a path to which Sass has joined it.
pub(super) fn alias(path: &str) -> Option<usize> {
    ["@/", "~/", "$"].iter().find_map(|start| path.find(start).filter(|at| *at == 0 || path[..*at].ends_with('/')))
}

fn own(path: &str) -> String {
    let joined = path::join("", path);
    let end = if path.ends_with('/') { "/" } else { "" };
    format!("{}{end}", joined.trim_start_matches('/'))
}

/// The name without the ending that Sass has added.
fn stem(name: &str) -> &str {
    let stem = ENDS.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    stem.strip_suffix(".import").unwrap_or(stem)
}

impl Fs for Files<'_, '_> {
    fn is_dir(&self, path: &Path) -> bool {
        // What Sass then asks for in the folder is looked for in the project and in packages.
        path.to_str().is_some()
    }

    fn is_file(&self, path: &Path) -> bool {
        self.locate(path).is_some()
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let is_block = self.block.as_ref().is_some_and(|block| path.to_str() == Some(block.path.as_str()));
        Ok(self.locate(path).filter(|_| !is_block).map_or_else(|| path.to_owned(), PathBuf::from))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(block) = self.block.as_ref().filter(|block| path.to_str() == Some(block.path.as_str())) {
            self.folders.borrow_mut().insert(path::folder(&block.path).to_owned());
            return checked(&block.path, block.text.as_bytes());
        }
        let name = self.locate(path).ok_or(io::ErrorKind::NotFound)?;
        self.folders.borrow_mut().insert(path::folder(&name).to_owned());
        if self.library.tree.has(&name) {
            self.library.note(&name);
            return checked(&name, self.library.tree.content(&name).ok_or(io::ErrorKind::NotFound)?);
        }
        checked(&name, self.library.text(&name).ok_or(io::ErrorKind::NotFound)?.as_bytes())
    }
}

/// A text that the parser may read.
fn checked(name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let most = crate::module::MAX_SHEET_DEPTH;
    match std::str::from_utf8(content) {
        Ok(text) if crate::module::depth(text) <= most => Ok(for_parser(text).into_bytes()),
        Ok(_) => Err(io::Error::other(format!("{name}: more than {most} brackets are open at once"))),
        Err(_) => Err(io::Error::other(format!("{name} is not UTF-8"))),
    }
}
