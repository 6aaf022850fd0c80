//! Outlines that are kept: in memory, and in the database.

use std::{collections::BTreeMap, sync::Arc};

use chassis::clock;
use quick_cache::{Weighter, sync::Cache};

use crate::{
    cache::TOUCH,
    error::Error,
    store::{Pool, outlines},
};

/// Bytes of the outlines in the memory of a process.
const MEMORY: u64 = 32 * 1024 * 1024;
/// An estimate of their number.
const ITEMS: usize = 20_000;
/// Bytes of a key with its place in the cache.
const KEY_BYTES: u64 = 128;

/// The hash of what an outline depends on.
pub(crate) type Key = Vec<u8>;
/// An encoded `FileOutline` without its id. Empty if the file has none.
pub(crate) type Body = Arc<[u8]>;

#[derive(Clone)]
struct ByteWeighter;

impl Weighter<Key, Body> for ByteWeighter {
    fn weight(&self, _: &Key, body: &Body) -> u64 {
        KEY_BYTES + body.len() as u64
    }
}

/// Outlines that are kept.
pub(crate) struct Outlines {
    pool: Pool,
    recent: Cache<Key, Body, ByteWeighter>,
}

impl Outlines {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, recent: Cache::with_weighter(ITEMS, MEMORY, ByteWeighter) }
    }

    /// Those of the outlines that are kept.
    pub(crate) async fn get(&self, keys: impl Iterator<Item = &Key>) -> Result<BTreeMap<Key, Body>, Error> {
        let (mut known, mut absent) = (BTreeMap::new(), Vec::new());
        for key in keys {
            match self.recent.get(key) {
                Some(body) => drop(known.insert(key.clone(), body)),
                None => absent.push(key.clone()),
            }
        }
        if absent.is_empty() {
            return Ok(known);
        }
        let now = clock::now();
        for (key, body) in outlines::get(&self.pool, &absent, now, now - TOUCH).await? {
            let body = Body::from(body);
            self.recent.insert(key.clone(), Arc::clone(&body));
            known.insert(key, body);
        }
        Ok(known)
    }

    pub(crate) async fn put(&self, new: &BTreeMap<Key, Body>) -> Result<(), Error> {
        let (keys, bodies): (Vec<_>, Vec<_>) = new.iter().map(|(key, body)| (key.clone(), body.to_vec())).unzip();
        outlines::put(&self.pool, &keys, &bodies, clock::now()).await?;
        for (key, body) in new {
            self.recent.insert(key.clone(), Arc::clone(body));
        }
        Ok(())
    }
}
