//! The keys of access tokens in memory, so that requests verify without the database. They are loaded at the start, every minute, and within
//! a second after another replica has created or deleted one. Replicas agree through the table and an advisory lock.

use std::{sync::Arc, time::Duration};

use chassis::{clock, identity::Claims, secret::ClusterSecret, task::Ticks};
use proto::auth::JsonWebKey;
use time::OffsetDateTime;
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    audit::{Actor, Event, Kind},
    error::Error,
    rotation::{self, Candidate, Plan},
    store::{self, Pool},
    token::{KeyCipher, KeyError, KeyName, SigningKey, StoredKey},
};

/// How often keys are created, activated and retired if that is due. It is far below the time for which a key is published before it signs.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// How often the stored keys are compared with the loaded ones.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Cheap to clone; all clones share the keys.
#[derive(Clone)]
pub struct Keyring {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    cipher: KeyCipher,
    /// The cluster has two secrets.
    is_replaced: bool,
    interval: time::Duration,
    /// What is loaded. Locked during a refresh, so that the rows of a slow one do not replace newer rows.
    names: Mutex<Vec<KeyName>>,
    signer: watch::Sender<Arc<SigningKey>>,
    published: watch::Sender<Vec<JsonWebKey>>,
}

/// What follows from the stored keys.
struct Loaded {
    names: Vec<KeyName>,
    signer: SigningKey,
    published: Vec<JsonWebKey>,
}

/// The stored keys. `decrypted[i]` is the key of `rows[i]`, if this cluster's secret decrypts it.
struct KeySet {
    rows: Vec<StoredKey>,
    decrypted: Vec<Option<SigningKey>>,
}

impl Keyring {
    /// Loads the keys, and creates the first one.
    ///
    /// # Errors
    /// The database or the random number generator failed.
    pub async fn load(pool: Pool, secret: &ClusterSecret, interval: time::Duration, now: OffsetDateTime) -> Result<Self, Error> {
        let cipher = KeyCipher::new(secret)?;
        let Loaded { names, signer, published } = rotate(&pool, &cipher, interval, now).await?;
        let (signer, published) = (watch::Sender::new(Arc::new(signer)), watch::Sender::new(published));
        let is_replaced = secret.is_being_replaced();
        let shared = Shared { pool, cipher, is_replaced, interval, names: Mutex::new(names), signer, published };
        let keyring = Self { shared: Arc::new(shared) };
        keyring.renew().await?;
        Ok(keyring)
    }

    /// The token with these claims, for a gateway, which keeps it for minutes. A key that another replica has deleted before the call does
    /// not sign it. So a gateway that learns that a session has changed, as all have when a key is replaced at once, gets a token that counts.
    ///
    /// # Errors
    /// The database failed, or the system provided no random bytes.
    pub(crate) async fn sign_to_keep(&self, claims: &Claims, now: OffsetDateTime) -> Result<String, Error> {
        self.refresh_if_changed(now).await?;
        Ok(self.sign(claims)?)
    }

