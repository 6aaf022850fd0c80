//! The check of the staged files of a turn.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    error::{ErrorCode, Fault},
    id::UserId,
    layout,
};

use super::{
    conversation::{self, Contents},
    findings::{self, Checks},
    tree::SourceTree,
};
use crate::{
    error::SERVICE,
    upstream::Upstream,
    workspace::overlay::{BaseError, BaseFiles, Content, Overlay},
};

/// Checks staged files. Findings that the base revision does not have are marked as new.
pub(crate) async fn check(upstream: &Upstream, user: UserId, overlay: &mut Overlay, base: &dyn BaseFiles) -> Checks {
    let staged = tree(upstream, user, overlay, base).await;
    let Checks::Found(mut found) = staged else { return staged };
    if found.is_empty() {
        return Checks::Found(found);
    }
    match tree(upstream, user, &mut overlay.unchanged(), base).await {
        Checks::Found(before) => findings::mark_new(&mut found, &before),
        Checks::NotCompiled => findings::mark_new(&mut found, &[]),
        Checks::Unavailable => return Checks::Unavailable,
    }
    Checks::Found(found)
}

async fn tree(upstream: &Upstream, user: UserId, overlay: &mut Overlay, base: &dyn BaseFiles) -> Checks {
    // Names are enough to decide, and contents are hashed only if they are checked.
    if !layout::is_compiled(overlay.files().map(|(path, _)| path)) {
        return Checks::NotCompiled;
    }
    let tree = SourceTree::new(overlay.blobs());
    Checks::of(conversation::findings(upstream, &tree, user, &mut StagedFiles { overlay, base }).await)
}

struct StagedFiles<'a> {
    overlay: &'a mut Overlay,
    base: &'a dyn BaseFiles,
}

impl Contents for StagedFiles<'_> {
    fn read<'a>(&'a mut self, paths: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Bytes>, Fault>> {
        async move {
            let read = self.overlay.read(self.base, paths).await.map_err(|BaseError(fault)| fault)?;
            let read: HashMap<String, Content> = read.into_iter().collect();
            paths.iter().map(|path| bytes(path, read.get(*path))).collect()
        }
        .boxed()
    }
}

fn bytes(path: &str, content: Option<&Content>) -> Result<Bytes, Fault> {
    match content {
        Some(Content::Text(text)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(Content::Binary(bytes)) => Ok(bytes.clone()),
        Some(Content::Asset) | None => {
            let text = format!("{path} is too large to be read, so the files cannot be checked");
            Err(Fault::new(SERVICE, ErrorCode::Unavailable, "UNAVAILABLE", text))
        }
    }
}
