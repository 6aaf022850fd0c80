//! The address that somebody with a session of an account asked for, until a link confirms it. What a person does against a thief ends it, too.

use crate::{
    email::EmailLookup,
    email_token::Purpose,
    mail::queue::Kind,
    store::{StoreError, Tx, email_tokens, mails},
    user::User,
};

/// Deletes the links to a new address of the account, and the mails with such links that were not sent yet.
///
/// # Errors
/// The database failed.
pub(crate) async fn forget(tx: &mut Tx, user: &User) -> Result<(), StoreError> {
    mails::delete_waiting(&mut **tx, user.id, Kind::ChangeEmail).await?;
    let identity = EmailLookup::new(&user.email).identity;
    email_tokens::delete(&mut **tx, &identity, user.id, &[Purpose::ChangeEmail]).await
}
