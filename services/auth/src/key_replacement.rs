//! What an operator does with the signing key: another one signs before the schedule of the rotation has one.

use time::OffsetDateTime;

use crate::{
    admin::Change,
    audit::Kind,
    error::Error,
    rotation::SIGNS_AFTER,
    store::{self, audit, keys, revocations},
};

/// A key that replaces the present one.
pub(crate) struct Replacement {
    pub(crate) kid: String,
    pub(crate) signs_from: OffsetDateTime,
}

impl Change<'_> {
    /// Creates a key that signs as after a rotation, and then retires the earlier ones. With `at_once` it signs now, and all earlier keys go:
    /// somebody may have them. The sessions are reported as changed then, so that gateways get access tokens of the new key.
    ///
    /// # Errors
    /// The database or the random number generator failed.
    pub(crate) async fn replace_signing_key(&self, at_once: bool) -> Result<Replacement, Error> {
        let mut tx = store::begin(&self.app.pool).await?;
        keys::lock(&mut *tx).await?;
        let earlier = if at_once { keys::all(&mut *tx).await? } else { Vec::new() };
        let key = self.app.keyring.generate(self.now)?;
        keys::insert(&mut *tx, &key).await?;
        audit::append(&mut *tx, &self.event_of_none(Kind::KeyCreated).with("kid", &key.kid)).await?;
        for old in &earlier {
            keys::delete(&mut *tx, &old.kid).await?;
            audit::append(&mut *tx, &self.event_of_none(Kind::KeyRetired).with("kid", &old.kid)).await?;
        }
        if at_once {
            revocations::append_changes_of_all(&mut tx, self.now).await?;
        }
        store::commit(tx).await?;
        // The replacement has happened. This process signs with the key of before until its next refresh.
        if let Err(error) = self.app.keyring.refresh(self.now).await {
            let cause = chassis::error::chain(&error);
            tracing::warn!(cause, "the signing key was replaced, and this process loads the new one with its next refresh");
        }
        self.app.feed.notify();
        tracing::info!(kid = key.kid, at_once, "an operator has replaced the signing key");
        let signs_from = if at_once { self.now } else { self.now + SIGNS_AFTER };
        Ok(Replacement { kid: key.kid, signs_from })
    }
}
