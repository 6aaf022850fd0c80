//! What stands at one path in many trees. Of each tree only the folders above the path are read.

use std::collections::{HashMap, HashSet};

use crate::{
    blocking,
    error::Error,
    git::{Corruption, Entry, Oid, read_tree},
    model::project::StoreId,
    read::objects::Objects,
    store::objects,
};

/// What a tree has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) oid: Oid,
    pub(crate) is_folder: bool,
}

/// The entries at a path, one for each of the first trees.
pub(crate) struct Spots {
    /// `None` for a tree that has nothing there.
    pub(crate) entries: Vec<Option<Spot>>,
    /// Bytes of folders that were read.
    pub(crate) bytes: u64,
}

/// Looks a path up in trees, with one statement per level of folders.
///
/// The answer ends before the folders have more than `max_bytes`; it has the first two trees at the least.
///
/// # Errors
/// [`Error::Corruption`] if a folder is missing or damaged.
pub(crate) async fn find(objects: &Objects, store: StoreId, trees: &[Oid], path: &str, max_bytes: u64) -> Result<Spots, Error> {
    let mut entries: Vec<Option<Spot>> = trees.iter().map(|oid| Some(Spot { oid: *oid, is_folder: true })).collect();
    let mut bytes = 0;
    for name in path.split('/') {
        let folder = |spot: &Option<Spot>| spot.filter(|spot| spot.is_folder).map(|spot| spot.oid);
        let level = Level { name, max_bytes: max_bytes.saturating_sub(bytes) };
        let (found, read) = level.read(objects, store, entries.iter().filter_map(folder)).await?;
        bytes += read;
        let unread = entries.iter().position(|spot| folder(spot).is_some_and(|oid| !found.contains_key(&oid)));
        if let Some(first) = unread {
            // The statement reads the first two folders in any case, so this one is not there.
            if let (0 | 1, Some(oid)) = (first, entries.get(first).and_then(folder)) {
                return Err(Corruption::Missing(oid).into());
            }
            entries.truncate(first);
        }
        entries.iter_mut().for_each(|spot| *spot = folder(spot).and_then(|oid| found.get(&oid).copied().flatten()));
    }
    Ok(Spots { entries, bytes })
}

/// One level of folders.
struct Level<'a> {
    /// The entry that is looked for.
    name: &'a str,
    max_bytes: u64,
}

impl Level<'_> {
    /// The entry of each folder, from the cache or from the database, with the bytes that were read.
    async fn read(
        &self,
        objects: &Objects,
        store: StoreId,
        folders: impl Iterator<Item = Oid>,
    ) -> Result<(HashMap<Oid, Option<Spot>>, u64), Error> {
        let (mut found, mut unread, mut seen) = (HashMap::new(), Vec::new(), HashSet::new());
        for oid in folders.filter(|oid| seen.insert(*oid)) {
            match objects.cache.folder(store, oid) {
                // It stands for no tree at all, too, and is not read.
                _ if oid == Oid::EMPTY_TREE => drop(found.insert(oid, None)),
                Some(folder) => drop(found.insert(oid, folder.entries().get(self.name).and_then(spot))),
                None => unread.push(oid),
            }
        }
        if unread.is_empty() {
            return Ok((found, 0));
        }
        let max_bytes = i64::try_from(self.max_bytes).unwrap_or(i64::MAX);
        let rows = objects::read_within(&objects.pool, store, &unread, max_bytes).await?;
        let bytes = rows.iter().map(|row| row.data.len()).sum();
        let name = self.name.to_owned();
        let decode = move || rows.into_iter().map(|row| Ok((row.oid, entry(&row, &name)?))).collect::<Result<Vec<_>, Corruption>>();
        found.extend(blocking::run(bytes, decode).await?);
        Ok((found, bytes as u64))
    }
}

fn spot(entry: &Entry) -> Option<Spot> {
    match entry {
        Entry::File(file) => Some(Spot { oid: file.oid, is_folder: false }),
        Entry::Folder(folder) => folder.oid().map(|oid| Spot { oid, is_folder: true }),
    }
}

fn entry(row: &objects::Row, name: &str) -> Result<Option<Spot>, Corruption> {
    let entries = read_tree(row.oid, &row.data)?;
    Ok(entries.into_iter().find(|entry| entry.name == name).map(|entry| Spot { oid: entry.oid, is_folder: entry.folder }))
}
