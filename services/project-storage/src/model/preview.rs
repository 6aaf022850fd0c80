//! What previews show.

use crate::git::Oid;

/// What a capability shows from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown {
    /// A revision; `None` for the head at the time of each use.
    Revision(Option<Oid>),
    /// What it showed before, and the head if it showed nothing: the caller has other files to show with it.
    Unchanged,
}
