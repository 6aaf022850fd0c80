//! The ways into an account besides its password.

use proto::id::UserId;

use super::{StoreError, Tx, identities, passkeys, second_factors};
use crate::way_in::{Way, WayIn};

/// The identities, the passkeys and the authenticator app of an account.
pub(crate) async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<WayIn>, StoreError> {
    let identities = identities::of_user(&mut **tx, user).await?;
    let passkeys = passkeys::of_user(&mut **tx, user).await?;
    let app = second_factors::totp(&mut **tx, user).await?.and_then(|row| row.confirmed_at);
    let identities = identities
        .into_iter()
        .map(|identity| WayIn { way: Way::Identity { id: identity.id, provider: identity.provider }, added_at: identity.created_at });
    let passkeys = passkeys.into_iter().map(|passkey| WayIn { way: Way::Passkey(passkey.id), added_at: passkey.created_at });
    let app = app.into_iter().map(|added_at| WayIn { way: Way::AuthenticatorApp, added_at });
    Ok(identities.chain(passkeys).chain(app).collect())
}
