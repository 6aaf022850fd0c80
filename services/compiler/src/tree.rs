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
    /// Paths whose contents were asked for and are absent.
    wanted: Rc<RefCell<BTreeSet<String>>>,
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
        Self { files: Arc::new(files), folders: Arc::new(folders), wanted: Rc::default() }
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
        let content = self.files.get(path)?.content.as_deref();
        if content.is_none() {
            self.wanted.borrow_mut().insert(path.to_owned());
        }
        content
    }

    /// The content as text, without a byte order mark. `None` for other bytes, too.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.content(path)?).ok()?;
        Some(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    pub(crate) fn wanted(&self) -> Vec<String> {
        self.wanted.borrow().iter().cloned().collect()
    }
}
