//! The files of a preview, as the compiler asks for them.

use std::collections::HashMap;

use bytes::Bytes;
use chassis::context::Context;
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    compile::{BuildPageRequest, Content, Files, TreeFile, build_page_request::Part},
    project_storage::{FileEntry, GetPreviewTreeRequest, ReadPreviewContentsRequest},
};

use crate::{app::App, error::Failure};

/// Files of one message.
const FILES: usize = 5_000;
/// Contents that are read together, and their bytes. A larger content is read by itself.
const CONTENTS: usize = 500;
const CONTENTS_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of a content in one message.
const PART_BYTES: usize = 1024 * 1024;

type Sender = mpsc::Sender<BuildPageRequest>;

/// The files of one revision.
pub(super) struct Source<'a> {
    app: &'a App,
    context: Context,
    capability: String,
    revision: String,
    /// The bytes of each content.
    sizes: HashMap<String, u64>,
}

impl<'a> Source<'a> {
    pub(super) fn new(app: &'a App, context: Context, capability: String, revision: String) -> Self {
        Self { app, context, capability, revision, sizes: HashMap::new() }
    }

    /// Sends the list of files.
    pub(super) async fn send_tree(&mut self, messages: &mut Sender) -> Result<(), Failure> {
        let request = GetPreviewTreeRequest { capability: self.capability.clone(), revision: self.revision.clone() };
        let listed = self.app.upstream.projects().get_preview_tree(self.context.request(request)).await?.into_inner();
        let mut files: Vec<TreeFile> = listed.files.into_iter().map(tree_file).collect();
        self.sizes = files.iter().map(|file| (file.blob_id.clone(), file.size)).collect();
        loop {
            let rest = files.split_off(files.len().min(FILES));
            let is_last = rest.is_empty();
            send(messages, Part::Files(Files { files, is_last })).await;
            if is_last {
                return Ok(());
            }
            files = rest;
        }
    }

    /// Sends contents in the order of their ids. At most a batch of them is in memory.
    pub(super) async fn send_contents(&self, ids: Vec<String>, messages: &mut Sender) -> Result<(), Failure> {
        for batch in batches(ids, &self.sizes) {
            let request = ReadPreviewContentsRequest {
                capability: self.capability.clone(),
                revision: self.revision.clone(),
                blob_ids: batch.clone(),
            };
            let read = self.app.upstream.projects().read_preview_contents(self.context.request(request)).await?.into_inner();
            for (id, content) in batch.iter().zip(read.contents) {
                for part in parts(id, content) {
                    send(messages, Part::Content(part)).await;
                }
            }
        }
        Ok(())
    }
}

/// Sends a part of the answer. If the call has ended, its error arrives with the next question.
async fn send(messages: &mut Sender, part: Part) {
    let _ = messages.send(BuildPageRequest { part: Some(part) }).await;
}

fn tree_file(entry: FileEntry) -> TreeFile {
    TreeFile { blob_id: entry.etag.trim_matches('"').to_owned(), size: entry.size_bytes.into(), path: entry.path }
}

/// Ids whose contents are read together.
fn batches(ids: Vec<String>, sizes: &HashMap<String, u64>) -> Vec<Vec<String>> {
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
fn parts(id: &str, mut content: Bytes) -> Vec<Content> {
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
