//! The files of a preview, as the compiler asks for them.

use std::collections::HashMap;

use chassis::context::Context;
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    build_input::{batches, lists, parts},
    compile::{BuildPageRequest, TreeFile, build_page_request::Part},
    project_storage::{FileEntry, GetPreviewTreeRequest, ReadPreviewContentsRequest},
};

use crate::{app::App, error::Failure};

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
        let files: Vec<TreeFile> = listed.files.into_iter().map(tree_file).collect();
        self.sizes = files.iter().map(|file| (file.blob_id.clone(), file.size)).collect();
        for list in lists(files) {
            send(messages, Part::Files(list)).await;
        }
        Ok(())
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
