//! The messages with which a caller answers the questions of the role compile: files, and contents in batches and parts.

use std::collections::HashMap;

use prost::bytes::Bytes;

use crate::compile::{Content, Files, TreeFile};

/// Files of one message.
const FILES: usize = 5_000;
/// Contents that are read together, and their bytes. A larger content is read by itself.
const CONTENTS: usize = 500;
const CONTENTS_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of a content in one message.
const PART_BYTES: usize = 1024 * 1024;

/// The messages of a list of files. An empty list has one, too.
#[must_use]
pub fn lists(mut files: Vec<TreeFile>) -> Vec<Files> {
    let mut lists = Vec::new();
    loop {
        let rest = files.split_off(files.len().min(FILES));
        let is_last = rest.is_empty();
        lists.push(Files { files, is_last });
        if is_last {
            return lists;
        }
        files = rest;
    }
}

/// Ids whose contents are read together. `sizes` has the bytes of each content.
#[must_use]
pub fn batches(ids: Vec<String>, sizes: &HashMap<String, u64>) -> Vec<Vec<String>> {
    let (mut batches, mut bytes) = (Vec::<Vec<String>>::new(), 0);
    for id in ids {
        let size = sizes.get(&id).copied().unwrap_or_default();
        match batches.last_mut() {
            Some(last) if last.len() < CONTENTS && bytes + size <= CONTENTS_BYTES => {
                bytes += size;
                last.push(id);
            }
            _ => {
                bytes = size;
                batches.push(vec![id]);
            }
        }
    }
    batches
}

/// The messages of one content. An empty one has a message, too.
#[must_use]
pub fn parts(id: &str, mut content: Bytes) -> Vec<Content> {
    let mut parts = Vec::new();
    loop {
        let data = content.split_to(content.len().min(PART_BYTES));
        parts.push(Content { blob_id: id.to_owned(), data, is_last: content.is_empty() });
        if content.is_empty() {
            return parts;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_in_parts() {
        let sizes =
            |count: usize| lists(vec![TreeFile::default(); count]).iter().map(|list| (list.files.len(), list.is_last)).collect::<Vec<_>>();
        assert_eq!(sizes(0), [(0, true)]);
        assert_eq!(sizes(FILES), [(FILES, true)]);
        assert_eq!(sizes(FILES + 1), [(FILES, false), (1, true)]);
    }

    #[test]
    fn contents_are_read_in_batches_and_large_ones_alone() {
        let sizes = [("a", 1), ("b", CONTENTS_BYTES - 1), ("c", 1), ("d", CONTENTS_BYTES * 2), ("e", 0)];
        let sizes: HashMap<_, _> = sizes.into_iter().map(|(id, size)| (id.to_owned(), size)).collect();
        let ids = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(batches(ids, &sizes), [vec!["a", "b"], vec!["c"], vec!["d"], vec!["e"]]);
        let many: Vec<_> = (0..=CONTENTS).map(|n| n.to_string()).collect();
        assert_eq!(batches(many, &sizes).iter().map(Vec::len).collect::<Vec<_>>(), [CONTENTS, 1]);
        assert!(batches(Vec::new(), &sizes).is_empty());
    }

    #[test]
    fn a_content_is_sent_in_parts() {
        let sizes = |bytes: usize| parts("x", vec![0; bytes].into()).iter().map(|part| (part.data.len(), part.is_last)).collect::<Vec<_>>();
        assert_eq!(sizes(0), [(0, true)]);
        assert_eq!(sizes(PART_BYTES), [(PART_BYTES, true)]);
        assert_eq!(sizes(PART_BYTES + 1), [(PART_BYTES, false), (1, true)]);
    }
}
