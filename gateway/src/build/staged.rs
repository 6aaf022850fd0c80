//! The files of a running turn, which agent-streaming has. Project-storage says whether the capability of the preview may show them.

use bytes::Bytes;
use chassis::context::Context;
use proto::{
    agent_streaming::{GetStagedTreeRequest, GetStagedTreeResponse, ReadStagedContentsRequest},
    compile::TreeFile,
    id::TurnId,
    project_storage::{StagedPreview, StagedPreviewFile},
};

use crate::{app::App, edge::request::RequestInfo, error::Failure};

/// The files after an event of the turn.
pub(crate) struct Staged {
    turn: TurnId,
    tree: GetStagedTreeResponse,
}

/// The files of a turn that runs now.
pub(crate) async fn open(app: &App, info: &RequestInfo, turn: TurnId) -> Result<Staged, Failure> {
    let request = GetStagedTreeRequest { turn_id: turn.to_string() };
    let tree = app.upstream.agents().get_staged_tree(info.context(None).request(request)).await?.into_inner();
    Ok(Staged { turn, tree })
}

impl Staged {
    /// The files as project-storage reads them in place of a revision.
    pub(crate) fn preview(&self) -> StagedPreview {
        let file = |file: TreeFile| StagedPreviewFile {
            path: file.path,
            blob_id: file.blob_id,
            size_bytes: u32::try_from(file.size).unwrap_or(u32::MAX),
        };
        let files = self.files().into_iter().map(file).collect();
        StagedPreview { project_id: self.tree.project_id.clone(), tree_id: self.tree.tree_id.clone(), files }
    }

    pub(crate) fn files(&self) -> Vec<TreeFile> {
        let file = |file: &proto::agent_streaming::StagedFile| TreeFile {
            path: file.path.clone(),
            blob_id: file.etag.trim_matches('"').to_owned(),
            size: file.size_bytes.into(),
        };
        self.tree.files.iter().map(file).collect()
    }

    /// Contents in the order of their ids.
    pub(crate) async fn contents(&self, app: &App, context: Context, blob_ids: Vec<String>) -> Result<Vec<Bytes>, Failure> {
        let request = ReadStagedContentsRequest { turn_id: self.turn.to_string(), seq: self.tree.seq, blob_ids };
        Ok(app.upstream.agents().read_staged_contents(context.request(request)).await?.into_inner().contents)
    }
}
