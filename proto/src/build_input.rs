//! The messages with which a caller answers the questions of the role compile: files, and contents in batches and parts.

use std::collections::HashMap;

use prost::bytes::{Bytes, BytesMut};

use crate::{
    compile::{Content, Files, TreeFile},
    project_storage::{FileEntry, FileKind, ReadFilesResponse},
};

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

/// A file of a list of project-storage. `None` for a folder.
#[must_use]
pub fn tree_file(entry: FileEntry) -> Option<TreeFile> {
    let is_file = entry.kind() != FileKind::Folder;
    is_file.then(|| TreeFile { blob_id: entry.etag.trim_matches('"').to_owned(), size: entry.size_bytes.into(), path: entry.path })
}

/// Contents by path, from the messages of `ReadFiles`.
#[derive(Debug, Default)]
pub struct ReadContents {
    contents: HashMap<String, BytesMut>,
    path: String,
}

impl ReadContents {
    /// Adds a message, in the order of the stream.
    pub fn add(&mut self, message: ReadFilesResponse) {
        if let Some(file) = message.file {
            self.path = file.path;
        } else if message.opened.is_some() {
            return;
        }
        self.contents.entry(self.path.clone()).or_default().extend_from_slice(&message.data);
    }

    /// The contents of these paths, in their order. `None` if one is missing.
    #[must_use]
    pub fn finish(mut self, paths: &[&str]) -> Option<Vec<Bytes>> {
        let contents: HashMap<String, Bytes> = self.contents.drain().map(|(path, content)| (path, content.freeze())).collect();
        paths.iter().map(|path| contents.get(*path).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_found_by_their_paths() {
        let message = |path: Option<&str>, data: &'static str| ReadFilesResponse {
            file: path.map(|path| FileEntry { path: path.to_owned(), ..FileEntry::default() }),
            data: Bytes::from_static(data.as_bytes()),
            ..ReadFilesResponse::default()
        };
        let read = || {
            let mut read = ReadContents::default();
            let opened = ReadFilesResponse { opened: Some(crate::project_storage::FilesOpened::default()), ..ReadFilesResponse::default() };
            for message in [opened, message(Some("a"), "1"), message(None, "2"), message(Some("empty"), ""), message(Some("b"), "3")] {
                read.add(message);
            }
            read
        };
        assert_eq!(read().finish(&["b", "a", "empty", "a"]).expect("all"), ["3", "12", "", "12"]);
        assert_eq!(read().finish(&["c"]), None);
    }

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
