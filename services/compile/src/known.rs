//! Facts of modules that earlier builds made. Those that were used last are in memory: an edit of a large project needs those of all its files.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};
use time::OffsetDateTime;

use crate::{
    store::{Pool, StoreError, modules},
    tree::Tree,
};

/// Bytes of the facts in memory.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// About the bytes of one entry without its facts.
const ENTRY_BYTES: u64 = 256;
/// Entries that are expected.
const ENTRIES: usize = 20_000;

/// Facts of one module.
#[derive(Debug, Clone)]
pub(crate) struct KnownFacts {
    pub(crate) key: String,
    /// The file that they belong to.
    pub(crate) path: String,
    /// The address of the code, or empty.
    pub(crate) url: String,
    /// Encoded, as the compiler gets them.
    pub(crate) body: Bytes,
    /// When a build used them last, as the database has it.
    pub(crate) used_at: OffsetDateTime,
}

/// The release of the compiler, a path and the id of a content.
type Key = (Arc<[u8]>, String, String);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<[KnownFacts]>> for ByBytes {
    fn weight(&self, (_, path, _): &Key, facts: &Arc<[KnownFacts]>) -> u64 {
        let bytes = |facts: &KnownFacts| (facts.key.len() + facts.path.len() + facts.url.len() + facts.body.len()) as u64;
        path.len() as u64 + ENTRY_BYTES + facts.iter().map(bytes).sum::<u64>()
    }
}

/// The facts in memory, by file.
pub(crate) struct KnownFiles(Cache<Key, Arc<[KnownFacts]>, ByBytes>);

impl KnownFiles {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(ENTRIES, MAX_BYTES, ByBytes))
    }

    /// The facts of the files of a tree that a release made.
    pub(crate) async fn of_tree(&self, db: &Pool, release: &Arc<[u8]>, tree: &Tree) -> Result<Vec<KnownFacts>, StoreError> {
        let (mut known, mut absent) = (Vec::new(), Vec::new());
        for (path, id) in tree.pairs() {
            let key = key(release, path, id);
            match self.0.get(&key) {
                Some(facts) => known.extend(facts.iter().cloned()),
                None => absent.push((key.1, key.2)),
            }
        }
        if !absent.is_empty() {
            known.extend(self.read(db, release, absent).await?);
        }
        Ok(known)
    }

    /// The facts of one file.
    pub(crate) async fn of_file(&self, db: &Pool, release: &Arc<[u8]>, path: &str, id: &str) -> Result<Vec<KnownFacts>, StoreError> {
        let key = key(release, path, id);
        match self.0.get(&key) {
            Some(facts) => Ok(facts.to_vec()),
            None => self.read(db, release, vec![(key.1, key.2)]).await,
        }
    }

    /// Reads facts of files from the database, and keeps those that there are.
    async fn read(&self, db: &Pool, release: &Arc<[u8]>, files: Vec<(String, String)>) -> Result<Vec<KnownFacts>, StoreError> {
        let (paths, ids): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let mut rows = modules::facts(db, release, &paths, &ids).await?;
        rows.sort_by(|a, b| a.path.cmp(&b.path));
        let known: Vec<_> = rows.into_iter().map(of_row).collect();
        // Both are sorted by path.
        let mut files = paths.into_iter().zip(ids);
        for group in known.chunk_by(|a, b| a.path == b.path) {
            if let Some((path, id)) = files.find(|(path, _)| *path == group[0].path) {
                self.0.insert((Arc::clone(release), path, id), Arc::from(group));
            }
        }
        Ok(known)
    }

    /// Forgets files whose facts in the database have changed, or may have.
    pub(crate) fn forget<'f>(&self, release: &Arc<[u8]>, files: impl Iterator<Item = (&'f str, &'f str)>) {
        for (path, id) in files {
            self.0.remove(&key(release, path, id));
        }
    }
}

fn key(release: &Arc<[u8]>, path: &str, id: &str) -> Key {
    (Arc::clone(release), path.to_owned(), id.to_owned())
}

fn of_row(row: modules::FactRow) -> KnownFacts {
    KnownFacts { key: row.key, path: row.path, url: row.output, body: row.body.into(), used_at: row.used_at }
}
