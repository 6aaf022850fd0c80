//! An account whose address nobody has verified yields to whoever proves the address: somebody else may have made it. The proof of a sign-up
//! or of a provider gives the account to the owner of the address. A proof for another account of theirs deletes it.

use chassis::context::Context;
use proto::id::{SessionId, UserId};
use time::OffsetDateTime;

use crate::{
    account_deletion,
    audit::{Actor, Event, Kind},
    email::{Email, EmailLookup},
    error::Error,
    mail::queue::Kind as MailKind,
    store::{Tx, accounts, audit, identities, mails, proofs, second_factors, sessions, users},
    user::Account,
};

/// Gives the account to the person who owns its address, with the name of the person: whatever could sign in to it ends. The tokens of its links
/// stay; the caller deletes them. Returns the sessions that ended. Their end has to be reported last in the transaction. `None` if somebody has
/// verified the address, or an operator has disabled the account.
///
/// # Errors
/// The database failed.
pub(crate) async fn take_over(
    tx: &mut Tx,
    context: &Context,
    (id, display_name): (UserId, &str),
    now: OffsetDateTime,
) -> Result<Option<Vec<SessionId>>, Error> {
    users::lock(&mut **tx, id).await?;
    // Somebody may have verified it meanwhile.
    if !proofs::yield_address(&mut **tx, id, display_name, now).await? {
        return Ok(None);
    }
    identities::delete_of_user(&mut **tx, id).await?;
    second_factors::delete_all(tx, id).await?;
    account_deletion::delete_keys(tx, id, now).await?;
    mails::delete_waiting(&mut **tx, id, MailKind::ChangeEmail).await?;
    users::forget_addresses_of(&mut **tx, id, "").await?;
    let event = Event::of(context, Kind::AddressVerified, Actor::User(id), id, now);
    let mut ended = account_deletion::delete_service_accounts(tx, id, &event).await?;
    ended.extend(sessions::delete_all_of_user(&mut **tx, id, None).await?);
    audit::append(&mut **tx, &event.with("sessions", &ended.len().to_string())).await?;
    Ok(Some(ended))
}

/// The account that has the address and yields it to the account of the caller. Both are locked, in the order of their ids: two people who
/// prove the addresses of each other would otherwise wait for each other.
///
/// # Errors
/// The database failed.
pub(crate) async fn lock_holder(tx: &mut Tx, email: &Email, caller: UserId) -> Result<Option<Account>, Error> {
    let found = accounts::by_email(&mut **tx, &EmailLookup::new(email.as_str())).await?;
    let Some(holder) = found.filter(|holder| holder.user.id != caller && holder.yields()) else { return Ok(None) };
    let mut ids = [caller, holder.user.id];
    ids.sort_unstable();
    for id in ids {
        users::lock(&mut **tx, id).await?;
    }
    // Somebody may have verified it meanwhile.
    Ok(accounts::by_id(&mut **tx, holder.user.id).await?.filter(Account::yields))
}
