//! The use of an invite by a sign-up.

use proto::id::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    email::Email,
    error::Error,
    store::{Pool, Tx, invites},
};

/// Refuses a sign-up whose invite cannot be used, before anything is done for it.
///
/// # Errors
/// INVITE_REQUIRED, INVITE_INVALID.
pub(crate) async fn check(pool: &Pool, hash: Option<&[u8]>, email: &Email, now: OffsetDateTime) -> Result<(), Error> {
    let hash = hash.ok_or(Error::InviteRequired)?;
    if invites::is_usable(pool, hash, email.identity(), now).await? { Ok(()) } else { Err(Error::InviteInvalid) }
}

/// Uses an invite for an account that the transaction makes. Returns its id.
///
/// # Errors
/// INVITE_REQUIRED, INVITE_INVALID.
pub(crate) async fn take(tx: &mut Tx, hash: Option<&[u8]>, (user, email): (UserId, &Email), now: OffsetDateTime) -> Result<Uuid, Error> {
    let hash = hash.ok_or(Error::InviteRequired)?;
    invites::take(&mut **tx, hash, (user, email.identity()), now).await?.ok_or(Error::InviteInvalid)
}
