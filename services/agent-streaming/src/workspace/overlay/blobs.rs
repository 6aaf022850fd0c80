//! The staged files as the contents that they have.

use chassis::git_id::blob_id;

use super::{Node, Overlay};

impl Overlay {
    /// Every staged file with the id of its content and its size in bytes, sorted by path.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (String, String, u64)> {
        let of_base = |path: &str| self.base.get(path).map(|file| file.etag.trim_matches('"').to_owned()).unwrap_or_default();
        self.files.iter().map(move |(path, (node, size))| {
            let id = match node {
                Node::Base => of_base(path),
                Node::Moved { from, .. } => of_base(from),
                Node::Written(text) => blob_id(text.as_bytes()),
            };
            (path.clone(), id, u64::from(*size))
        })
    }

    /// The base revision without the changes of the turn.
    #[must_use]
    pub(crate) fn unchanged(&self) -> Self {
        let files = self.base.iter().map(|(path, file)| (path.clone(), (Node::Base, file.size))).collect();
        Self { files, ..self.clone() }
    }
}
