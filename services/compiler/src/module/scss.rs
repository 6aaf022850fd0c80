//! SCSS and Sass to CSS. What a file imports is read from the tree.

use std::{fmt, io, path::Path};

use compiler_client::message::{Finding, finding::code};
use grass::{ErrorKind, Fs, Options};

use crate::{
    text::{self, Text},
    tree::{Tree, path, resolve::Resolver},
};

/// Whether a file is compiled here.
pub(crate) fn is_scss(path: &str) -> bool {
    ["scss", "sass"].contains(&path::extension(path).as_str())
}

/// The files of the project as Sass looks for them.
pub(crate) struct Files<'f> {
    pub(crate) tree: &'f Tree,
    pub(crate) resolver: &'f Resolver,
    /// The file that is compiled. Aliases are those of its configuration.
    pub(crate) file: &'f str,
}

impl fmt::Debug for Files<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Files").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Files<'_> {
    /// The path in the tree. Sass joins an alias to the folder of the file that has it.
    fn name(&self, path: &Path) -> Option<String> {
        let path = path.to_str()?;
        let alias = ["@/", "~/", "$"].iter().find_map(|start| path.find(start).filter(|at| *at == 0 || path[..*at].ends_with('/')));
        let own = path::join("", path).trim_start_matches('/').to_owned();
        match alias {
            Some(at) if !self.tree.has(&own) => self.resolver.resolve(self.file, &path[at..]),
            _ => Some(own),
        }
    }
}

impl Fs for Files<'_> {
    fn is_dir(&self, path: &Path) -> bool {
        self.name(path).is_some_and(|name| self.tree.below(&format!("{name}/")).next().is_some())
    }

    fn is_file(&self, path: &Path) -> bool {
        self.name(path).is_some_and(|name| self.tree.has(&name) && (is_scss(&name) || path::extension(&name) == "css"))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let name = self.name(path).ok_or(io::ErrorKind::NotFound)?;
        let content = self.tree.content(&name).ok_or(io::ErrorKind::NotFound)?;
        match std::str::from_utf8(content) {
            Ok(text) if super::depth(text) <= super::MAX_SHEET_DEPTH => Ok(content.to_vec()),
            Ok(_) => Err(io::Error::other(format!("{name}: more than {} brackets are open at once", super::MAX_SHEET_DEPTH))),
            Err(_) => Err(io::Error::other(format!("{name} is not UTF-8"))),
        }
    }
}

/// The file as CSS.
///
/// # Errors
/// What is wrong, in this file or in one that it imports.
pub(crate) fn compile(files: &Files) -> Result<String, Box<Finding>> {
    let options = Options::default().fs(files).quiet(true).load_path("");
    grass::from_path(files.file, &options).map_err(|error| {
        let at_start = |message: &str| text::finding(code::SCSS_SYNTAX, files.file, &text::start(), message);
        Box::new(match error.kind() {
            ErrorKind::ParseError { message, loc, .. } => {
                let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
                let name = files.name(Path::new(loc.file.name())).unwrap_or_default();
                let lines = Text::new(loc.file.source());
                lines.finding(code::SCSS_SYNTAX, &name, &lines.place_at(count(loc.begin.line), count(loc.begin.column)), &message)
            }
            ErrorKind::IoError(error) => at_start(&error.to_string()),
            ErrorKind::FromUtf8Error(message) => at_start(&message),
            _ => at_start("the file cannot be compiled"),
        })
    })
}
