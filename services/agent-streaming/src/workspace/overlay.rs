//! The staged tree of a turn: the base revision with what the tools did to it. It is consistent after every step, so whatever
//! stands when the model stops can be committed; what the tools may not do is refused here and changes nothing.

mod clash;
mod limit;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use proto::{
    error::Fault,
    project_storage::{
        DeleteFile, File, FileChange, FileContent, FileEntry, FileKind, ProjectLimits, RenameFile, file_change::Action, file_content::Data,
    },
};

/// How much base content is kept for the next reader.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Reads the base revision.
pub(crate) trait BaseFiles: Send + Sync {
    /// Files in any order; a path that is absent is left out.
    fn read<'a>(&'a self, paths: &'a [String]) -> BoxFuture<'a, Result<Vec<File>, BaseError>>;
}

/// The base revision could not be read. Nothing that the model can help.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the base files could not be read")]
pub(crate) struct BaseError(#[source] pub Fault);

/// Why a step was not taken: the words of `tool.failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Stable, upper-case.
    pub reason: &'static str,
    /// One sentence for the model and for people.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a file holds. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Text(Arc<str>),
    Binary(Bytes),
}

impl Content {
    fn of(file: File) -> Self {
        match file.content.and_then(|content| content.data) {
            Some(Data::Text(text)) => Self::Text(text.into()),
            Some(Data::Binary(bytes)) => Self::Binary(bytes),
            None => Self::Text("".into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn wire(&self) -> FileContent {
        let data = match self {
            Self::Text(text) => Data::Text(text.to_string()),
            Self::Binary(bytes) => Data::Binary(bytes.clone()),
        };
        FileContent { data: Some(data) }
    }
}

/// A file of the base revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BaseFile {
    size: u32,
    etag: String,
}

/// Where the content of a staged file is.
#[derive(Debug, Clone)]
enum Node {
    /// As in the base, at the same path.
    Base,
    /// That of a base file at another path; held, since the move may have to become a write.
    Moved {
        from: String,
        content: Content,
    },
    Written(Arc<str>),
}

/// The staged tree.
#[derive(Debug, Clone)]
pub(crate) struct Overlay {
    base: BTreeMap<String, BaseFile>,
    files: BTreeMap<String, (Node, u32)>,
    limits: ProjectLimits,
    cache: HashMap<String, Content>,
    cached_bytes: usize,
}

impl Overlay {
    /// Folders among the entries are left out. A limit of 0 is no limit.
    #[must_use]
    pub(crate) fn new(base: Vec<FileEntry>, limits: ProjectLimits) -> Self {
        let base: BTreeMap<_, _> = base
            .into_iter()
            .filter(|entry| entry.kind() != FileKind::Folder)
            .map(|entry| (entry.path, BaseFile { size: entry.size_bytes, etag: entry.etag }))
            .collect();
        let files = base.iter().map(|(path, file)| (path.clone(), (Node::Base, file.size))).collect();
        Self { base, files, limits, cache: HashMap::new(), cached_bytes: 0 }
    }

    /// Every staged file with its size, sorted by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, u32)> {
        self.files.iter().map(|(path, (_, size))| (path.as_str(), *size))
    }

    /// The size of a staged file; `None` if there is none.
    #[must_use]
    pub(crate) fn size(&self, path: &str) -> Option<u32> {
        self.files.get(path).map(|(_, size)| *size)
    }

    /// The contents of staged files, in the order asked; absent ones are left out.
    ///
    /// # Errors
    /// The base could not be read.
    pub(crate) async fn read(&mut self, base: &dyn BaseFiles, paths: &[&str]) -> Result<Vec<(String, Content)>, BaseError> {
        let at_base = |path: &&str| matches!(self.files.get(*path), Some((Node::Base, _)));
        let wanted: Vec<String> = paths.iter().filter(|path| at_base(path)).map(|path| (*path).to_owned()).collect();
        let mut fetched = self.base_contents(base, wanted).await?;
        let contents = paths.iter().filter_map(|path| {
            let content = match &self.files.get(*path)?.0 {
                Node::Base => fetched.remove(*path).or_else(|| self.cache.get(*path).cloned())?,
                Node::Moved { content, .. } => content.clone(),
                Node::Written(text) => Content::Text(Arc::clone(text)),
            };
            Some(((*path).to_owned(), content))
        });
        Ok(contents.collect())
    }

    /// Base files that are not cached yet, as far as they exist; keeps what fits.
    async fn base_contents(&mut self, base: &dyn BaseFiles, mut paths: Vec<String>) -> Result<HashMap<String, Content>, BaseError> {
        paths.retain(|path| !self.cache.contains_key(path));
        paths.dedup();
        if paths.is_empty() {
            return Ok(HashMap::new());
        }
        let fetched: HashMap<_, _> = base.read(&paths).await?.into_iter().map(|file| (file.path.clone(), Content::of(file))).collect();
        for (path, content) in &fetched {
            if self.cached_bytes + content.len() <= CACHE_BYTES {
                self.cached_bytes += content.len();
                self.cache.insert(path.clone(), content.clone());
            }
        }
        Ok(fetched)
    }

    /// Creates or replaces a file. Writing what the base holds takes the change back.
    ///
    /// # Errors
    /// The base could not be read, or (inside) the step is refused.
    pub(crate) async fn write(&mut self, base: &dyn BaseFiles, path: &str, text: &str) -> Result<Result<(), Refusal>, BaseError> {
        if let Err(refusal) = self.may_put(path, text.len(), None) {
            return Ok(Err(refusal));
        }
        let node = self.written(base, path, text.into()).await?;
        self.put(path, node, text.len());
        Ok(Ok(()))
    }

    /// A file's new text, unless it is what the base holds there. Only content of the same size can be equal, so most writes
    /// need not read.
    async fn written(&mut self, base: &dyn BaseFiles, path: &str, text: Arc<str>) -> Result<Node, BaseError> {
        if self.base.get(path).is_none_or(|file| file.size as usize != text.len()) {
            return Ok(Node::Written(text));
        }
        let mut fetched = self.base_contents(base, vec![path.to_owned()]).await?;
        let old = fetched.remove(path).or_else(|| self.cache.get(path).cloned());
        Ok(if old == Some(Content::Text(Arc::clone(&text))) { Node::Base } else { Node::Written(text) })
    }

    /// Removes a file.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn delete(&mut self, path: &str) -> Result<(), Refusal> {
        if !self.files.contains_key(path) {
            return Err(self.not_found(path));
        }
        let mut after = self.clone_names();
        after.remove(path);
        self.may_change(&after)?;
        self.files.remove(path);
        Ok(())
    }

