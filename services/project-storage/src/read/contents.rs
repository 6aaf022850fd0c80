//! Many files of one revision, whose contents are read while they are sent.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use chassis::{context::Context, share::Share};
use prost::bytes::Bytes;
use proto::id::{ProjectId, UserId};

use crate::{
    commit::upload::UploadSlots,
    error::Error,
    git::{Entry, FileRef, Folder, Oid},
    model::{limits::CHUNK_BYTES, path::FilePath, project::StoreId},
    read::{
        blob::BlobReader,
        checkout::{self, Checkout},
        load::LoadSlots,
        objects::Objects,
    },
};

/// Bytes of the contents that are read together. A batch has one file at least.
const BATCH_BYTES: u64 = 1024 * 1024;
/// Files that are read together.
const BATCH_FILES: usize = 500;
/// Paths of one request.
pub(crate) const MAX_PATHS: usize = 200;

/// What to read, and for whom.
pub(crate) struct Query {
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    /// `None` for the head.
    pub(crate) revision: Option<Oid>,
    /// Files and folders; empty for all files.
    pub(crate) paths: Vec<FilePath>,
}

/// Files that are open for reading.
pub(crate) struct Contents {
    /// `None` in a project without files.
    pub(crate) revision: Option<Oid>,
    /// The paths of the query that the tree does not have.
    pub(crate) missing: Vec<String>,
    pub(crate) body: ContentsBody,
}

/// Opens files, if the user may read the project. The first small files are read at once, so a request that finds no slot is refused before
/// its stream begins.
pub(crate) async fn open(
    objects: &Objects,
    (slots, loads): (&UploadSlots, &LoadSlots),
    context: &Context,
    query: Query,
) -> Result<Contents, Error> {
    let Query { user, project, revision, paths } = query;
    let Checkout { project, revision, tree } = checkout::for_user(objects, user, project, revision).await?;
    let slot = slots.take_download(context)?;
    let _working = loads.take(context).await?;
    let (files, missing) = if paths.is_empty() { (tree.walk_files(), Vec::new()) } else { select(&tree, &paths) };
    let mut body = ContentsBody { store: project.store, files: files.into(), ready: VecDeque::new(), reader: None, _slot: slot };
    body.read_batch(objects).await?;
    Ok(Contents { revision: revision.map(|revision| revision.id), missing, body })
}

/// The files at the paths and below them, each once, and the paths that the tree does not have.
fn select(tree: &Arc<Folder>, paths: &[FilePath]) -> (Vec<(String, FileRef)>, Vec<String>) {
    let (mut files, mut missing, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let named: HashSet<&str> = paths.iter().map(FilePath::as_str).collect();
    let is_below = |path: &str| path.match_indices('/').any(|(end, _)| named.contains(&path[..end]));
    // What is below another path is found there, so that no file is visited twice.
    for path in paths.iter().filter(|path| !is_below(path.as_str()) || tree.get(path.as_str()).is_none()) {
        if !seen.insert(path.as_str()) {
            continue;
        }
        let found = match tree.get(path.as_str()) {
            Some(Entry::File(file)) => vec![(path.to_string(), *file)],
            Some(Entry::Folder(folder)) => folder.walk_files().into_iter().map(|(below, file)| (format!("{path}/{below}"), file)).collect(),
            None => {
                missing.push(path.to_string());
                continue;
            }
        };
        files.extend(found);
    }
    missing.sort_unstable();
    missing.dedup();
    (files, missing)
}

/// A part of the files.
pub(crate) enum Part {
    /// The next file, with the beginning of its content.
    File { path: String, file: FileRef, data: Bytes },
    /// The next bytes of the file.
    Data(Bytes),
}

/// The contents. They are read as they are asked for, so that a slow reader costs one batch, or one chunk of a large file.
pub(crate) struct ContentsBody {
    store: StoreId,
    /// The files that are not read yet.
    files: VecDeque<(String, FileRef)>,
    /// Files that were read and not returned yet.
    ready: VecDeque<Part>,
    /// The large file that is being read.
    reader: Option<BlobReader>,
    /// Held until the body is dropped.
    _slot: Share,
}

impl ContentsBody {
    /// The next part; `None` after the last one.
    pub(crate) async fn next(&mut self, objects: &Objects, slots: &LoadSlots, context: &Context) -> Result<Option<Part>, Error> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Ok(Some(part));
            }
            if let Some(reader) = &mut self.reader {
                if let Some(data) = reader.next(objects).await? {
                    return Ok(Some(Part::Data(data)));
                }
                self.reader = None;
            }
            let Some((_, first)) = self.files.front() else { return Ok(None) };
            if first.size as usize > CHUNK_BYTES {
                self.open_large(objects).await?;
            } else {
                let _working = slots.take_next(context).await?;
                self.read_batch(objects).await?;
            }
        }
    }

    /// Reads the next small files; none if the next file is large.
    async fn read_batch(&mut self, objects: &Objects) -> Result<(), Error> {
        let batch = self.next_batch();
        let files: Vec<FileRef> = batch.iter().map(|(_, file)| *file).collect();
        let contents = objects.contents(self.store, &files).await?;
        let part = |(path, file): (String, FileRef)| Some(Part::File { path, file, data: contents.get(&file.oid)?.clone() });
        self.ready = batch.into_iter().filter_map(part).collect();
        Ok(())
    }

    async fn open_large(&mut self, objects: &Objects) -> Result<(), Error> {
        let Some((path, file)) = self.files.pop_front() else { return Ok(()) };
        let mut reader = BlobReader::open(objects, self.store, file, 0..file.size).await?;
        let data = reader.next(objects).await?.unwrap_or_default();
        self.ready.push_back(Part::File { path, file, data });
        self.reader = Some(reader);
        Ok(())
    }

    fn next_batch(&mut self) -> Vec<(String, FileRef)> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some((_, file)) = self.files.front() {
            bytes += u64::from(file.size);
            if file.size as usize > CHUNK_BYTES || !batch.is_empty() && (bytes > BATCH_BYTES || batch.len() == BATCH_FILES) {
                break;
            }
            batch.extend(self.files.pop_front());
        }
        batch
    }
}
