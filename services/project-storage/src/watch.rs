//! Watching projects: a stream of the new revisions of a project.
//!
//! - [`changes`]: wakes the watchers of all replicas after a change. [`reader`]: the one task that reads new revisions, for all watchers of the
//!   process.
//! - [`watchers`]: who watches, so that the reader can end the streams of those who lost access.
//! - [`follow`]: the stream of one watcher.

pub(crate) mod changes;
pub(crate) mod follow;
pub(crate) mod reader;
pub(crate) mod watchers;

use tokio_util::sync::CancellationToken;

use self::{changes::Changes, watchers::Watchers};
use crate::store::Pool;

/// What the streams of watchers share.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) pool: Pool,
    pub(crate) changes: Changes,
    pub(crate) watchers: Watchers,
    /// Cancelled when the process starts to drain.
    pub(crate) stop: CancellationToken,
}
