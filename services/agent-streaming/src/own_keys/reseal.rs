//! The stored keys, which are sealed with a new cluster secret.

use chassis::{
    reseal::{Sealed, SealedColumn},
    secret::OpenError,
};
use uuid::Uuid;

use super::{KeyOwner, OwnKeys};
use crate::store::{StoreError, provider_keys};

/// Keys of one query.
const PAGE: i64 = 200;

impl SealedColumn for OwnKeys {
    type Owner = KeyOwner;
    type Error = StoreError;

    const VALUES: &'static str = "stored keys of providers";
    const ADVICE: &'static str = "they have to be entered again";

    async fn page(&self, after: Uuid) -> Result<Vec<Sealed<KeyOwner>>, StoreError> {
        let Some(vault) = &self.vault else { return Ok(Vec::new()) };
        provider_keys::sealed_otherwise(&self.db, &vault.head(), after, PAGE).await
    }

    fn rewrap(&self, id: Uuid, owner: &KeyOwner, old: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        self.vault.as_ref().map_or(Ok(None), |vault| vault.rewrap(id, *owner, old))
    }

    async fn replace(&self, id: Uuid, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
        provider_keys::replace_sealed(&self.db, id, old, new).await
    }
}
