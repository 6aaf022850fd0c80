//! The check of a revision, for a person who may read the project.

use bytes::Bytes;
use chassis::context::Context;
use futures::{FutureExt as _, future::BoxFuture};
use proto::{build_input::tree_file, error::Fault, id::ProjectId};

use super::{conversation, dialogue::Contents, findings::Checks, tree::SourceTree};
use crate::{error::Error, upstream::Upstream};

/// Checks a revision, or the head. Returns the id of the revision, too.
///
/// # Errors
/// Those of project-storage if the files cannot be listed.
pub(crate) async fn check(upstream: &Upstream, context: &Context, project: ProjectId, revision: String) -> Result<(String, Checks), Error> {
    let user = context.user()?.id;
    let listed = upstream.list_files(context, project, revision).await?;
    let files = listed.files.into_iter().filter_map(tree_file).map(|file| (file.path, file.blob_id, file.size));
    let tree = SourceTree::new(files);
    if !tree.is_checked() {
        return Ok((listed.revision, Checks::NoSources));
    }
    let mut contents = RevisionFiles { upstream, context, project, revision: &listed.revision };
    let found = conversation::findings(upstream, &tree, user, &mut contents).await;
    Ok((listed.revision.clone(), Checks::of(found)))
}

/// The files of a revision, as its reader may see them.
struct RevisionFiles<'a> {
    upstream: &'a Upstream,
    context: &'a Context,
    project: ProjectId,
    revision: &'a str,
}

impl Contents for RevisionFiles<'_> {
    fn read<'a>(&'a mut self, paths: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Bytes>, Fault>> {
        self.upstream.read_files(self.context, self.project, self.revision, paths).boxed()
    }
}
