//! The git objects of all stores, from the cache or from the database.

use std::collections::{HashMap, HashSet};

use prost::bytes::Bytes;

use crate::{
    blocking,
    error::Error,
    git::{Corruption, FileRef, Oid, read_blob},
    model::project::StoreId,
    read::cache::Cache,
    store::{Pool, objects},
};

/// The database and the cache in front of it.
pub(crate) struct Objects {
    pub(crate) pool: Pool,
    pub(crate) cache: Cache,
}

/// A file with its content.
pub(crate) struct LoadedFile {
    pub(crate) path: String,
    pub(crate) file: FileRef,
    pub(crate) content: Bytes,
}

impl Objects {
    /// `cache_bytes`: the size of the cache.
    pub(crate) fn new(pool: Pool, cache_bytes: u64) -> Self {
        Self { pool, cache: Cache::new(cache_bytes) }
    }

    /// Files with their contents, in the order given.
    ///
    /// # Errors
    /// [`Error::Corruption`] if the store does not have a file.
    pub(crate) async fn load(&self, store: StoreId, files: Vec<(String, FileRef)>) -> Result<Vec<LoadedFile>, Error> {
        let refs: Vec<FileRef> = files.iter().map(|(_, file)| *file).collect();
        let contents = self.contents(store, &refs).await?;
        let load = |(path, file): (String, FileRef)| Some(LoadedFile { path, file, content: contents.get(&file.oid)?.clone() });
        Ok(files.into_iter().filter_map(load).collect())
    }

    /// The contents of files by their ids. One statement reads all that are not in the cache.
    ///
    /// # Errors
    /// [`Error::Corruption`] if the store does not have a file.
    pub(crate) async fn contents(&self, store: StoreId, files: &[FileRef]) -> Result<HashMap<Oid, Bytes>, Error> {
        let mut found = HashMap::with_capacity(files.len());
        let mut missing = HashSet::new();
        for file in files {
            match self.cache.content(store, file.oid) {
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
        let rows = objects::read(&self.pool, store, &missing).await?;
        let decode = move || -> Result<Vec<(Oid, Bytes)>, Corruption> {
            let content = |row: objects::Row| Ok((row.oid, Bytes::from(read_blob(row.oid, row.tag, row.size, row.data)?)));
            rows.into_iter().map(content).collect()
        };
        let bytes = files.iter().map(|file| file.size as usize).sum();
        for (oid, content) in blocking::run(bytes, decode).await? {
            self.cache.put_content(store, oid, content.clone());
            found.insert(oid, content);
        }
        match missing.into_iter().find(|oid| !found.contains_key(oid)) {
            Some(oid) => Err(Corruption::Missing(oid).into()),
            None => Ok(found),
        }
    }
}
