//! A cache of decoded git objects: folders with everything below them, contents of files, and the differences of two trees. Its size is
//! bounded in bytes. Objects never change, and the heads of projects are not cached, so replicas never disagree.

use std::sync::Arc;

use prost::bytes::Bytes;
use quick_cache::{Weighter, sync};

use crate::{
    git::{FileChange, Folder, Oid},
    model::project::StoreId,
};

/// The memory that a file takes in a folder, in bytes: name, id, size and map entry.
const FILE_WEIGHT: u64 = 150;
/// The memory that a cache entry takes besides its content, in bytes.
const ENTRY_WEIGHT: u64 = 100;
/// The memory that a difference takes besides its paths, in bytes.
const CHANGE_WEIGHT: u64 = 150;
/// The part of the cache that differences may fill: one byte of so many.
const CHANGES_PART: u64 = 16;
/// The expected size of an entry, in bytes. It sets the initial size of the tables.
const EXPECTED_ENTRY_BYTES: u64 = 4096;

/// Objects are shared within a store only: an id alone must not open an object of another store.
type Key = (StoreId, Oid);

#[derive(Clone)]
enum Value {
    Folder(Arc<Folder>),
    Content(Bytes),
}

#[derive(Clone)]
struct ByteWeighter;

impl Weighter<Key, Value> for ByteWeighter {
    fn weight(&self, _: &Key, value: &Value) -> u64 {
        ENTRY_WEIGHT
            + match value {
                // A file counts once for each folder above it, so the estimate is too high rather than too low.
                Value::Folder(folder) => FILE_WEIGHT * u64::from(folder.files()),
                Value::Content(bytes) => bytes.len() as u64,
            }
    }
}

/// A store, an older tree and a newer one.
type ChangesKey = (StoreId, Oid, Oid);
/// The files that differ, those that moved included.
pub(crate) type Changes = Arc<Vec<FileChange>>;

impl Weighter<ChangesKey, Changes> for ByteWeighter {
    fn weight(&self, _: &ChangesKey, changes: &Changes) -> u64 {
        let weight = |change: &FileChange| CHANGE_WEIGHT + change.paths().map(|path| path.len() as u64).sum::<u64>();
        ENTRY_WEIGHT + changes.iter().map(weight).sum::<u64>()
    }
}

/// The cache of one process.
pub(crate) struct Cache {
    objects: sync::Cache<Key, Value, ByteWeighter>,
    changes: sync::Cache<ChangesKey, Changes, ByteWeighter>,
}

impl Cache {
    /// An empty cache that holds at most so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = |bytes: u64| usize::try_from(bytes / EXPECTED_ENTRY_BYTES).unwrap_or(usize::MAX).max(16);
        let of_changes = bytes / CHANGES_PART;
        let of_objects = bytes - of_changes;
        Self {
            objects: sync::Cache::with_weighter(entries(of_objects), of_objects, ByteWeighter),
            changes: sync::Cache::with_weighter(entries(of_changes), of_changes, ByteWeighter),
        }
    }

    /// A folder with everything below it.
    pub(crate) fn folder(&self, store: StoreId, oid: Oid) -> Option<Arc<Folder>> {
        self.any_folder(store, oid).filter(|folder| !folder.is_partial())
    }

    /// A folder, of which only a part may be read.
    pub(crate) fn any_folder(&self, store: StoreId, oid: Oid) -> Option<Arc<Folder>> {
        match self.objects.get(&(store, oid))? {
            Value::Folder(folder) => Some(folder),
            Value::Content(_) => None,
        }
    }

    pub(crate) fn content(&self, store: StoreId, oid: Oid) -> Option<Bytes> {
        match self.objects.get(&(store, oid))? {
            Value::Content(bytes) => Some(bytes),
            Value::Folder(_) => None,
        }
    }

    /// Adds a folder that has an id. A folder with unwritten changes has none and is not added, and one of which only a part is read does not
    /// replace the whole one.
    pub(crate) fn put_folder(&self, store: StoreId, folder: &Arc<Folder>) {
        if let Some(oid) = folder.oid()
            && !(folder.is_partial() && self.folder(store, oid).is_some())
        {
            self.objects.insert((store, oid), Value::Folder(folder.clone()));
        }
    }

    pub(crate) fn put_content(&self, store: StoreId, oid: Oid, content: Bytes) {
        self.objects.insert((store, oid), Value::Content(content));
    }

    pub(crate) fn changes(&self, store: StoreId, old: Oid, new: Oid) -> Option<Changes> {
        self.changes.get(&(store, old, new))
    }

    pub(crate) fn put_changes(&self, store: StoreId, (old, new): (Oid, Oid), changes: Changes) {
        self.changes.insert((store, old, new), changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::FileRef;
    use uuid::Uuid;

    #[test]
    fn the_cache_is_bounded_in_bytes_and_separates_stores() {
        let cache = Cache::new(1 << 20);
        let (mine, other) = (StoreId(Uuid::from_u128(1)), StoreId(Uuid::from_u128(2)));
        for n in 0..100_u8 {
            cache.put_content(mine, Oid::from_bytes(&[n; 20]).expect("oid"), Bytes::from(vec![n; 100_000]));
        }
        assert!(cache.objects.weight() <= 1 << 20);
        let last = Oid::from_bytes(&[99; 20]).expect("oid");
        cache.put_content(mine, last, Bytes::from_static(b"x"));
        assert!(cache.content(mine, last).is_some() && cache.content(other, last).is_none());
        assert!(cache.folder(mine, last).is_none());
    }

    #[test]
    fn differences_are_bounded_in_bytes_and_separate_stores() {
        let cache = Cache::new(1 << 20);
        let (mine, other) = (StoreId(Uuid::from_u128(1)), StoreId(Uuid::from_u128(2)));
        let oid = |n: u8| Oid::from_bytes(&[n; 20]).expect("oid");
        let change = |n: u8| FileChange::Deleted { path: "x".repeat(1000), old: FileRef { oid: oid(n), size: 1 } };
        for n in 0..100 {
            cache.put_changes(mine, (oid(n), oid(n)), Arc::new(vec![change(n)]));
        }
        assert!(cache.changes.weight() <= 1 << 16 && cache.changes.len() > 20);
        cache.put_changes(mine, (oid(1), oid(2)), Arc::new(vec![change(1)]));
        assert!(cache.changes(mine, oid(1), oid(2)).is_some() && cache.changes(mine, oid(2), oid(1)).is_none());
        assert!(cache.changes(other, oid(1), oid(2)).is_none());
    }
}
