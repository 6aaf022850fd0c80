//! The files of a project, by path. Contents are there as far as the request has them.

pub(crate) mod path;
pub(crate) mod patterns;
pub(crate) mod resolve;
mod view;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;

/// A file; its content is absent if the request has none.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) size: u64,
    pub(crate) content: Option<Bytes>,
}

/// The files and folders. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    files: Arc<BTreeMap<String, Entry>>,
    folders: Arc<BTreeSet<String>>,
    asked: Rc<RefCell<Asked>>,
}

/// Paths whose contents were asked for.
#[derive(Debug, Default)]
struct Asked {
    /// Those that are absent.
    wanted: BTreeSet<String>,
    /// Those that were read for something else than their own module.
    read: BTreeSet<String>,
    /// Those of them that decide about the options of the modules.
    configuration: BTreeSet<String>,
}

impl Tree {
    pub(crate) fn new(files: BTreeMap<String, Entry>) -> Self {
        let mut folders = BTreeSet::from([String::new()]);
        for path in files.keys() {
            let mut folder = path::folder(path);
            while folders.insert(folder.to_owned()) {
                folder = path::folder(folder);
            }
        }
        Self { files: Arc::new(files), folders: Arc::new(folders), asked: Rc::default() }
    }

    /// Adds a file that is a part of another one, in the folder of that one.
    pub(crate) fn add(&mut self, path: String, entry: Entry) {
        Arc::make_mut(&mut self.files).insert(path, entry);
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.files.get(path)
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The paths that begin with a text.
    pub(crate) fn below<'t>(&'t self, start: &'t str) -> impl Iterator<Item = &'t str> {
        let from = (Bound::Included(start), Bound::Unbounded);
        self.files.range::<str, _>(from).map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(start))
    }

    /// The content; a file without one is noted as wanted.
    pub(crate) fn content(&self, path: &str) -> Option<&[u8]> {
        let content = self.source(path);
        self.asked.borrow_mut().read.insert(path.to_owned());
        content
    }

    /// As [`Tree::content`], for the module of the file.
    pub(crate) fn source(&self, path: &str) -> Option<&[u8]> {
        let content = self.files.get(path)?.content.as_deref();
        if content.is_none() {
            self.asked.borrow_mut().wanted.insert(path.to_owned());
        }
        content
    }

    /// The content as text, without a byte order mark. `None` for other bytes, too.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.content(path)?).ok()?;
        Some(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// As [`Tree::text`], for a file that decides about the options of the modules.
    pub(crate) fn configuration(&self, path: &str) -> Option<&str> {
        let text = self.text(path)?;
        self.asked.borrow_mut().configuration.insert(path.to_owned());
        Some(text)
    }

    pub(crate) fn wanted(&self) -> Vec<String> {
        self.asked.borrow().wanted.iter().cloned().collect()
    }

    /// Whether the content was read for something else than the module of the file.
    pub(crate) fn is_read(&self, path: &str) -> bool {
        self.asked.borrow().read.contains(path)
    }

    /// The files that decide about the options of the modules.
    pub(crate) fn configurations(&self) -> Vec<String> {
        self.asked.borrow().configuration.iter().cloned().collect()
    }
}
