//! The check of a revision, for a person who may read the project.

use bytes::Bytes;
use chassis::context::Context;
use futures::{FutureExt as _, future::BoxFuture};
use proto::{
    build_input::{ReadContents, tree_file},
    error::{ErrorCode, Fault},
    id::ProjectId,
    project_storage::ReadFilesRequest,
};

use super::{conversation, dialogue::Contents, findings::Checks, tree::SourceTree};
use crate::{
    error::{Error, SERVICE},
    upstream::{Upstream, fault},
};

/// Paths of one request.
const PATHS: usize = 200;

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
        async move {
            let mut contents = ReadContents::default();
            for paths in paths.chunks(PATHS) {
                self.read_some(paths, &mut contents).await?;
            }
            let ordered = contents.finish(paths);
            ordered.ok_or_else(|| Fault::new(SERVICE, ErrorCode::Internal, "INTERNAL", "project-storage has not sent all files"))
        }
        .boxed()
    }
}

impl RevisionFiles<'_> {
    async fn read_some(&self, paths: &[&str], contents: &mut ReadContents) -> Result<(), Fault> {
        let request = ReadFilesRequest {
            project_id: self.project.to_string(),
            revision: self.revision.to_owned(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let mut stream = self.upstream.read_files(self.context, request).await?;
        while let Some(message) = stream.message().await.map_err(|status| fault(&status))? {
            contents.add(message);
        }
        Ok(())
    }
}
