//! Immutable objects, decoded: folders with everything below them, and contents of files. Bound by bytes. Where a project stands
//! is never kept here, so replicas agree.

use std::sync::Arc;

use prost::bytes::Bytes;
use quick_cache::{Weighter, sync};

use crate::{
    git::{Folder, Oid},
    model::project::StoreId,
};

/// What a file costs in a folder: name, id, size and the map around them.
const FILE_WEIGHT: u64 = 150;
/// What an entry costs besides its content.
const ENTRY_WEIGHT: u64 = 100;
/// Guess for the number of entries, which only sizes tables.
const TYPICAL_ENTRY: u64 = 4096;

/// Objects are only shared within a store: knowing an id must not open another family's object.
type Key = (StoreId, Oid);

#[derive(Clone)]
enum Value {
    Folder(Arc<Folder>),
    Content(Bytes),
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Value> for Weight {
    fn weight(&self, _: &Key, value: &Value) -> u64 {
        ENTRY_WEIGHT
            + match value {
                // Counted again by each folder above it: rather too much than too little.
                Value::Folder(folder) => FILE_WEIGHT * u64::from(folder.files()),
                Value::Content(bytes) => bytes.len() as u64,
            }
    }
}

/// The cache of one process.
pub(crate) struct Cache(sync::Cache<Key, Value, Weight>);

impl Cache {
    /// With room for so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / TYPICAL_ENTRY).unwrap_or(usize::MAX).max(16);
        Self(sync::Cache::with_weighter(entries, bytes, Weight))
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

    /// Keeps a folder whose changes are written.
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
    fn it_is_bound_by_bytes_and_by_store() {
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
