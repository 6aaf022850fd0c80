//! What one build fetches, within the limits of its person: tarballs from the database or the registry, documents from the registry. What an
//! operator keeps stands in for a registry that does not answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use chassis::{
    clock,
    share::{Holder, Share},
    task,
};
use npm::{Integrity, RegistryError, Tree};
use tokio::time::Instant;

use super::{
    exchange::{Exchange, busy, lock},
    shared::Shared,
};
use crate::{
    cache::TOUCH,
    error::Error,
    store::{StoreError, packages},
    vendored,
};

pub(super) struct Fetcher {
    pub(super) shared: Arc<Shared>,
    holder: Holder,
    memory: Arc<Mutex<Share>>,
    /// Whether what is fetched counts for its person.
    is_charged: bool,
    /// Published hashes by name and version.
    integrities: HashMap<(String, String), Integrity>,
}

/// What a request has got.
pub(super) enum Answer {
    /// The process has no copy of it.
    Kept(Bytes),
    /// The process has fetched it. A document is empty here.
    Fetched(Bytes),
}

/// Why a request has got nothing.
pub(super) enum ObtainError {
    /// The process gets it, and may go on without the package.
    Registry(RegistryError),
    /// The database failed. The process does not get it: the job ends.
    Store(StoreError),
}

impl From<RegistryError> for ObtainError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<StoreError> for ObtainError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
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

    /// Counts the files that a process has unpacked so far.
    pub(super) fn cover(&self, bytes: u64) -> Result<(), Error> {
        cover(&self.memory, bytes)
    }

    /// A place among the processes that fetch.
    pub(super) async fn process(&self) -> Result<Share, Error> {
        let exhausted = |by| Error::exhausted(by, "processes that fetch packages");
        let mut place = self.shared.processes.try_take(&self.holder, 0).map_err(exhausted)?;
        place.grow(1, Instant::now() + self.shared.wait).await.map_err(exhausted)?;
        Ok(place)
    }

    /// What the request asks for.
    pub(super) async fn obtain(&self, exchange: &mut Exchange) -> Result<Answer, ObtainError> {
        if exchange.wanted.version.is_empty() { self.packument(exchange).await } else { self.tarball(exchange).await }
    }

    async fn packument(&self, exchange: &mut Exchange) -> Result<Answer, ObtainError> {
        let name = exchange.wanted.name.clone();
        if self.shared.registry.is_away(Instant::now())
            && let Some(packument) = self.kept(&name).await?
        {
            return Ok(Answer::Kept(packument));
        }
        match self.fetch(exchange, self.shared.limits.packument_bytes).await {
            Ok((size, body)) => {
                // The process keeps only what it reads of it.
                self.release(size);
                Ok(Answer::Fetched(body))
            }
            Err(RegistryError::Failed(problem)) => {
                let kept = self.kept(&name).await?;
                kept.map(Answer::Kept).ok_or(ObtainError::Registry(RegistryError::Failed(problem)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The document of the versions that an operator keeps.
    async fn kept(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        vendored::packument(&self.shared.pool, name).await
    }

    async fn tarball(&self, exchange: &mut Exchange) -> Result<Answer, ObtainError> {
        let (name, version) = (exchange.wanted.name.clone(), exchange.wanted.version.clone());
        let integrity = self.integrities.get(&(name.clone(), version.clone()));
        if let Some(stored) = self.stored(&name, &version, integrity).await? {
            return Ok(Answer::Kept(stored));
        }
        let (_, body) = self.fetch(exchange, self.shared.limits.packed_bytes).await?;
        if let Some(integrity) = integrity
            && matches(integrity, &body).await
        {
            packages::put_tarball(&self.shared.pool, &integrity.to_string(), &body, clock::now()).await?;
        }
        Ok(Answer::Fetched(body))
    }

    /// How many bytes were fetched, which are counted in memory, and those that the process has passed on.
    async fn fetch(&self, exchange: &mut Exchange, limit: usize) -> Result<(usize, Bytes), RegistryError> {
        let _slot = self.slot().await?;
        let addresses = self.shared.registry.addresses().await?;
        let fetched = exchange.fetch(addresses, limit, &self.memory).await;
        if let Some(is_away) = fetched.is_away {
            self.shared.registry.note(is_away);
        }
        let charged = self.charge(fetched.bytes, fetched.body.is_ok());
        let body = fetched.body?;
        if let Err(error) = charged {
            self.release(fetched.bytes);
            return Err(error);
        }
        Ok((fetched.bytes, body))
    }

    /// Counts an answer for the person. One without a body costs nothing.
    fn charge(&self, bytes: usize, is_whole: bool) -> Result<(), RegistryError> {
        if !self.is_charged || (bytes == 0 && !is_whole) {
            return Ok(());
        }
        let charged = self.shared.allowance.charge(self.holder.person, bytes as u64, Instant::now());
        charged.map_err(|limit| RegistryError::Failed(format!("more than {limit} bytes were fetched within an hour")))
    }

    /// A place among the requests that run.
    async fn slot(&self) -> Result<Share, RegistryError> {
        let mut slot = self.shared.downloads.try_take(&self.holder, 0).map_err(|by| busy(&by))?;
        slot.grow(1, Instant::now() + self.shared.wait).await.map_err(|by| busy(&by))?;
        Ok(slot)
    }

    /// A tarball that need not be fetched.
    async fn stored(&self, name: &str, version: &str, integrity: Option<&Integrity>) -> Result<Option<Bytes>, ObtainError> {
        let (pool, now) = (&self.shared.pool, clock::now());
        let Some(integrity) = integrity else { return Ok(None) };
        let cached = packages::tarball(pool, &integrity.to_string(), now, now - TOUCH).await?;
        let found = match cached {
            Some(tarball) => Some(tarball),
            None => vendored::tarball(pool, name, version, integrity).await?,
        };
        let Some(tarball) = found else { return Ok(None) };
        lock(&self.memory).try_grow(tarball.len()).map_err(|by| busy(&by))?;
        Ok(Some(tarball.into()))
    }
}

/// Whether a tarball has the hash. It can be large, so a thread of its own reads it.
async fn matches(integrity: &Integrity, tarball: &Bytes) -> bool {
    let (integrity, tarball) = (integrity.clone(), tarball.clone());
    task::blocking_and_wait(move || integrity.matches(&tarball)).await
}

/// Counts files while they arrive. The tarballs that they come from are counted already, and this side has them no longer.
fn cover(memory: &Mutex<Share>, bytes: u64) -> Result<(), Error> {
    let mut memory = lock(memory);
    let more = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(memory.amount());
    memory.try_grow(more).map_err(|by| Error::exhausted(by, "bytes of packages in memory"))
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

#[cfg(test)]
mod tests {
    use chassis::share::{Percent, Shares};

    use super::*;

    #[test]
    fn files_count_while_they_arrive() {
        let shares = Shares::new(100, Percent::default());
        let memory = Mutex::new(shares.try_take(&Holder::default(), 40).expect("a share for tarballs"));
        for (bytes, counted) in [(30, 40), (60, 60), (100, 100)] {
            cover(&memory, bytes).expect("room");
            assert_eq!(lock(&memory).amount(), counted);
        }
        assert!(cover(&memory, 101).is_err(), "the job stops");
        assert_eq!(lock(&memory).amount(), 100);
    }
}
