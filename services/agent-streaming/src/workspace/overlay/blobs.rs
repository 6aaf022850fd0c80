//! The staged files as the contents that they have.

use std::collections::HashMap;

use bytes::Bytes;
use chassis::git_id::blob_id;

use super::{BaseError, BaseFiles, Content, Node, Overlay};

/// Bytes of an entry without its path and its content.
const FILE_BYTES: usize = 128;

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

    /// The bytes of memory that the overlay holds, about.
    pub(crate) fn held_bytes(&self) -> usize {
        let paths: usize = self.base.keys().chain(self.files.keys()).map(|path| path.len() + FILE_BYTES).sum();
        let contents = self.files.values().map(|(node, _)| match node {
            Node::Base => 0,
            Node::Moved { from, content } => from.len() + content.len(),
            Node::Written(text) => text.len(),
        });
        let moved: usize = self.moved.iter().map(|(path, origin)| path.len() + origin.len() + FILE_BYTES).sum();
        paths + contents.sum::<usize>() + moved + self.cached_bytes + self.cache.len() * FILE_BYTES
    }

    /// The content of a staged file above the limit of texts, which no tool has changed. `None` if there is no such file.
    ///
    /// # Errors
    /// The base could not be read.
    async fn read_large(&self, base: &dyn BaseFiles, path: &str) -> Result<Option<Content>, BaseError> {
        let at = match self.files.get(path) {
            Some((Node::Base, _)) => path,
            Some((Node::Moved { from, .. }, _)) => from,
            Some((Node::Written(_), _)) | None => return Ok(None),
        };
        Ok(base.read_large(at).await?.map(Content::of).filter(|content| *content != Content::Asset))
    }

    /// The bytes of staged files of any size, in the order of the paths. `None` if one of them is missing.
    ///
    /// # Errors
    /// The base could not be read.
    pub(crate) async fn bytes(&mut self, base: &dyn BaseFiles, paths: &[&str]) -> Result<Option<Vec<Bytes>>, BaseError> {
        let read: HashMap<String, Content> = self.read(base, paths).await?.into_iter().collect();
        let mut contents = Vec::new();
        for path in paths {
            let large = match read.get(*path) {
                Some(Content::Asset) => self.read_large(base, path).await?,
                _ => None,
            };
            contents.push(match large.as_ref().or(read.get(*path)) {
                Some(Content::Text(text)) => Bytes::copy_from_slice(text.as_bytes()),
                Some(Content::Binary(bytes)) => bytes.clone(),
                Some(Content::Asset) | None => return Ok(None),
            });
        }
        Ok(Some(contents))
    }

    /// The paths in the base of files that are somewhere else now: those that were renamed, and those that were written again with the same
    /// content and deleted.
    pub(crate) fn origins(&self) -> HashMap<String, String> {
        let mut gone: HashMap<&str, &str> = HashMap::new();
        for (path, file) in self.base.iter().filter(|(path, _)| !self.files.contains_key(*path)) {
            gone.insert(file.etag.trim_matches('"'), path);
        }
        let is_new = |path: &str| !self.base.contains_key(path);
        let copied =
            self.blobs().filter(|(path, ..)| is_new(path)).filter_map(|(path, id, _)| Some((path, (*gone.get(id.as_str())?).to_owned())));
        let renamed = self.moved.iter().map(|(path, origin)| (path.clone(), origin.clone()));
        copied.chain(renamed).collect()
    }

    /// Whether the base revision has no file with this content at this path. `id` is that of [`Overlay::blobs`].
    pub(crate) fn is_changed(&self, path: &str, id: &str) -> bool {
        self.base.get(path).is_none_or(|file| file.etag.trim_matches('"') != id)
    }

    /// The base revision without the changes of the turn.
    #[must_use]
    pub(crate) fn unchanged(&self) -> Self {
        let files = self.base.iter().map(|(path, file)| (path.clone(), (Node::Base, file.size))).collect();
        Self { files, ..self.clone() }
    }
}
