//! What one build fetches, within the limits of its person: tarballs from the database or the registry, documents from the registry. What an
//! operator keeps stands in for a registry that does not answer.

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
    vendored,
};

/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(30);

pub(super) struct Fetcher {
    shared: Arc<Shared>,
    holder: Holder,
    memory: Arc<Mutex<Share>>,
    /// Whether what is fetched counts for its person.
    is_charged: bool,
    /// Published hashes by name and version.
    integrities: HashMap<(String, String), Integrity>,
}

impl Fetcher {
    pub(super) fn new(shared: Arc<Shared>, holder: Holder, memory: Arc<Mutex<Share>>, tree: Option<&Tree>) -> Self {
        let packages = tree.into_iter().flat_map(|tree| tree.packages.values());
        let integrities =
            packages.filter_map(|package| Some(((package.name.clone(), package.version.clone()), package.integrity.clone()?))).collect();
        Self { shared, holder, memory, is_charged: true, integrities }
    }

    /// For an operator, who has no limit of an hour.
    pub(super) fn for_operator(self) -> Self {
        Self { is_charged: false, ..self }
    }

    /// Counts a tarball no longer.
    pub(super) fn release(&self, bytes: usize) {
        lock(&self.memory).shrink(bytes);
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
        let charge = || self.shared.allowance.charge(self.holder.person, bytes as u64, Instant::now());
        let charged = if self.is_charged { charge() } else { Ok(()) };
        let read = read.and_then(|body| {
            charged.map(|()| body).map_err(|limit| RegistryError::Failed(format!("more than {limit} bytes were fetched within an hour")))
        });
        if read.is_err() {
            lock(&self.memory).shrink(kept);
        }
        read
    }

    /// The document of the registry.
    async fn published(&self, name: &str) -> Result<Bytes, RegistryError> {
        let _slot = self.slot().await?;
        let response = self.shared.registry.packument(name).await?;
        let body = self.body(response, self.shared.limits.packument_bytes).await?;
        // The caller keeps only what it reads of it.
        lock(&self.memory).shrink(body.len());
        Ok(body)
    }

    /// A tarball that need not be fetched.
    async fn stored(&self, name: &str, version: &str, integrity: Option<&Integrity>) -> Result<Option<Bytes>, RegistryError> {
        let (pool, now) = (&self.shared.pool, clock::now());
        let Some(integrity) = integrity else { return Ok(None) };
        let cached = packages::tarball(pool, &integrity.to_string(), now, now - TOUCH).await.map_err(failed)?;
        let found = match cached {
            Some(tarball) => Some(tarball),
            None => vendored::tarball(pool, name, version, integrity).await.map_err(failed)?,
        };
        let Some(tarball) = found else { return Ok(None) };
        lock(&self.memory).try_grow(tarball.len()).map_err(|by| busy(&by))?;
        Ok(Some(tarball.into()))
    }
}

impl npm::Registry for Fetcher {
    async fn packument(&self, name: &str) -> Result<Bytes, RegistryError> {
        let kept = async || vendored::packument(&self.shared.pool, name).await.map_err(failed);
        if self.shared.registry.is_away(Instant::now())
            && let Some(packument) = kept().await?
        {
            return Ok(packument);
        }
        match self.published(name).await {
            Err(RegistryError::Failed(problem)) => kept().await?.ok_or(RegistryError::Failed(problem)),
            answer => answer,
        }
    }

    async fn tarball(&self, name: &str, version: &str) -> Result<Bytes, RegistryError> {
        let integrity = self.integrities.get(&(name.to_owned(), version.to_owned()));
        if let Some(stored) = self.stored(name, version, integrity).await? {
            return Ok(stored);
        }
        let _slot = self.slot().await?;
        let response = self.shared.registry.tarball(name, version).await?;
        let body = self.body(response, self.shared.limits.packed_bytes).await?;
        if let Some(integrity) = integrity
            && integrity.matches(&body)
        {
            packages::put_tarball(&self.shared.pool, &integrity.to_string(), &body, clock::now()).await.map_err(failed)?;
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
