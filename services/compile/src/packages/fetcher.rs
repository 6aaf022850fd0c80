//! What one build fetches: tarballs from the database or the registry, documents from the registry, within the limits of its person.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chassis::{
    clock,
    share::{Exhausted, Holder, Share},
};
use npm::{Integrity, RegistryError, Tree};
use tokio::time::Instant;

use super::{registry, shared::Shared};
use crate::{
    cache::TOUCH,
    error::Error,
    store::{StoreError, packages},
};

/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(30);

pub(super) struct Fetcher {
    shared: Arc<Shared>,
    holder: Holder,
    memory: Arc<Mutex<Share>>,
    /// Published hashes by name and version.
    integrities: HashMap<(String, String), Integrity>,
}

impl Fetcher {
    pub(super) fn new(shared: Arc<Shared>, holder: Holder, memory: Arc<Mutex<Share>>, tree: Option<&Tree>) -> Self {
        let packages = tree.into_iter().flat_map(|tree| tree.packages.values());
        let integrities =
            packages.filter_map(|package| Some(((package.name.clone(), package.version.clone()), package.integrity.clone()?))).collect();
        Self { shared, holder, memory, integrities }
    }

    /// A place among the requests that run.
    async fn slot(&self) -> Result<Share, RegistryError> {
        let mut slot = self.shared.downloads.try_take(&self.holder, 0).map_err(|by| busy(&by))?;
        slot.grow(1, Instant::now() + WAIT).await.map_err(|by| busy(&by))?;
        Ok(slot)
    }

    async fn body(&self, response: reqwest::Response, limit: usize) -> Result<Bytes, RegistryError> {
        let mut kept = 0;
        let read = registry::body(response, limit, |part| {
            lock(&self.memory).try_grow(part).map_err(|by| busy(&by))?;
            kept += part;
            Ok(())
        })
        .await;
        let bytes = read.as_ref().map_or(kept, Bytes::len);
        let charged = self.shared.allowance.charge(self.holder.person, bytes as u64, Instant::now());
        let read = read.and_then(|body| {
            charged.map(|()| body).map_err(|limit| RegistryError::Failed(format!("more than {limit} bytes were fetched within an hour")))
        });
        if read.is_err() {
            lock(&self.memory).shrink(kept);
        }
        read
    }
}

impl npm::Registry for Fetcher {
    async fn packument(&self, name: &str) -> Result<Bytes, RegistryError> {
        let _slot = self.slot().await?;
        let response = self.shared.registry.packument(name).await?;
        let body = self.body(response, self.shared.limits.packument_bytes).await?;
        // The caller keeps only what it reads of it.
        lock(&self.memory).shrink(body.len());
        Ok(body)
    }

    async fn tarball(&self, name: &str, version: &str) -> Result<Bytes, RegistryError> {
        let integrity = self.integrities.get(&(name.to_owned(), version.to_owned()));
        let text = integrity.map(ToString::to_string);
        let (pool, now) = (&self.shared.pool, clock::now());
        if let Some(text) = &text
            && let Some(kept) = packages::tarball(pool, text, now, now - TOUCH).await.map_err(failed)?
        {
            lock(&self.memory).try_grow(kept.len()).map_err(|by| busy(&by))?;
            return Ok(kept.into());
        }
        let _slot = self.slot().await?;
        let response = self.shared.registry.tarball(name, version).await?;
        let body = self.body(response, self.shared.limits.packed_bytes).await?;
        if let (Some(text), Some(integrity)) = (text, integrity)
            && integrity.matches(&body)
        {
            packages::put_tarball(pool, &text, &body, clock::now()).await.map_err(failed)?;
        }
        Ok(body)
    }
}

/// Counts nothing any longer: the tarballs are unpacked.
pub(super) fn release(memory: &Mutex<Share>) {
    let mut memory = lock(memory);
    let bytes = memory.amount();
    memory.shrink(bytes);
}

/// Counts bytes in memory.
pub(super) fn hold(memory: &Mutex<Share>, bytes: usize) -> Result<(), Error> {
    lock(memory).try_grow(bytes).map_err(|by| Error::exhausted(by, "bytes of packages in memory"))
}

fn lock(memory: &Mutex<Share>) -> std::sync::MutexGuard<'_, Share> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn busy(exhausted: &Exhausted) -> RegistryError {
    RegistryError::Failed(format!("too much is fetched at once: {exhausted:?}"))
}

fn failed(error: StoreError) -> RegistryError {
    RegistryError::Failed(chassis::error::chain(&error))
}
