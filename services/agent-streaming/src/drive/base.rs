//! The base revision of a turn, read from project-storage.

use std::time::Duration;

use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    error::Fault,
    id::TurnId,
    project_storage::{File, GetTurnTreeResponse, ReadTurnFilesRequest},
};

use crate::{
    turn::Turn,
    upstream::{Upstream, retry_until_answered},
    workspace::overlay::{BaseError, BaseFiles},
};

/// How long a turn retries a read from project-storage.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The tree of a revision, or of the head, for a turn. A transient fault is retried for `timeout`.
pub(super) async fn tree(upstream: &Upstream, turn: &Turn, revision: &str, timeout: Duration) -> Result<GetTurnTreeResponse, Fault> {
    retry_until_answered(Some(timeout), || upstream.tree(turn.id, revision)).await
}

/// The tree that a turn has started with. A transient fault is retried for `timeout`.
///
/// # Errors
/// The fault of project-storage.
pub(crate) async fn started_tree(upstream: &Upstream, turn: &Turn, timeout: Duration) -> Result<GetTurnTreeResponse, Fault> {
    let tree = tree(upstream, turn, &turn.base_revision, timeout).await?;
    if turn.base_revision.is_empty() {
        // The project had no revision when the turn started. The tree may be that of a newer head, so its files are ignored.
        return Ok(GetTurnTreeResponse { revision: String::new(), files: Vec::new(), ..tree });
    }
    Ok(tree)
}

/// Reads files of the base revision.
#[derive(Clone)]
pub(crate) struct TurnFiles {
    pub(crate) upstream: Upstream,
    pub(crate) turn: TurnId,
    pub(crate) revision: String,
    /// How long a transient fault is retried.
    pub(crate) timeout: Duration,
}

impl TurnFiles {
    async fn request(&self, paths: &[String], any_size: bool) -> Result<Vec<File>, BaseError> {
        let request =
            ReadTurnFilesRequest { turn_id: self.turn.to_string(), revision: self.revision.clone(), paths: paths.to_vec(), any_size };
        retry_until_answered(Some(self.timeout), || self.upstream.files(request.clone())).await.map_err(BaseError)
    }
}

impl BaseFiles for TurnFiles {
    fn read<'a>(&'a self, paths: &'a [String]) -> BoxFuture<'a, Result<Vec<File>, BaseError>> {
        self.request(paths, false).boxed()
    }

    fn read_large<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<File>, BaseError>> {
        async move { Ok(self.request(&[path.to_owned()], true).await?.pop()) }.boxed()
    }
}
