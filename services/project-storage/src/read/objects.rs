//! The git objects of all stores, from the cache or from the database.

use std::collections::{HashMap, HashSet};

use prost::bytes::Bytes;

use crate::{
    blocking,
    error::Error,
    git::{Corruption, FileRef, Oid, chunks_of, read_blob},
    model::project::StoreId,
    read::cache::Cache,
    store::{Pool, objects, pending},
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

/// A file with its content, unless that is too large.
pub(crate) struct ListedFile {
    pub(crate) path: String,
    pub(crate) file: FileRef,
    pub(crate) content: Option<Bytes>,
}

impl Objects {
    /// `cache_bytes`: the size of the cache.
    pub(crate) fn new(pool: Pool, cache_bytes: u64) -> Self {
        Self { pool, cache: Cache::new(cache_bytes) }
    }

    /// Puts the content of a large file into its row.
    async fn join_chunks(&self, store: StoreId, row: &mut objects::Row) -> Result<(), Error> {
        if let Some(id) = chunks_of(row.tag, &row.data) {
            row.data = pending::chunks(&self.pool, store, id, 0, i64::MAX).await?.concat();
        }
        Ok(())
    }

    /// Files with their contents, in the order given. A caller must bound their sum.
    ///
    /// # Errors
    /// [`Error::Corruption`] if the store does not have a file.
    pub(crate) async fn load(&self, store: StoreId, files: Vec<(String, FileRef)>) -> Result<Vec<LoadedFile>, Error> {
        let refs: Vec<FileRef> = files.iter().map(|(_, file)| *file).collect();
        let contents = self.contents(store, &refs).await?;
        let load = |(path, file): (String, FileRef)| {
            let content = contents.get(&file.oid).cloned().ok_or(Corruption::Missing(file.oid))?;
            Ok(LoadedFile { path, file, content })
        };
        files.into_iter().map(load).collect()
    }

    /// Files with their contents, except those with more than `max_bytes` bytes, in the order given.
    ///
    /// # Errors
    /// [`Error::Corruption`] if the store does not have a file.
    pub(crate) async fn load_up_to(&self, store: StoreId, files: Vec<(String, FileRef)>, max_bytes: u32) -> Result<Vec<ListedFile>, Error> {
        let refs: Vec<FileRef> = files.iter().map(|(_, file)| *file).filter(|file| file.size <= max_bytes).collect();
        let contents = self.contents(store, &refs).await?;
        let load = |(path, file): (String, FileRef)| ListedFile { path, file, content: contents.get(&file.oid).cloned() };
        Ok(files.into_iter().map(load).collect())
    }

    /// The contents of files by their ids. A caller must bound their sum. One statement reads all that are not in the cache.
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
        let mut rows = objects::read(&self.pool, store, &missing).await?;
        for row in &mut rows {
            self.join_chunks(store, row).await?;
        }
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
