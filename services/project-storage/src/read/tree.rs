//! Reading trees and files of a store: from the cache, else from the database with one statement per level of folders.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use prost::bytes::Bytes;

use crate::{
    app::App,
    error::Error,
    git::{Corruption, Entry, FileRef, Folder, Oid, TreeEntry, read_blob, read_tree},
    model::{project::StoreId, revision::Revision},
    store::objects,
};

/// Above this many bytes, encoding and decoding leave the threads that answer requests.
pub(crate) const HEAVY_BYTES: usize = 256 * 1024;

/// The tree of a revision; the empty one where there is none.
pub(crate) async fn at_revision(app: &App, store: StoreId, revision: Option<&Revision>) -> Result<Arc<Folder>, Error> {
    match revision {
        Some(revision) => load(app, store, revision.tree).await,
        None => Ok(Arc::default()),
    }
}

/// A tree by its id.
pub(crate) async fn load(app: &App, store: StoreId, root: Oid) -> Result<Arc<Folder>, Error> {
    if let Some(folder) = app.cache.folder(store, root) {
        return Ok(folder);
    }
    let mut reading = TreeReader { app, store, read: HashMap::new(), known: HashMap::new() };
    let mut level = vec![root];
    while !level.is_empty() {
        level = reading.level(&level).await?;
    }
    let files = reading.read.values().flatten().filter(|entry| !entry.folder).map(|entry| entry.oid);
    let files: Vec<Oid> = files.collect::<HashSet<_>>().into_iter().collect();
    let sizes = if files.is_empty() { Vec::new() } else { objects::sizes(&app.pool, store, &files).await? };
    reading.assemble(root, &sizes.into_iter().collect())
}

/// Folders on their way from the database.
struct TreeReader<'a> {
    app: &'a App,
    store: StoreId,
    read: HashMap<Oid, Vec<TreeEntry>>,
    known: HashMap<Oid, Arc<Folder>>,
}

impl TreeReader<'_> {
    /// Reads one level and answers the ids of the next.
    async fn level(&mut self, ids: &[Oid]) -> Result<Vec<Oid>, Error> {
        let mut next = HashSet::new();
        for row in objects::read(&self.app.pool, self.store, ids).await? {
            let entries = read_tree(row.oid, &row.data)?;
            next.extend(entries.iter().filter(|entry| entry.folder).map(|entry| entry.oid));
            self.read.insert(row.oid, entries);
        }
        if let Some(missing) = ids.iter().find(|id| !self.read.contains_key(*id)) {
            return Err(Corruption::Missing(*missing).into());
        }
        let mut unread = Vec::new();
        for id in next.into_iter().filter(|id| !self.read.contains_key(id)) {
            match self.app.cache.folder(self.store, id) {
                Some(folder) => {
                    self.known.insert(id, folder);
                }
                None => unread.push(id),
            }
        }
        Ok(unread)
    }

    /// Puts the folders together from the bottom and keeps each one.
    fn assemble(&self, id: Oid, sizes: &HashMap<Oid, u32>) -> Result<Arc<Folder>, Error> {
        if let Some(folder) = self.known.get(&id) {
            return Ok(folder.clone());
        }
        let entries = self.read.get(&id).ok_or(Corruption::Missing(id))?;
        let entries = entries.iter().map(|TreeEntry { name, folder, oid }| {
            let entry = if *folder {
                Entry::Folder(self.assemble(*oid, sizes)?)
            } else {
                let size = *sizes.get(oid).ok_or(Corruption::Missing(*oid))?;
                Entry::File(FileRef { oid: *oid, size })
            };
            Ok::<_, Error>((Arc::from(name.as_str()), entry))
        });
        let folder = Arc::new(Folder::from_entries(id, entries.collect::<Result<Vec<_>, _>>()?));
        self.app.cache.put_folder(self.store, &folder);
        Ok(folder)
    }
}

/// The contents of files by their ids, in one statement for all that are not in the cache.
pub(crate) async fn contents(app: &App, store: StoreId, files: &[FileRef]) -> Result<HashMap<Oid, Bytes>, Error> {
    let mut found = HashMap::with_capacity(files.len());
    let mut missing = HashSet::new();
    for file in files {
        match app.cache.content(store, file.oid) {
            Some(content) => {
                found.insert(file.oid, content);
            }
            None => {
                missing.insert(file.oid);
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let missing: Vec<Oid> = missing.into_iter().collect();
    let rows = objects::read(&app.pool, store, &missing).await?;
    let decode = move || -> Result<Vec<(Oid, Bytes)>, Corruption> {
        let content = |row: objects::Row| Ok((row.oid, Bytes::from(read_blob(row.oid, row.tag, row.size, row.data)?)));
        rows.into_iter().map(content).collect()
    };
    let heavy = files.iter().map(|file| file.size as usize).sum::<usize>() > HEAVY_BYTES;
    for (oid, content) in off_thread(heavy, decode).await? {
        app.cache.put_content(store, oid, content.clone());
        found.insert(oid, content);
    }
    match missing.into_iter().find(|oid| !found.contains_key(oid)) {
        Some(oid) => Err(Corruption::Missing(oid).into()),
        None => Ok(found),
    }
}

/// Runs heavy work where it does not hold up other requests.
pub(crate) async fn off_thread<T: Send + 'static>(heavy: bool, work: impl FnOnce() -> T + Send + 'static) -> T {
    if !heavy {
        return work();
    }
    match chassis::task::blocking(work).await {
        Ok(result) => result,
        // The runtime is never shut down under a request, so the work itself panicked; it goes on where panics are handled.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
