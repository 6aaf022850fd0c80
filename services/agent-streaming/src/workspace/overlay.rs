//! The overlay: the staged tree of a turn over its base revision. Every change is checked before it is made, so the tree can be committed
//! at any time. A refused change has no effect.

mod blobs;
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

/// How much base content is cached.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Reads the base revision.
pub(crate) trait BaseFiles: Send + Sync {
    /// Reads files. They may come in any order, and missing files are left out.
    fn read<'a>(&'a self, paths: &'a [String]) -> BoxFuture<'a, Result<Vec<File>, BaseError>>;

    /// Reads a file of any size. `None` if it is missing.
    fn read_large<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<File>, BaseError>>;
}

/// The base revision could not be read. The model cannot fix this, so the turn fails.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the base files could not be read")]
pub(crate) struct BaseError(#[source] pub Fault);

/// Why a change was refused, as in `tool.failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Stable, upper-case.
    pub reason: &'static str,
    /// One sentence for the model and for viewers.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The content of a file. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Text(Arc<str>),
    Binary(Bytes),
    /// A file above the limit of texts. Its content is never read, and it can only be moved or deleted.
    Asset,
}

impl Content {
    fn of(file: File) -> Self {
        match file.content.and_then(|content| content.data) {
            Some(Data::Text(text)) => Self::Text(text.into()),
            Some(Data::Binary(bytes)) => Self::Binary(bytes),
            None if file.size_bytes > 0 => Self::Asset,
            None => Self::Text("".into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Asset => 0,
        }
    }

    /// The content for a change set. An asset has none, and needs none: see [`Overlay::check_asset`].
    fn wire(&self) -> Option<FileContent> {
        let data = match self {
            Self::Text(text) => Data::Text(text.to_string()),
            Self::Binary(bytes) => Data::Binary(bytes.clone()),
            Self::Asset => return None,
        };
        Some(FileContent { data: Some(data) })
    }
}

/// A file of the base revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BaseFile {
    size: u32,
    etag: String,
}

/// The source of a staged file's content.
#[derive(Debug, Clone)]
enum Node {
    /// The base file at the same path.
    Base,
    /// The base file at another path. Its content is kept, because the change set may need a write instead of a rename.
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
    /// The path in the base of each file that was moved, also if it was written since.
    moved: BTreeMap<String, String>,
    /// Files and folders that may not be changed.
    locked: Vec<String>,
    cache: HashMap<String, Content>,
    cached_bytes: usize,
}

impl Overlay {
    /// Ignores folders among the entries. A limit of 0 means no limit.
    #[must_use]
    pub(crate) fn new(base: Vec<FileEntry>, limits: ProjectLimits) -> Self {
        let base: BTreeMap<_, _> = base
            .into_iter()
            .filter(|entry| entry.kind() != FileKind::Folder)
            .map(|entry| (entry.path, BaseFile { size: entry.size_bytes, etag: entry.etag }))
            .collect();
        let files = base.iter().map(|(path, file)| (path.clone(), (Node::Base, file.size))).collect();
        Self { base, files, limits, moved: BTreeMap::new(), locked: Vec::new(), cache: HashMap::new(), cached_bytes: 0 }
    }

    /// The same tree with locked files and folders.
    #[must_use]
    pub(crate) fn with_locked(self, locked: Vec<String>) -> Self {
        Self { locked, ..self }
    }

