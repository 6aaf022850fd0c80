//! What style sheets can import, and what they have read.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::Arc,
};

use compiler_client::message::tools::PREFIX;

use crate::{
    tool::{
        Tools,
        sheets::{Sheets, specifier},
    },
    tree::{Tree, resolve::Resolver},
};

/// The files of the project and the sheets of its packages, for one module.
pub(crate) struct Library<'l> {
    pub(super) tree: &'l Tree,
    pub(super) resolver: &'l Resolver,
    tools: RefCell<&'l mut Tools>,
    is_listed: &'l dyn Fn(&str) -> bool,
    reads: RefCell<BTreeSet<String>>,
    lacks: Cell<bool>,
}

impl<'l> Library<'l> {
    /// `is_listed`: whether `package.json` lists a package.
    pub(crate) fn new(tree: &'l Tree, resolver: &'l Resolver, tools: &'l mut Tools, is_listed: &'l dyn Fn(&str) -> bool) -> Self {
        Self { tree, resolver, tools: RefCell::new(tools), is_listed, reads: RefCell::default(), lacks: Cell::new(false) }
    }

    /// Whether the request lacks the sheets of a package that were asked for. They are noted as wanted.
    pub(crate) fn lacks_sheets(&self) -> bool {
        self.lacks.get()
    }

    /// What was read: paths of the project, and specifiers of the sheets of packages.
    pub(crate) fn into_reads(self) -> Vec<String> {
        self.reads.into_inner().into_iter().collect()
    }

    pub(super) fn note(&self, path: &str) {
        self.reads.borrow_mut().insert(path.to_owned());
    }

    pub(super) fn is_listed(&self, package: &str) -> bool {
        (self.is_listed)(package)
    }

    /// The sheets with those of a package. One that the project does not list is found with those that depend on it.
    pub(super) fn sheets(&self, package: &str) -> Vec<Arc<Sheets>> {
        if !self.is_listed(package) {
            return self.used();
        }
        let specifier = specifier(package);
        let sheets = self.tools.borrow_mut().sheets(&specifier);
        match sheets {
            Some(_) => self.note(&specifier),
            None => self.lacks.set(true),
        }
        sheets.into_iter().collect()
    }

    /// The text of a sheet of a package that was found.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.used().iter().find_map(|sheets| sheets.files.get(path)).cloned()
    }

    fn used(&self) -> Vec<Arc<Sheets>> {
        let reads = self.reads.borrow();
        let specifiers = reads.iter().filter(|read| read.starts_with(PREFIX));
        specifiers.filter_map(|specifier| self.tools.borrow_mut().sheets(specifier)).collect()
    }
}
