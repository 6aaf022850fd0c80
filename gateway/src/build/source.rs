//! The files of a revision, as the compiler asks for them.

use std::collections::HashMap;

use bytes::Bytes;
use chassis::context::Context;
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    build_input::{ReadContents, batches, lists, parts, tree_file},
    compile::TreeFile,
    error::ErrorCode,
    project_storage::{GetPreviewTreeRequest, ListFilesRequest, ReadFilesRequest, ReadPreviewContentsRequest},
};

use super::{Answer, staged::Staged};
use crate::{
    app::App,
    error::{Failure, fault},
};

/// Paths of one request.
const PATHS: usize = 200;

/// What gives access to the files.
pub(crate) enum Access<'a> {
    /// The capability of a preview.
    Capability(String),
    /// They are those of a running turn. The revision is empty.
    Turn(&'a Staged),
    /// The caller is a member of the project.
    Project(String),
}

/// The files of one revision, or of a running turn.
pub(crate) struct Source<'a> {
    app: &'a App,
    context: Context,
    access: Access<'a>,
    revision: String,
    files: Vec<TreeFile>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(app: &'a App, context: Context, access: Access<'a>, revision: String) -> Self {
        Self { app, context, access, revision, files: Vec::new() }
    }

    /// The files of the revision. They are listed once.
    pub(crate) async fn files(&mut self) -> Result<&[TreeFile], Failure> {
        if self.files.is_empty() {
            self.files = self.list().await?;
        }
        Ok(&self.files)
    }

    /// Sends the list of files.
    pub(crate) async fn send_tree<M: Answer>(&mut self, messages: &mut mpsc::Sender<M>) -> Result<(), Failure> {
        for list in lists(self.files().await?.to_vec()) {
            send(messages, M::files(list)).await;
        }
        Ok(())
    }

    /// Sends contents in the order of their ids. At most a batch of them is in memory.
    pub(crate) async fn send_contents<M: Answer>(&self, ids: Vec<String>, messages: &mut mpsc::Sender<M>) -> Result<(), Failure> {
        let sizes: HashMap<String, u64> = self.files.iter().map(|file| (file.blob_id.clone(), file.size)).collect();
        for batch in batches(ids, &sizes) {
            let contents = self.read(&batch).await?;
            for (id, content) in batch.iter().zip(contents) {
                for part in parts(id, content) {
                    send(messages, M::content(part)).await;
                }
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<TreeFile>, Failure> {
        let (mut projects, revision) = (self.app.upstream.projects(), self.revision.clone());
        let listed = match &self.access {
            Access::Capability(capability) => {
                let request = GetPreviewTreeRequest { capability: capability.clone(), revision };
                projects.get_preview_tree(self.context.request(request)).await?.into_inner().files
            }
            Access::Turn(staged) => return Ok(staged.files()),
            Access::Project(project_id) => {
                let request = ListFilesRequest { project_id: project_id.clone(), revision };
                projects.list_files(self.context.request(request)).await?.into_inner().files
            }
        };
        Ok(listed.into_iter().filter_map(tree_file).collect())
    }

    /// The contents of a batch, in its order.
    async fn read(&self, batch: &[String]) -> Result<Vec<Bytes>, Failure> {
        match &self.access {
            Access::Capability(capability) => {
                let request = ReadPreviewContentsRequest {
                    capability: capability.clone(),
                    revision: self.revision.clone(),
                    blob_ids: batch.to_vec(),
                };
                Ok(self.app.upstream.projects().read_preview_contents(self.context.request(request)).await?.into_inner().contents)
            }
            Access::Turn(staged) => staged.contents(self.app, self.context.clone(), batch.to_vec()).await,
            Access::Project(project_id) => {
                let known: HashMap<&str, &str> = self.files.iter().map(|file| (file.blob_id.as_str(), file.path.as_str())).collect();
                let paths: Option<Vec<&str>> = batch.iter().map(|id| known.get(id.as_str()).copied()).collect();
                let paths = paths.ok_or_else(|| incomplete("the compiler asked for a content that the tree does not have"))?;
                self.read_paths(project_id, &paths).await
            }
        }
    }

    async fn read_paths(&self, project_id: &str, paths: &[&str]) -> Result<Vec<Bytes>, Failure> {
        let mut contents = ReadContents::default();
        for some in paths.chunks(PATHS) {
            let paths = some.iter().map(|path| (*path).to_owned()).collect();
            let request = ReadFilesRequest { project_id: project_id.to_owned(), revision: self.revision.clone(), paths };
            let mut messages = self.app.upstream.project_streams().read_files(self.context.stream_request(request)).await?.into_inner();
            while let Some(message) = messages.message().await? {
                contents.add(message);
            }
        }
        contents.finish(paths).ok_or_else(|| incomplete("project-storage has not sent all files"))
    }
}

/// Sends a part of the answer. If the call has ended, its error arrives with the next question.
async fn send<M: Answer>(messages: &mut mpsc::Sender<M>, message: M) {
    let _ = messages.send(message).await;
}

fn incomplete(text: &str) -> Failure {
    fault(ErrorCode::Internal, "INTERNAL", text).into()
}