    /// The token with these claims, signed with the key that was loaded.
    ///
    /// # Errors
    /// The system provided no random bytes.
    pub fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let signer = Arc::clone(&self.shared.signer.borrow());
        signer.sign(claims)
    }

    /// A new key, which is not stored yet.
    ///
    /// # Errors
    /// The system provided no random bytes.
    pub(crate) fn generate(&self, now: OffsetDateTime) -> Result<StoredKey, KeyError> {
        StoredKey::generate(&self.shared.cipher, now)
    }

    /// The public keys, the signing one first.
    pub(crate) fn key_set(&self) -> Vec<JsonWebKey> {
        self.shared.published.borrow().clone()
    }

    /// [`Keyring::key_set`] and its changes.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Vec<JsonWebKey>> {
        self.shared.published.subscribe()
    }

    /// Loads the keys again. Creates, activates and retires keys that are due.
    ///
    /// # Errors
    /// The database failed; the keys stay as they are.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<(), Error> {
        let mut names = self.shared.names.lock().await;
        self.load_again(&mut names, now).await
    }

    /// Does so only if the stored keys are not the loaded ones. Otherwise this takes one query.
    async fn refresh_if_changed(&self, now: OffsetDateTime) -> Result<(), Error> {
        let stored = store::keys::names(&self.shared.pool).await?;
        let mut names = self.shared.names.lock().await;
        // Whoever waited for the lock meanwhile has them.
        if *names == stored { Ok(()) } else { self.load_again(&mut names, now).await }
    }

    async fn load_again(&self, names: &mut Vec<KeyName>, now: OffsetDateTime) -> Result<(), Error> {
        let shared = &self.shared;
        let loaded = rotate(&shared.pool, &shared.cipher, shared.interval, now).await?;
        self.renew().await?;
        // A key is published before it signs, also within this process.
        shared.published.send_replace(loaded.published);
        shared.signer.send_replace(Arc::new(loaded.signer));
        *names = loaded.names;
        Ok(())
    }

    /// Seals with the current secret the private keys that the second one opens. It does nothing while there is one secret.
    async fn renew(&self) -> Result<(), Error> {
        let Shared { pool, cipher, is_replaced, .. } = &*self.shared;
        if !is_replaced {
            return Ok(());
        }
        for row in store::keys::all(pool).await? {
            // A key that no secret opens has its warning from `decrypt`.
            let Ok(Some(renewed)) = cipher.renewed(&row) else { continue };
            store::keys::replace_sealed(pool, &row.kid, &row.sealed_private, &renewed).await?;
            tracing::info!(kid = row.kid, "a signing key was sealed with the new cluster secret");
        }
        Ok(())
    }

    /// Refreshes until the process stops.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut checks = Ticks::new(CHECK_INTERVAL, stop);
        let mut refreshed = Instant::now();
        while checks.next().await {
            let is_due = refreshed.elapsed() >= REFRESH_INTERVAL;
            if is_due {
                refreshed = Instant::now();
            }
            let outcome = if is_due { self.refresh(clock::now()).await } else { self.refresh_if_changed(clock::now()).await };
            if let Err(error) = outcome {
                tracing::warn!(cause = chassis::error::chain(&error), "the signing keys could not be refreshed; the current ones stay");
            }
        }
    }
}

/// Loads the keys and does the rotation that is due. Takes the lock only if something is due.
async fn rotate(pool: &Pool, cipher: &KeyCipher, interval: time::Duration, now: OffsetDateTime) -> Result<Loaded, Error> {
    let mut keys = decrypt(store::keys::all(pool).await?, cipher);
    let mut plan = keys.plan(interval, now);
    if plan.create || !plan.retired.is_empty() {
        let mut tx = store::begin(pool).await?;
        store::keys::lock(&mut *tx).await?;
        // Another replica may have done the same meanwhile.
        let mut rows = store::keys::all(&mut *tx).await?;
        let due = decrypt(rows.clone(), cipher).plan(interval, now);
        if due.create {
            let key = StoredKey::generate(cipher, now)?;
            store::keys::insert(&mut *tx, &key).await?;
            let created = Event::new(Kind::KeyCreated, Actor::System, now).with("kid", &key.kid);
            store::audit::append(&mut *tx, &created).await?;
            tracing::info!(kid = key.kid, "a signing key was created");
            rows.push(key);
        }
        for index in due.retired {
            store::keys::delete(&mut *tx, &rows[index].kid).await?;
            let retired = Event::new(Kind::KeyRetired, Actor::System, now).with("kid", &rows[index].kid);
            store::audit::append(&mut *tx, &retired).await?;
            tracing::info!(kid = rows[index].kid, "a signing key was retired");
        }
        store::commit(tx).await?;
        keys = decrypt(store::keys::all(pool).await?, cipher);
        plan = keys.plan(interval, now);
    }
    keys.into_loaded(plan.signer)
}

fn decrypt(rows: Vec<StoredKey>, cipher: &KeyCipher) -> KeySet {
    let decrypted = rows
        .iter()
        .map(|row| {
            SigningKey::decrypt(row, cipher).inspect_err(|e| tracing::warn!(kid = row.kid, "{e}; it is published but does not sign")).ok()
        })
        .collect();
    KeySet { rows, decrypted }
}

impl KeySet {
    fn plan(&self, interval: time::Duration, now: OffsetDateTime) -> Plan {
        let candidates: Vec<Candidate> = self
            .rows
            .iter()
            .zip(&self.decrypted)
            .map(|(row, key)| Candidate { created_at: row.created_at, usable: key.is_some() })
            .collect();
        rotation::plan(&candidates, interval, now)
    }

    /// With the public key of the one that signs first.
    fn into_loaded(mut self, signer: Option<usize>) -> Result<Loaded, Error> {
        let index = signer.ok_or(Error::NoSigningKey)?;
        let signer = self.decrypted[index].take().ok_or(Error::NoSigningKey)?;
        let names = self.rows.iter().map(|row| KeyName { kid: row.kid.clone(), created_at: row.created_at }).collect();
        self.rows.swap(0, index);
        Ok(Loaded { names, signer, published: self.rows.iter().filter_map(StoredKey::public).collect() })
    }
}
