//! A cache of decoded git objects: folders with everything below them, and contents of files. Its size is bounded in bytes. Objects
//! never change, and the heads of projects are not cached, so replicas never disagree.

use std::sync::Arc;

use prost::bytes::Bytes;
use quick_cache::{Weighter, sync};

use crate::{
    git::{Folder, Oid},
    model::project::StoreId,
};

/// The memory that a file takes in a folder, in bytes: name, id, size and map entry.
const FILE_WEIGHT: u64 = 150;
/// The memory that a cache entry takes besides its content, in bytes.
const ENTRY_WEIGHT: u64 = 100;
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

/// The cache of one process.
pub(crate) struct Cache(sync::Cache<Key, Value, ByteWeighter>);

impl Cache {
    /// An empty cache that holds at most so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / EXPECTED_ENTRY_BYTES).unwrap_or(usize::MAX).max(16);
        Self(sync::Cache::with_weighter(entries, bytes, ByteWeighter))
    }

    pub(crate) fn folder(&self, store: StoreId, oid: Oid) -> Option<Arc<Folder>> {
        match self.0.get(&(store, oid))? {
            Value::Folder(folder) => Some(folder),
            Value::Content(_) => None,
        }
    }

    pub(crate) fn content(&self, store: StoreId, oid: Oid) -> Option<Bytes> {
        match self.0.get(&(store, oid))? {
            Value::Content(bytes) => Some(bytes),
            Value::Folder(_) => None,
        }
    }

    /// Adds a folder that has an id. A folder with unwritten changes has none and is not added.
    pub(crate) fn put_folder(&self, store: StoreId, folder: &Arc<Folder>) {
        if let Some(oid) = folder.oid() {
            self.0.insert((store, oid), Value::Folder(folder.clone()));
        }
    }

    pub(crate) fn put_content(&self, store: StoreId, oid: Oid, content: Bytes) {
        self.0.insert((store, oid), Value::Content(content));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_cache_is_bounded_in_bytes_and_separates_stores() {
        let cache = Cache::new(1 << 20);
        let (mine, other) = (StoreId(Uuid::from_u128(1)), StoreId(Uuid::from_u128(2)));
        for n in 0..100_u8 {
            cache.put_content(mine, Oid::from_bytes(&[n; 20]).expect("oid"), Bytes::from(vec![n; 100_000]));
        }
        assert!(cache.0.weight() <= 1 << 20);
        let last = Oid::from_bytes(&[99; 20]).expect("oid");
        cache.put_content(mine, last, Bytes::from_static(b"x"));
        assert!(cache.content(mine, last).is_some() && cache.content(other, last).is_none());
        assert!(cache.folder(mine, last).is_none());
    }
}
