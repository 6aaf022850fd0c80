//! The check of the staged files of a turn.

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    error::{ErrorCode, Fault},
    id::UserId,
    layout,
};

use super::{
    conversation,
    dialogue::Contents,
    findings::{self, Checks},
    tree::SourceTree,
};
use crate::{
    error::SERVICE,
    upstream::Upstream,
    workspace::overlay::{BaseError, BaseFiles, Overlay},
};

/// Checks staged files. Findings that the base revision does not have are marked as new.
pub(crate) async fn check(upstream: &Upstream, user: UserId, overlay: &mut Overlay, base: &dyn BaseFiles) -> Checks {
    let staged = tree(upstream, user, overlay, base).await;
    let Checks::Found(mut found) = staged else { return staged };
    if found.is_empty() {
        return Checks::Found(found);
    }
    match tree(upstream, user, &mut overlay.unchanged(), base).await {
        Checks::Found(before) => findings::mark_new(&mut found, &before, &overlay.origins()),
        Checks::NoSources => findings::mark_new(&mut found, &[], &overlay.origins()),
        Checks::Unavailable => return Checks::Unavailable,
    }
    Checks::Found(found)
}

async fn tree(upstream: &Upstream, user: UserId, overlay: &mut Overlay, base: &dyn BaseFiles) -> Checks {
    // Names are enough to decide, and contents are hashed only if they are checked.
    if !layout::is_checked(overlay.files().map(|(path, _)| path)) {
        return Checks::NoSources;
    }
    let tree = SourceTree::new(overlay.blobs());
    Checks::of(conversation::findings(upstream, &tree, user, &mut StagedFiles { overlay, base }).await)
}

/// The staged files of a turn.
pub(crate) struct StagedFiles<'a> {
    pub(crate) overlay: &'a mut Overlay,
    pub(crate) base: &'a dyn BaseFiles,
}

impl Contents for StagedFiles<'_> {
    fn read<'a>(&'a mut self, paths: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Bytes>, Fault>> {
        async move {
            let read = self.overlay.bytes(self.base, paths).await.map_err(|BaseError(fault)| fault)?;
            read.ok_or_else(|| Fault::new(SERVICE, ErrorCode::Unavailable, "UNAVAILABLE", "project-storage has not sent all files"))
        }
        .boxed()
    }
}