    /// Every staged file with its size, sorted by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, u32)> {
        self.files.iter().map(|(path, (_, size))| (path.as_str(), *size))
    }

    /// The most bytes of a file that is shown to the model.
    pub(crate) fn text_limit(&self) -> u32 {
        self.limits.file_bytes
    }

    /// The size of a staged file. `None` if it does not exist.
    #[must_use]
    pub(crate) fn size(&self, path: &str) -> Option<u32> {
        self.files.get(path).map(|(_, size)| *size)
    }

    /// The contents of staged files, in the order of the paths. Missing files are left out.
    ///
    /// # Errors
    /// The base could not be read.
    pub(crate) async fn read(&mut self, base: &dyn BaseFiles, paths: &[&str]) -> Result<Vec<(String, Content)>, BaseError> {
        let at_base = |path: &&str| matches!(self.files.get(*path), Some((Node::Base, _)));
        let base_paths: Vec<String> = paths.iter().filter(|path| at_base(path)).map(|path| (*path).to_owned()).collect();
        let mut fetched = self.base_contents(base, base_paths).await?;
        let contents = paths.iter().filter_map(|path| {
            let content = match &self.files.get(*path)?.0 {
                Node::Base if self.is_asset(path) => Content::Asset,
                Node::Base => fetched.remove(*path).or_else(|| self.cache.get(*path).cloned())?,
                Node::Moved { content, .. } => content.clone(),
                Node::Written(text) => Content::Text(Arc::clone(text)),
            };
            Some(((*path).to_owned(), content))
        });
        Ok(contents.collect())
    }

    /// Reads the base files that are not cached yet, and caches those that fit.
    async fn base_contents(&mut self, base: &dyn BaseFiles, mut paths: Vec<String>) -> Result<HashMap<String, Content>, BaseError> {
        paths.retain(|path| !self.cache.contains_key(path) && !self.is_asset(path));
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

    /// Whether the base file at a path is too large for a text.
    fn is_asset(&self, path: &str) -> bool {
        self.limits.file_bytes > 0 && self.base.get(path).is_some_and(|file| file.size > self.limits.file_bytes)
    }

    /// Refuses a change after which the change set would need the content of an asset: one that puts another file where an asset was moved
    /// from, or an asset where the base has another file.
    fn check_asset(&self, path: &str, moved: Option<&str>) -> Result<(), Refusal> {
        let refuse = |problem: String| Err(Refusal::new("FILE_IS_ASSET", problem));
        let left = self.files.iter().find(|(_, (node, _))| matches!(node, Node::Moved { from, content: Content::Asset } if from == path));
        if let Some((new_path, _)) = left.filter(|(new_path, _)| moved != Some(new_path.as_str())) {
            return refuse(format!("{path} was moved to {new_path} in this turn and is too large to be written again; use another path"));
        }
        let Some(moved) = moved else { return Ok(()) };
        let from = match self.files.get(moved) {
            Some((Node::Base, _)) if self.is_asset(moved) => moved,
            Some((Node::Moved { from, content: Content::Asset }, _)) => from,
            _ => return Ok(()),
        };
        if path == from || self.is_free_in_base(path, from) {
            return Ok(());
        }
        refuse(format!("{moved} is too large to be written again, so it can only be moved to a path that was free before this turn"))
    }

    /// Creates or replaces a file. Writing the content of the base file removes the change.
    ///
    /// # Errors
    /// The base could not be read. The inner error: the change is refused.
    pub(crate) async fn write(&mut self, base: &dyn BaseFiles, path: &str, text: &str) -> Result<Result<(), Refusal>, BaseError> {
        let refused = self.check_unlocked(path).and_then(|()| self.check_put(path, text.len(), None));
        if let Err(refusal) = refused.and_then(|()| self.check_asset(path, None)) {
            return Ok(Err(refusal));
        }
        let node = self.written(base, path, text.into()).await?;
        self.put(path, node, text.len());
        Ok(Ok(()))
    }

    /// The node of a written file: `Base` if the base file has the same content. The base is read only if the sizes are equal.
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
    /// The change is refused.
    pub(crate) fn delete(&mut self, path: &str) -> Result<(), Refusal> {
        if !self.files.contains_key(path) {
            return Err(self.not_found(path));
        }
        self.check_unlocked(path)?;
        let mut after = self.clone_names();
        after.remove(path);
        self.check_change_count(&after)?;
        self.files.remove(path);
        self.moved.remove(path);
        Ok(())
    }

    /// Moves a file to a free path.
    ///
    /// # Errors
    /// The base could not be read. The inner error: the change is refused.
    pub(crate) async fn rename(&mut self, base: &dyn BaseFiles, path: &str, new_path: &str) -> Result<Result<(), Refusal>, BaseError> {
        let Some((node, size)) = self.files.get(path).cloned() else { return Ok(Err(self.not_found(path))) };
        if self.files.contains_key(new_path) {
            return Ok(Err(Refusal::new("FILE_EXISTS", format!("{new_path} exists; delete it first or choose another name"))));
        }
        let unlocked = self.check_unlocked(path).and_then(|()| self.check_unlocked(new_path));
        let refused = unlocked.and_then(|()| self.check_put(new_path, size as usize, Some(path)));
        if let Err(refusal) = refused.and_then(|()| self.check_asset(new_path, Some(path))) {
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
        let origin = self.moved.remove(path).or_else(|| self.base.contains_key(path).then(|| path.to_owned()));
        self.moved.extend(origin.map(|origin| (new_path.to_owned(), origin)));
        self.files.remove(path);
        self.put(new_path, node, size as usize);
        Ok(Ok(()))
    }

    fn put(&mut self, path: &str, node: Node, size: usize) {
        // The size was checked against the limit of a file, which is a u32.
        self.files.insert(path.to_owned(), (node, u32::try_from(size).unwrap_or(u32::MAX)));
    }

    fn check_unlocked(&self, path: &str) -> Result<(), Refusal> {
        let Some(lock) = self.locked.iter().find(|lock| proto::path::is_within(path, lock)) else { return Ok(()) };
        let place = if lock == path { String::new() } else { format!(", because the folder {lock} is") };
        Err(Refusal::new("PATH_LOCKED", format!("{path} is locked{place}: agents may not change it; leave it as it is and tell the user")))
    }

    /// The refusal for a missing file. Names a file with a similar path, if there is one.
    pub(crate) fn not_found(&self, path: &str) -> Refusal {
        let name = path.rsplit('/').next().unwrap_or(path);
        let hint = self.files.keys().find(|known| known.eq_ignore_ascii_case(path) || known.rsplit('/').next() == Some(name));
        let hint = hint.map_or_else(String::new, |known| format!("; there is {known}"));
        Refusal::new("FILE_NOT_FOUND", format!("there is no file {path}{hint}"))
    }

    /// The change set against the base: deletions, renames and writes, each sorted by path. In this order no operation needs a path that is
    /// still taken. Unchanged files are left out.
    #[must_use]
    pub(crate) fn changes(&self) -> Vec<FileChange> {
        let mut deleted: BTreeSet<&str> = self.base.keys().map(String::as_str).filter(|path| !self.files.contains_key(*path)).collect();
        let (mut renames, mut writes) = (Vec::new(), Vec::new());
        for (path, (node, _)) in &self.files {
            match node {
                Node::Base => {}
                Node::Moved { from, .. } if self.same_as_base(path, from) => {}
                Node::Moved { from, .. } if deleted.contains(from.as_str()) && self.is_free_in_base(path, from) => {
                    deleted.remove(from.as_str());
                    renames.push(change(from, Action::Rename(RenameFile { new_path: path.clone() })));
                }
                Node::Moved { content, .. } => writes.extend(content.wire().map(|content| change(path, Action::Write(content)))),
                Node::Written(text) => {
                    let data = Some(Data::Text(text.to_string()));
                    writes.push(change(path, Action::Write(FileContent { data })));
                }
            }
        }
        renames.sort_by(|a, b| a.path.cmp(&b.path));
        deleted.into_iter().map(|path| change(path, Action::Delete(DeleteFile {}))).chain(renames).chain(writes).collect()
    }

    /// Whether the base files at both paths have the same content.
    fn same_as_base(&self, path: &str, from: &str) -> bool {
        let etag = |path: &str| self.base.get(path).map(|file| file.etag.as_str()).filter(|etag| !etag.is_empty());
        etag(path).is_some() && etag(path) == etag(from)
    }

    /// Whether no other base file clashes with a path, so that a rename to it does not depend on other operations.
    fn is_free_in_base(&self, path: &str, from: &str) -> bool {
        let others = self.base.keys().map(String::as_str).filter(|other| *other != from);
        clash::find(path, others).is_none() && !self.base.contains_key(path)
    }
}

fn change(path: &str, action: Action) -> FileChange {
    FileChange { path: path.to_owned(), action: Some(action), etag: String::new() }
}

#[cfg(test)]
pub(crate) mod tests;
