//! Reading trees of a store, whole or along some paths, from the cache or from the database with one statement per level of folders.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    error::Error,
    git::{Corruption, Entry, FileRef, Folder, Oid, TreeEntry, UsedPath, read_tree},
    model::{project::StoreId, revision::Revision},
    read::objects::Objects,
    store::objects,
};

/// The tree of a revision. Without a revision, the empty tree.
pub(crate) async fn at_revision(objects: &Objects, store: StoreId, revision: Option<&Revision>) -> Result<Arc<Folder>, Error> {
    match revision {
        Some(revision) => load(objects, store, revision.tree).await,
        None => Ok(Arc::default()),
    }
}

/// A tree by its id.
///
/// # Errors
/// [`Error::Corruption`] if a part of the tree is missing or damaged.
pub(crate) async fn load(objects: &Objects, store: StoreId, root: Oid) -> Result<Arc<Folder>, Error> {
    if let Some(folder) = objects.cache.folder(store, root) {
        return Ok(folder);
    }
    let mut reader = TreeReader { objects, store, entries: HashMap::new(), cached: HashMap::new() };
    let mut level = vec![root];
    while !level.is_empty() {
        level = reader.read_level(&level).await?;
    }
    let files = reader.entries.values().flatten().filter(|entry| !entry.folder).map(|entry| entry.oid);
    let files: Vec<Oid> = files.collect::<HashSet<_>>().into_iter().collect();
    let sizes = if files.is_empty() { Vec::new() } else { objects::sizes(&objects.pool, store, &files).await? };
    reader.assemble(root, &sizes.into_iter().collect())
}

/// The part of a revision's tree that changes of these paths use. If nobody counted the files of the revision, the whole tree.
///
/// # Errors
/// [`Error::Corruption`] if a folder is missing or damaged.
pub(crate) async fn along(objects: &Objects, store: StoreId, revision: &Revision, paths: &[UsedPath<'_>]) -> Result<Arc<Folder>, Error> {
    let Some(totals) = revision.totals else { return load(objects, store, revision.tree).await };
    let mut root = match objects.cache.any_folder(store, revision.tree) {
        Some(cached) => cached,
        None => {
            let root = read_folders(objects, store, HashSet::from([revision.tree])).await?.remove(&revision.tree);
            let root = Folder::clone(&*root.ok_or(Corruption::Missing(revision.tree))?);
            Arc::new(root.with_totals(totals.files, totals.bytes))
        }
    };
    loop {
        let unread = root.unread_along(paths);
        if unread.is_empty() {
            objects.cache.put_folder(store, &root);
            return Ok(root);
        }
        let read = read_folders(objects, store, unread).await?;
        root = Arc::new(root.with_read(paths, &read));
    }
}

/// Folders by their ids: whole ones from the cache, and the others with folders that are not read.
async fn read_folders(objects: &Objects, store: StoreId, ids: HashSet<Oid>) -> Result<HashMap<Oid, Arc<Folder>>, Error> {
    let (mut found, mut missing) = (HashMap::new(), Vec::new());
    for id in ids {
        match objects.cache.folder(store, id) {
            Some(folder) => drop(found.insert(id, folder)),
            None => missing.push(id),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let mut read = Vec::with_capacity(missing.len());
    for row in objects::read(&objects.pool, store, &missing).await? {
        read.push((row.oid, read_tree(row.oid, &row.data)?));
    }
    let files = read.iter().flat_map(|(_, entries)| entries).filter(|entry| !entry.folder).map(|entry| entry.oid);
    let files: Vec<Oid> = files.collect::<HashSet<_>>().into_iter().collect();
    let sizes = if files.is_empty() { Vec::new() } else { objects::sizes(&objects.pool, store, &files).await? };
    let sizes: HashMap<Oid, u32> = sizes.into_iter().collect();
    for (id, entries) in read {
        let entries = entries.into_iter().map(|TreeEntry { name, folder, oid }| {
            let entry = match folder {
                true => Entry::Folder(Arc::new(Folder::unread(oid))),
                false => Entry::File(FileRef { oid, size: *sizes.get(&oid).ok_or(Corruption::Missing(oid))? }),
            };
            Ok::<_, Error>((Arc::from(name.as_str()), entry))
        });
        found.insert(id, Arc::new(Folder::from_entries(id, entries.collect::<Result<Vec<_>, _>>()?)));
    }
    match missing.into_iter().find(|id| !found.contains_key(id)) {
        Some(id) => Err(Corruption::Missing(id).into()),
        None => Ok(found),
    }
}

/// A tree while it is read.
struct TreeReader<'a> {
    objects: &'a Objects,
    store: StoreId,
    /// The entries of the folders that were read from the database.
    entries: HashMap<Oid, Vec<TreeEntry>>,
    /// The folders that were in the cache.
    cached: HashMap<Oid, Arc<Folder>>,
}

impl TreeReader<'_> {
    /// Reads the folders of one level from the database. Returns the ids of those of the next level.
    async fn read_level(&mut self, ids: &[Oid]) -> Result<Vec<Oid>, Error> {
        let mut next = HashSet::new();
        for row in objects::read(&self.objects.pool, self.store, ids).await? {
            let entries = read_tree(row.oid, &row.data)?;
            next.extend(entries.iter().filter(|entry| entry.folder).map(|entry| entry.oid));
            self.entries.insert(row.oid, entries);
        }
        if let Some(missing) = ids.iter().find(|id| !self.entries.contains_key(*id)) {
            return Err(Corruption::Missing(*missing).into());
        }
        let mut unread = Vec::new();
        for id in next.into_iter().filter(|id| !self.entries.contains_key(id)) {
            match self.objects.cache.folder(self.store, id) {
                Some(folder) => {
                    self.cached.insert(id, folder);
                }
                None => unread.push(id),
            }
        }
        Ok(unread)
    }

    /// Builds a folder with all folders below it, and puts each into the cache.
    fn assemble(&self, id: Oid, sizes: &HashMap<Oid, u32>) -> Result<Arc<Folder>, Error> {
        if let Some(folder) = self.cached.get(&id) {
            return Ok(folder.clone());
        }
        let entries = self.entries.get(&id).ok_or(Corruption::Missing(id))?;
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
        self.objects.cache.put_folder(self.store, &folder);
        Ok(folder)
    }
}
