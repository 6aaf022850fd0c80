//! Packages that an operator keeps for machines without a registry: each version with its document, and its tarball if a page can import it.
//!
//! - [`packument`], [`tarball`]: what a registry would answer. [`versions`]: what is kept. [`keep`]: adds a version.
//! - [`import`]: versions that were kept elsewhere. [`export`]: all versions.

pub(crate) mod export;
pub(crate) mod import;

use bytes::Bytes;
use chassis::{clock, task};
use npm::{Excerpt, Integrity};
use proto::compile::KeptPackage;

use crate::{
    error::Error,
    hash,
    store::{
        Pool, StoreError,
        vendored::{self, Document, Version},
    },
};

/// The packument of the versions that are kept. `None` if there are none.
pub(crate) async fn packument(pool: &Pool, name: &str) -> Result<Option<Bytes>, StoreError> {
    let versions: Vec<Excerpt> = vendored::versions(pool, name).await?.into_iter().map(excerpt).collect();
    Ok((!versions.is_empty()).then(|| Excerpt::packument(name, &versions)))
}

/// The versions that are kept, in no order.
pub(crate) async fn versions(pool: &Pool, name: &str) -> Result<Vec<String>, StoreError> {
    Ok(vendored::versions(pool, name).await?.into_iter().map(|row| row.version).collect())
}

fn excerpt(row: Document) -> Excerpt {
    Excerpt { name: row.name, version: row.version, tags: row.tags, document: row.document }
}

/// The tarball of a version, if the kept one has the hash.
pub(crate) async fn tarball(pool: &Pool, name: &str, version: &str, integrity: &Integrity) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(tarball) = vendored::tarball(pool, name, version).await? else { return Ok(None) };
    let integrity = integrity.clone();
    Ok(task::blocking_and_wait(move || integrity.matches(&tarball).then_some(tarball)).await)
}

/// A version that is kept, with a tarball if it needs one.
pub(crate) async fn find(pool: &Pool, name: &str, version: &str, needs_tarball: bool) -> Result<Option<KeptPackage>, StoreError> {
    let bytes = vendored::find(pool, name, version).await?.map(|bytes| bytes as u64).filter(|bytes| *bytes > 0 || !needs_tarball);
    Ok(bytes.map(|bytes| KeptPackage { name: name.to_owned(), version: version.to_owned(), bytes, was_kept: true }))
}

/// Keeps a version. `limit` is the most bytes of all versions.
///
/// # Errors
/// The tarball is not the published one, or there is no room.
pub(crate) async fn keep(pool: &Pool, excerpt: Excerpt, tarball: Option<Vec<u8>>, limit: u64) -> Result<KeptPackage, Error> {
    let was_kept = find(pool, &excerpt.name, &excerpt.version, tarball.is_some()).await?.is_some();
    let tarball = match tarball {
        Some(tarball) => Some(checked(&excerpt, tarball).await?),
        None => None,
    };
    let bytes = tarball.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
    let Excerpt { name, version, tags, document } = excerpt;
    let new = Version { name, version, tags, document, tarball };
    if !vendored::put(pool, &new, i64::try_from(limit).unwrap_or(i64::MAX), clock::now()).await? && !was_kept {
        return Err(Error::VendorFull { limit });
    }
    Ok(KeptPackage { name: new.name, version: new.version, bytes, was_kept })
}

/// The tarball with its hash, if it is the published one. It can be large, so a thread of its own reads it.
async fn checked(excerpt: &Excerpt, tarball: Vec<u8>) -> Result<(String, Vec<u8>), Error> {
    let damaged = |problem| Error::PackageDamaged { package: format!("{}@{}", excerpt.name, excerpt.version), problem };
    let published = excerpt.integrity().ok_or_else(|| damaged("its document has no hash of the tarball"))?;
    let hashed = move || published.matches(&tarball).then(|| (hash::sha512(&tarball), tarball));
    task::blocking_and_wait(hashed).await.ok_or_else(|| damaged("the tarball does not have the hash that was published"))
}
