//! What tools have answered to whole pages, in memory: an edit that adds no word to a page needs the rules of Tailwind that the last one had.
//! A worker makes the keys and compares them, so that it gets no output of another input.

use std::sync::Arc;

use chassis::share::Holder;
use compiler_client::message::ToolOutput;
use quick_cache::{Weighter, sync::Cache};

use crate::{hash, packages::Sources};

/// Bytes of the outputs in memory.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// Projects that are expected.
const ENTRIES: usize = 500;
/// The most outputs of one project, and the most bytes of one.
const MAX_OUTPUTS: usize = 4;
const MAX_OUTPUT: usize = 1024 * 1024;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Vec<u8>, Arc<[ToolOutput]>> for ByBytes {
    fn weight(&self, key: &Vec<u8>, outputs: &Arc<[ToolOutput]>) -> u64 {
        let bytes = |output: &ToolOutput| output.key.len() + output.text.len();
        (key.len() + outputs.iter().map(bytes).sum::<usize>()) as u64
    }
}

/// The last outputs, by person, packages and release.
pub(crate) struct ToolOutputs(Cache<Vec<u8>, Arc<[ToolOutput]>, ByBytes>);

/// The key of the outputs of a project. People share none.
pub(crate) fn key(holder: &Holder, sources: &Sources, release: &[u8]) -> Vec<u8> {
    let person = holder.person.map(|person| person.to_string()).unwrap_or_default();
    let lock = sources.lock.as_ref().map(|(_, id)| id.as_str()).unwrap_or_default();
    let manifest = sources.manifest.as_deref().unwrap_or_default();
    hash::of_parts(&[release, person.as_bytes(), manifest.as_bytes(), lock.as_bytes()])
}

impl ToolOutputs {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(ENTRIES, MAX_BYTES, ByBytes))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Vec<ToolOutput> {
        self.0.get(key).map(|outputs| outputs.to_vec()).unwrap_or_default()
    }

    /// Keeps new outputs, in place of the oldest ones.
    pub(crate) fn put(&self, key: Vec<u8>, new: Vec<ToolOutput>) {
        if new.is_empty() {
            return;
        }
        let before = self.get(&key).into_iter().filter(|output| new.iter().all(|new| new.key != output.key));
        let fitting = new.iter().cloned().chain(before).filter(|output| output.text.len() <= MAX_OUTPUT);
        let outputs = fitting.take(MAX_OUTPUTS).collect();
        self.0.insert(key, outputs);
    }
}

#[cfg(test)]
mod tests {
    use proto::id::UserId;

    use super::*;

    fn output(key: &str, bytes: usize) -> ToolOutput {
        ToolOutput { key: key.to_owned(), text: "x".repeat(bytes) }
    }

    #[test]
    fn the_newest_outputs_stay() {
        let outputs = ToolOutputs::new();
        let keys = |key: &[u8]| outputs.get(key).into_iter().map(|output| output.key).collect::<String>();
        for name in ["a", "b", "a", "c", "d", "e"] {
            outputs.put(vec![1], vec![output(name, 1)]);
        }
        assert_eq!(keys(&[1]), "edca");
        outputs.put(vec![1], vec![output("f", MAX_OUTPUT + 1)]);
        assert_eq!(keys(&[1]), "edca", "one that is too large");
        assert_eq!(keys(&[2]), "", "of another project");
    }

    #[test]
    fn nobody_gets_what_another_person_has_made() {
        let sources = |manifest: &str| Sources { manifest: Some(manifest.to_owned()), lock: None };
        let (one, other) = (UserId::generate(), UserId::generate());
        let of = |person| Holder { person, ..Holder::default() };
        let keys = [
            key(&of(Some(one)), &sources("a"), b"r"),
            key(&of(Some(other)), &sources("a"), b"r"),
            key(&of(None), &sources("a"), b"r"),
            key(&of(Some(one)), &sources("b"), b"r"),
            key(&of(Some(one)), &Sources { lock: Some(("l".to_owned(), "a".to_owned())), ..sources("a") }, b"r"),
            key(&of(Some(one)), &sources("a"), b"s"),
        ];
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
    }
}
