//! Findings of a bundle, each once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use compiler_client::message::{Finding, Resource};

use crate::text;

/// What the bundler's threads note.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    findings: Mutex<BTreeMap<(String, String), Finding>>,
    resources: Mutex<BTreeMap<String, Resource>>,
    /// Texts of style sheets by the ids of their modules, for a bundle with one sheet.
    sheets: Mutex<BTreeMap<String, String>>,
}

/// Where findings without a file are.
const MANIFEST: &str = "package.json";

impl Notes {
    /// An error in a file, or in `package.json`.
    pub(crate) fn add(&self, code: &str, file: &str, message: &str) {
        let file = if file.is_empty() { MANIFEST } else { file };
        self.put(text::finding(code, file, &text::start(), message));
    }

    /// What a bundle lacks and its page may not need.
    pub(super) fn warn(&self, code: &str, file: &str, message: &str, help: String) {
        self.put(Finding { is_warning: true, help, ..text::finding(code, file, &text::start(), message) });
    }

    pub(super) fn put(&self, finding: Finding) {
        lock(&self.findings).entry((finding.file.clone(), finding.message.clone())).or_insert(finding);
    }

    /// A file that is served as it is.
    pub(super) fn resource(&self, url: String, path: &str) {
        lock(&self.resources).insert(url.clone(), Resource { url, path: path.to_owned(), text: String::new() });
    }

    pub(super) fn sheet(&self, id: &str, text: String) {
        lock(&self.sheets).insert(id.to_owned(), text);
    }

    pub(crate) fn take_sheets(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut *lock(&self.sheets))
    }

    pub(crate) fn resources(&self) -> Vec<Resource> {
        lock(&self.resources).values().cloned().collect()
    }

    pub(crate) fn all(&self) -> Vec<Finding> {
        lock(&self.findings).values().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
