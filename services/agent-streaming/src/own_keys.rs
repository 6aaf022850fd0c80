//! Keys of model providers that persons and projects bring. They are sealed in the table `provider_keys`, and only the turns of their owner use
//! them. In reading order:
//!
//! - [`rules`]: what a key and its address must be, and when the key has to be entered again.
//! - [`manage`]: create, list, change and delete.
//! - [`choice`]: which models a person can use, and with which key.
//! - [`provider`]: the provider of a turn that uses a stored key.
//! - `reseal`: what seals them with a new cluster secret.

pub(crate) mod choice;
pub(crate) mod manage;
pub(crate) mod provider;
mod reseal;
pub(crate) mod rules;

use std::borrow::Cow;

use chassis::{
    config::Secret,
    outbound::Guard,
    secret::{AGENT_SEALED, Bound, ClusterSecret, OpenError, SealError, Sealer},
};
use proto::id::{ProjectId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    model::provider::{GuardedProviders, Kind, ProviderConfig},
    store::Pool,
};

/// Whose turns use a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOwner {
    Person(UserId),
    Project(ProjectId),
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredKey {
    pub(crate) id: Uuid,
    pub(crate) owner: KeyOwner,
    /// The account that stored it, also for a project.
    pub(crate) stored_by: UserId,
    pub(crate) kind: Kind,
    pub(crate) display_name: String,
    /// Canonical.
    pub(crate) base_url: String,
    pub(crate) last_four: String,
    pub(crate) sealed: Vec<u8>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
    pub(crate) used_at: Option<OffsetDateTime>,
}

/// What is sealed. The address is part of it, so that whoever can write to the database cannot send a key elsewhere.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    key: Cow<'a, str>,
    base_url: Cow<'a, str>,
}

/// A key and its address, opened.
pub(crate) struct OpenedKey {
    pub(crate) key: Secret,
    pub(crate) base_url: String,
}

/// What all functions of this module need.
#[derive(Clone)]
pub(crate) struct OwnKeys {
    db: Pool,
    guard: Guard,
    providers: GuardedProviders,
    /// Absent in a role whose `BACKLOT_ROLE_KEYS` an earlier release has printed.
    vault: Option<Vault>,
}

impl OwnKeys {
    pub(crate) fn new(db: Pool, secret: &ClusterSecret, guard: &Guard, config: &ProviderConfig) -> Self {
        let vault = Sealer::new(secret, AGENT_SEALED).map(Vault);
        if let Err(error) = &vault {
            tracing::warn!("{error}; persons and projects cannot store keys of providers");
        }
        Self { db, guard: guard.clone(), providers: GuardedProviders::new(config, guard), vault: vault.ok() }
    }
}

/// Seals keys for their rows.
#[derive(Debug, Clone)]
pub(crate) struct Vault(Sealer);

impl Vault {
    fn seal(&self, id: Uuid, owner: KeyOwner, key: &str, base_url: &str) -> Result<Vec<u8>, SealError> {
        // Two texts are always valid JSON.
        let content = Zeroizing::new(serde_json::to_vec(&Content { key: key.into(), base_url: base_url.into() }).unwrap_or_default());
        with_place(id, owner, |place| self.0.seal(place, &content))
    }

    fn open(&self, id: Uuid, owner: KeyOwner, sealed: &[u8]) -> Result<OpenedKey, OpenError> {
        let opened = with_place(id, owner, |place| self.0.open(place, sealed))?;
        let content: Content<'_> = serde_json::from_slice(opened.expose()).map_err(|_| OpenError::Form)?;
        Ok(OpenedKey { key: Secret::new(content.key), base_url: content.base_url.into_owned() })
    }

    fn rewrap(&self, id: Uuid, owner: KeyOwner, sealed: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        with_place(id, owner, |place| self.0.rewrap(place, sealed))
    }

    fn head(&self) -> Vec<u8> {
        self.0.current_head()
    }
}

fn with_place<T>(id: Uuid, owner: KeyOwner, use_it: impl FnOnce(&Bound<'_>) -> T) -> T {
    let owner = match owner {
        KeyOwner::Person(user) => format!("user {user}"),
        KeyOwner::Project(project) => format!("project {project}"),
    };
    use_it(&Bound { table: "provider_keys", column: "sealed", row: &id.to_string(), owner: &owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_only_for_its_row_and_its_owner() {
        let vault = Vault(Sealer::new(&ClusterSecret::of_bytes(&[1; 32]), AGENT_SEALED).expect("a key"));
        let (id, user, project) = (Uuid::now_v7(), UserId::generate(), ProjectId::generate());
        let owner = KeyOwner::Person(user);
        let sealed = vault.seal(id, owner, "sk-\"canary\"-0123456789", "https://api.example.com/v1").expect("sealed");
        let opened = vault.open(id, owner, &sealed).expect("opened");
        assert_eq!((opened.key.expose(), opened.base_url.as_str()), ("sk-\"canary\"-0123456789", "https://api.example.com/v1"));
        for (id, owner) in [
            (Uuid::now_v7(), owner),
            (id, KeyOwner::Person(UserId::generate())),
            (id, KeyOwner::Project(project)),
            (id, KeyOwner::Project(ProjectId(user.0))),
        ] {
            assert!(vault.open(id, owner, &sealed).is_err(), "{owner:?}");
        }
    }
}
