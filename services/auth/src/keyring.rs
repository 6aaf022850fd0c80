//! The keys of access tokens in memory: opened at start, looked at again every minute, so that requests sign and verify without
//! the database. Replicas agree through the table and an advisory lock.

use std::{sync::Arc, time::Duration};

use chassis::{clock, identity::Claims, secret::ClusterSecret};
use proto::auth::JsonWebKey;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    rotation::{self, Candidate, Plan},
    store::{self, Pool},
    token::{KeyError, Seal, SigningKey, StoredKey},
};

/// Far below the time for which a key is published before it signs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Cheap to clone; all clones see a rotation at once.
#[derive(Clone)]
pub struct Keyring {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    seal: Seal,
    interval: time::Duration,
    signer: watch::Sender<Arc<SigningKey>>,
    published: watch::Sender<Vec<JsonWebKey>>,
}

/// The rows with what this cluster's secret makes of them.
struct Loaded {
    rows: Vec<StoredKey>,
    opened: Vec<Option<SigningKey>>,
}

impl Keyring {
    /// Loads the keys; makes the first one.
    ///
    /// # Errors
    /// The database or the system's randomness failed.
    pub async fn open(pool: Pool, secret: &ClusterSecret, interval: time::Duration, now: OffsetDateTime) -> Result<Self, Error> {
        let seal = Seal::new(&secret.derive("auth signing keys"))?;
        let (signer, published) = settle(&pool, &seal, interval, now).await?;
        let shared =
            Shared { pool, seal, interval, signer: watch::Sender::new(Arc::new(signer)), published: watch::Sender::new(published) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The token of these claims, signed by the present key.
    ///
    /// # Errors
    /// Only if the system has no randomness.
    pub fn mint(&self, claims: &Claims) -> Result<String, KeyError> {
        let signer = Arc::clone(&self.shared.signer.borrow());
        signer.mint(claims)
    }

    /// The public keys, the signing one first.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Vec<JsonWebKey>> {
        self.shared.published.subscribe()
    }

    /// Looks at the keys again: makes, takes over and drops what is due.
    ///
    /// # Errors
    /// The database failed; the keys stay as they are.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<(), Error> {
        let shared = &self.shared;
        let (signer, published) = settle(&shared.pool, &shared.seal, shared.interval, now).await?;
        // Published before it signs, here too.
        shared.published.send_replace(published);
        shared.signer.send_replace(Arc::new(signer));
        Ok(())
    }

    /// Refreshes until the process stops.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            if let Err(error) = self.refresh(clock::now()).await {
                tracing::warn!(cause = chassis::error::chain(&error), "the signing keys could not be looked at; the present ones stay");
            }
        }
    }
}

/// Reads the keys and does what is due, under the lock only if something is.
async fn settle(pool: &Pool, seal: &Seal, interval: time::Duration, now: OffsetDateTime) -> Result<(SigningKey, Vec<JsonWebKey>), Error> {
    let mut loaded = load(store::keys::all(pool).await?, seal);
    let mut plan = loaded.plan(interval, now);
    if plan.make || !plan.retired.is_empty() {
        let mut tx = store::begin(pool).await?;
        store::keys::lock(&mut *tx).await?;
        // Another replica may have done it meanwhile.
        let mut rows = store::keys::all(&mut *tx).await?;
        let due = load(rows.clone(), seal).plan(interval, now);
        if due.make {
            let key = StoredKey::generate(seal, now)?;
            store::keys::insert(&mut *tx, &key).await?;
            tracing::info!(kid = key.kid, "a signing key was made");
            rows.push(key);
        }
        for at in due.retired {
            store::keys::delete(&mut *tx, &rows[at].kid).await?;
            tracing::info!(kid = rows[at].kid, "a signing key was retired");
        }
        store::commit(tx).await?;
        loaded = load(store::keys::all(pool).await?, seal);
        plan = loaded.plan(interval, now);
    }
    loaded.split(plan.signer)
}

fn load(rows: Vec<StoredKey>, seal: &Seal) -> Loaded {
    let opened = rows
        .iter()
        .map(|row| {
            SigningKey::open(row, seal).inspect_err(|e| tracing::warn!(kid = row.kid, "{e}; it is published and does not sign")).ok()
        })
        .collect();
    Loaded { rows, opened }
}

impl Loaded {
    fn plan(&self, interval: time::Duration, now: OffsetDateTime) -> Plan {
        let candidates: Vec<Candidate> =
            self.rows.iter().zip(&self.opened).map(|(row, key)| Candidate { created_at: row.created_at, opens: key.is_some() }).collect();
        rotation::plan(&candidates, interval, now)
    }

    fn split(mut self, signer: Option<usize>) -> Result<(SigningKey, Vec<JsonWebKey>), Error> {
        let at = signer.ok_or(Error::NoSigningKey)?;
        let key = self.opened[at].take().ok_or(Error::NoSigningKey)?;
        self.rows.swap(0, at);
        Ok((key, self.rows.iter().filter_map(StoredKey::public).collect()))
    }
}
