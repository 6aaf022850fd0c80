//! The end of an account. Its row goes at once, with all that refers to it, so that nobody can sign in and the address is free. An entry in
//! a log tells the services that keep data of people. The entry goes when each of them has deleted its part. The audit log stays.

use chassis::{context::Context, identity::Caller};
use proto::{
    error::{Fault, FieldViolation},
    id::{SessionId, UserId},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    deletion::{Deletion, FOLLOWERS, KEY_STORES, final_before},
    email::EmailLookup,
    email_token::Purpose,
    error::{Error, SERVICE},
    mail::queue::{Kind as MailKind, Mail},
    recent_proof::recently_proved,
    session_list::end,
    store::{self, Pool, Tx, account_deletions, audit, email_tokens, invites, mails, service_accounts, sessions},
    user::User,
};

/// Deletes the account of the caller, who typed its address.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, INVALID_FIELD if the address is not that of the account.
pub(crate) async fn delete_own(app: &App, context: &Context, typed: &str, now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = recently_proved(&mut tx, context, now).await?;
    check_address(&user, typed)?;
    delete(app, tx, &user, Event::of(context, Kind::UserDeleted, Actor::User(user.id), user.id, now)).await?;
    Ok(())
}

fn check_address(user: &User, typed: &str) -> Result<(), Error> {
    if EmailLookup::new(typed).identity == EmailLookup::new(&user.email).identity {
        return Ok(());
    }
    let violation = FieldViolation { field: "email".into(), description: "must be the e-mail address of the account".into() };
    Err(Fault::invalid(SERVICE, vec![violation]).into())
}

/// Deletes the account of a person, with its service accounts. Returns the number of sessions that were ended.
///
/// # Errors
/// USER_NOT_FOUND.
pub(crate) async fn delete(app: &App, mut tx: Tx, user: &User, event: Event) -> Result<usize, Error> {
    let now = event.created_at;
    let ended = delete_person(&mut tx, user, event).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(ended.len())
}

/// Deletes the account of a person, with its service accounts. Returns their sessions, whose end has to be reported.
///
/// # Errors
/// USER_NOT_FOUND.
pub(crate) async fn delete_person(tx: &mut Tx, user: &User, event: Event) -> Result<Vec<SessionId>, Error> {
    let now = event.created_at;
    // The sessions first: their end has to be reported.
    let mut ended = delete_service_accounts(tx, user.id, &event).await?;
    ended.extend(sessions::delete_all_of_user(&mut **tx, user.id, None).await?);
    // Before the account, by which used invites and mails are found.
    let identity = EmailLookup::new(&user.email).identity;
    invites::delete_of(&mut **tx, &identity, user.id).await?;
    mails::keep_notices(&mut **tx, user.id).await?;
    if !account_deletions::delete_user(&mut **tx, user.id).await? {
        return Err(Error::UserNotFound);
    }
    account_deletions::insert(&mut **tx, (user.id, false), FOLLOWERS, now).await?;
    // Of a sign-up or a reset that nobody has finished. Neither refers to the account.
    let mail = Mail::to_typed(MailKind::AccountDeleted, &user.email, now);
    mails::delete_links_to(&mut **tx, &mail.recipient).await?;
    email_tokens::delete(&mut **tx, &identity, user.id, &Purpose::ALL).await?;
    mails::insert(&mut **tx, &mail).await?;
    audit::append(&mut **tx, &event.with("sessions", &ended.len().to_string())).await?;
    Ok(ended)
}

/// Deletes all service accounts of a person. Each has an entry in the log. Returns their sessions, whose end has to be reported.
///
/// # Errors
/// The database failed.
pub(crate) async fn delete_service_accounts(tx: &mut Tx, owner: UserId, event: &Event) -> Result<Vec<SessionId>, Error> {
    let mut ended = Vec::new();
    for id in service_accounts::lock(&mut **tx, owner).await? {
        let event = Event { id: Uuid::now_v7(), kind: Kind::UserDeleted, user: Some(id), ..event.clone() };
        ended.extend(delete_service_account(tx, (id, owner), event).await?.unwrap_or_default());
    }
    Ok(ended)
}

/// Deletes a service account. Returns its sessions, whose end has to be reported; `None` if there is no such account any more.
///
/// # Errors
/// The database failed.
pub(crate) async fn delete_service_account(
    tx: &mut Tx,
    (id, owner): (UserId, UserId),
    event: Event,
) -> Result<Option<Vec<SessionId>>, Error> {
    let ended = sessions::delete_all_of_user(&mut **tx, id, None).await?;
    if !account_deletions::delete_user(&mut **tx, id).await? {
        return Ok(None);
    }
    account_deletions::insert(&mut **tx, (id, false), FOLLOWERS, event.created_at).await?;
    let event = event.with("owner", &owner.to_string()).with("sessions", &ended.len().to_string());
    audit::append(&mut **tx, &event).await?;
    Ok(Some(ended))
}

/// Lets the services delete the keys that were stored for an account before somebody else proved its address. A key of a model provider leads to
/// the server of whoever stored it.
///
/// # Errors
/// The database failed.
pub(crate) async fn delete_keys(tx: &mut Tx, user: UserId, now: OffsetDateTime) -> Result<(), Error> {
    Ok(account_deletions::insert(&mut **tx, (user, true), KEY_STORES, now).await?)
}

/// The deletions after an id that a service has not acknowledged.
///
/// # Errors
/// The database failed.
pub(crate) async fn list(pool: &Pool, follower: Caller, after: i64, size: i64) -> Result<Vec<Deletion>, Error> {
    Ok(account_deletions::waiting(pool, follower, after, size).await?)
}

/// Stores that a service has nothing of these accounts any more. The last service ends a deletion.
///
/// # Errors
/// The database failed.
pub(crate) async fn acknowledge(pool: &Pool, context: &Context, ids: &[i64], now: OffsetDateTime) -> Result<(), Error> {
    let (follower, before) = (context.caller, final_before(now));
    let mut tx = store::begin(pool).await?;
    account_deletions::acknowledge(&mut *tx, follower, ids, before).await?;
    for user in account_deletions::finish(&mut *tx, follower, ids, before).await? {
        let event = Event { user: Some(user), ..Event::new(Kind::DataDeleted, Actor::System, now) };
        audit::append(&mut *tx, &event).await?;
    }
    store::commit(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proto::auth::Plan;

    use super::*;

    #[test]
    fn any_spelling_of_the_address_confirms() {
        let email = "Ada@Example.org".to_owned();
        let user =
            User { id: UserId::generate(), email, display_name: "Ada".into(), plan: Plan::Free, created_at: OffsetDateTime::UNIX_EPOCH };
        for typed in ["ada@example.org", " ADA@EXAMPLE.ORG "] {
            check_address(&user, typed).expect(typed);
        }
        for typed in ["", "ada", "eve@example.org"] {
            let Err(Error::Refused(fault)) = check_address(&user, typed) else { panic!("{typed:?} was accepted") };
            assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "email"));
        }
    }
}
