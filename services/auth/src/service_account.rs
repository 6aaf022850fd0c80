//! Service accounts: accounts of programs, which belong to a person. Nobody signs in to one; it has only API keys ([`crate::api_key`]). Each
//! function is the work of one RPC between decoding and encoding.

use chassis::context::Context;
use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

use crate::{
    account, account_deletion,
    app::App,
    audit::{Actor, Event, Kind},
    error::Error,
    limit,
    recent_proof::recently_proved,
    session_list::{end, signed_in},
    store::{self, Pool, Tx, audit, service_accounts},
    user::{ServiceAccount, User},
};

/// Service accounts of one person.
const MAX_ACCOUNTS: u32 = 10;

/// Makes a service account. Each has limits of its own, so those that were deleted since count, too.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, TOO_MANY_CREDENTIALS; RATE_LIMITED with the limits of the policy; UNAVAILABLE if
/// rate-limit does not answer.
pub(crate) async fn create(app: &App, context: &Context, display_name: String, now: OffsetDateTime) -> Result<ServiceAccount, Error> {
    // A request that is refused for another reason does not count, and no transaction waits for rate-limit.
    let mut tx = store::begin(&app.pool).await?;
    let owner = owner_with_room(&mut tx, context, now).await?;
    store::commit(tx).await?;
    limit::count_service_account(&app.limiter, context, owner.id).await?;
    let mut tx = store::begin(&app.pool).await?;
    let owner = owner_with_room(&mut tx, context, now).await?;
    let account = ServiceAccount { id: UserId::generate(), display_name, created_at: now, disabled_at: None };
    service_accounts::insert(&mut *tx, owner.id, &account, Plan::Free).await?;
    audit::append(&mut *tx, &event(context, Kind::ServiceAccountCreated, (owner.id, account.id), now)).await?;
    store::commit(tx).await?;
    Ok(account)
}

/// The caller, who has recently proved who they are and may have one more service account.
async fn owner_with_room(tx: &mut Tx, context: &Context, now: OffsetDateTime) -> Result<User, Error> {
    let (owner, _) = recently_proved(tx, context, now).await?;
    if service_accounts::count(&mut **tx, owner.id).await? >= i64::from(MAX_ACCOUNTS) {
        return Err(Error::TooManyCredentials("service accounts", MAX_ACCOUNTS));
    }
    Ok(owner)
}

/// The service accounts of the caller, in the order of their creation.
///
/// # Errors
/// TOKEN_MISSING, SESSION_ENDED.
pub(crate) async fn list(pool: &Pool, context: &Context, now: OffsetDateTime) -> Result<Vec<ServiceAccount>, Error> {
    let (owner, _) = account::current(pool, context, now).await?;
    Ok(service_accounts::of_owner(pool, owner.id).await?)
}

/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, SERVICE_ACCOUNT_NOT_FOUND.
pub(crate) async fn rename(app: &App, context: &Context, id: UserId, name: &str, now: OffsetDateTime) -> Result<ServiceAccount, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (owner, _) = signed_in(&mut tx, context, now).await?;
    let renamed = service_accounts::rename(&mut *tx, owner.id, id, name).await?.ok_or(Error::ServiceAccountNotFound)?;
    audit::append(&mut *tx, &event(context, Kind::ServiceAccountRenamed, (owner.id, id), now)).await?;
    store::commit(tx).await?;
    Ok(renamed)
}

/// Deletes a service account with its keys. Its projects follow through the log of deleted accounts.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, SERVICE_ACCOUNT_NOT_FOUND.
pub(crate) async fn delete(app: &App, context: &Context, id: UserId, now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (owner, _) = recently_proved(&mut tx, context, now).await?;
    service_accounts::find(&mut *tx, owner.id, id).await?.ok_or(Error::ServiceAccountNotFound)?;
    let deletion = Event::of(context, Kind::UserDeleted, Actor::User(owner.id), id, now);
    // An operator may have deleted it meanwhile.
    let ended = account_deletion::delete_service_account(&mut tx, (id, owner.id), deletion).await?.ok_or(Error::ServiceAccountNotFound)?;
    audit::append(&mut *tx, &event(context, Kind::ServiceAccountDeleted, (owner.id, id), now)).await?;
    end(app, tx, &ended, now).await
}

/// An event about the owner, which names the service account.
fn event(context: &Context, kind: Kind, (owner, account): (UserId, UserId), now: OffsetDateTime) -> Event {
    Event::of(context, kind, Actor::User(owner), owner, now).with("service_account", &account.to_string())
}