    /// Moves a file to a path where none is.
    ///
    /// # Errors
    /// The base could not be read, or (inside) the step is refused.
    pub(crate) async fn rename(&mut self, base: &dyn BaseFiles, path: &str, new_path: &str) -> Result<Result<(), Refusal>, BaseError> {
        let Some((node, size)) = self.files.get(path).cloned() else { return Ok(Err(self.not_found(path))) };
        if self.files.contains_key(new_path) {
            return Ok(Err(Refusal::new("FILE_EXISTS", format!("{new_path} exists; delete it first or choose another name"))));
        }
        if let Err(refusal) = self.may_put(new_path, size as usize, Some(path)) {
            return Ok(Err(refusal));
        }
        let node = match node {
            Node::Base => {
                let Some((_, content)) = self.read(base, &[path]).await?.pop() else { return Ok(Err(self.not_found(path))) };
                Node::Moved { from: path.to_owned(), content }
            }
            Node::Moved { from, .. } if from == new_path => Node::Base,
            moved @ Node::Moved { .. } => moved,
            Node::Written(text) => self.written(base, new_path, text).await?,
        };
        self.files.remove(path);
        self.put(new_path, node, size as usize);
        Ok(Ok(()))
    }

    fn put(&mut self, path: &str, node: Node, size: usize) {
        // Checked against the limit of a file, which is a u32.
        self.files.insert(path.to_owned(), (node, u32::try_from(size).unwrap_or(u32::MAX)));
    }

    /// That a path is absent, with the nearest one that is not.
    pub(crate) fn not_found(&self, path: &str) -> Refusal {
        let name = path.rsplit('/').next().unwrap_or(path);
        let hint = self.files.keys().find(|known| known.eq_ignore_ascii_case(path) || known.rsplit('/').next() == Some(name));
        let hint = hint.map_or_else(String::new, |known| format!("; there is {known}"));
        Refusal::new("FILE_NOT_FOUND", format!("there is no file {path}{hint}"))
    }

    /// The net change set against the base: deletions, renames, writes, each sorted by path. Applied in this order it meets no
    /// taken path on its way. What is as in the base is left out.
    #[must_use]
    pub(crate) fn changes(&self) -> Vec<FileChange> {
        let mut gone: BTreeSet<&str> = self.base.keys().map(String::as_str).filter(|path| !self.files.contains_key(*path)).collect();
        let (mut renames, mut writes) = (Vec::new(), Vec::new());
        for (path, (node, _)) in &self.files {
            match node {
                Node::Base => {}
                Node::Moved { from, .. } if self.same_as_base(path, from) => {}
                Node::Moved { from, .. } if gone.contains(from.as_str()) && self.is_free_throughout(path, from) => {
                    gone.remove(from.as_str());
                    renames.push(change(from, Action::Rename(RenameFile { new_path: path.clone() })));
                }
                Node::Moved { content, .. } => writes.push(change(path, Action::Write(content.wire()))),
                Node::Written(text) => writes.push(change(path, Action::Write(Content::Text(Arc::clone(text)).wire()))),
            }
        }
        renames.sort_by(|a, b| a.path.cmp(&b.path));
        gone.into_iter().map(|path| change(path, Action::Delete(DeleteFile {}))).chain(renames).chain(writes).collect()
    }

    /// A file that was moved onto the path of one with the same content.
    fn same_as_base(&self, path: &str, from: &str) -> bool {
        let etag = |path: &str| self.base.get(path).map(|file| file.etag.as_str()).filter(|etag| !etag.is_empty());
        etag(path).is_some() && etag(path) == etag(from)
    }

    /// Whether no other base file stands in the way of a path: then a rename to it needs no order among the steps.
    fn is_free_throughout(&self, path: &str, from: &str) -> bool {
        let others = self.base.keys().map(String::as_str).filter(|other| *other != from);
        clash::find(path, others).is_none() && !self.base.contains_key(path)
    }
}

fn change(path: &str, action: Action) -> FileChange {
    FileChange { path: path.to_owned(), action: Some(action), etag: String::new() }
}

#[cfg(test)]
pub(crate) mod tests;
