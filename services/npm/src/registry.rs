//! Where packuments and tarballs come from.

use std::future::Future;

use bytes::Bytes;

/// A registry that the operator names.
pub trait Registry: Sync {
    /// The document with all versions of a package, full or abbreviated (`application/vnd.npm.install-v1+json`).
    fn packument(&self, name: &str) -> impl Future<Output = Result<Bytes, RegistryError>> + Send;

    /// The tarball of a version.
    fn tarball(&self, name: &str, version: &str) -> impl Future<Output = Result<Bytes, RegistryError>> + Send;
}

/// Why a registry does not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    #[error("not found")]
    NotFound,
    /// It does not answer, or with something else.
    #[error("{0}")]
    Failed(String),
}
