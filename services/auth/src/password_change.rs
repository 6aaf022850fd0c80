//! A new password. It ends all sessions of the account, because one of them may be that of somebody who knew the old one.

use chassis::context::Context;
use time::OffsetDateTime;

use crate::{
    account::MAX_RACES,
    app::App,
    audit::{Actor, Event, Kind},
    email::EmailLookup,
    email_token::Purpose,
    error::Error,
    factor::Method,
    limit,
    mail::queue::{Kind as MailKind, Mail},
    origin::Origin,
    password::{self, Verdict},
    pending_address, refused_proof,
    session::{Session, SessionSecret},
    session_list::{end, signed_in},
    session_start::NewSession,
    step_up::{counted, credentials_of},
    store::{self, audit, email_tokens, mails, second_factors, sessions, users},
    user::Credentials,
};

/// A change whose fields are short enough.
pub(crate) struct Change {
    pub(crate) current: String,
    pub(crate) new: String,
    pub(crate) user_agent: String,
}

/// Replaces the password, ends all sessions, and starts one for the caller.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, RATE_LIMITED, BAD_CREDENTIALS, WEAK_PASSWORD, OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn change(app: &App, context: &Context, change: &Change, now: OffsetDateTime) -> Result<NewSession, Error> {
    let mut account = counted(app, context, now).await?;
    for _ in 0..MAX_RACES {
        if let Some(begun) = replace(app, context, (&account, change), now).await? {
            return Ok(begun);
        }
        // A sign-in at the same time has replaced an outdated hash of the same password, or the password was changed.
        account = credentials_of(app, context, account.user.id).await?;
    }
    Err(Error::WrongPassword("current password"))
}

/// Replaces the password if the account has the one that `account` knows. Returns `None` if it has another hash by now.
async fn replace(
    app: &App,
    context: &Context,
    (account, change): (&Credentials, &Change),
    now: OffsetDateTime,
) -> Result<Option<NewSession>, Error> {
    let hash = new_hash(app, context, account, change).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = signed_in(&mut tx, context, now).await?;
    let factors = second_factors::of(&mut *tx, user.id).await?;
    // Without a second factor the current password is the proof.
    if factors.has_second() {
        factors.check(current.shown(), now).map_err(Error::StepUpRequired)?;
    }
    if !users::replace_password_hash(&mut *tx, user.id, account.password_hash.as_deref().unwrap_or_default(), &hash).await? {
        return Ok(None);
    }
    let ended = sessions::delete_all_of_user(&mut *tx, user.id, None).await?;
    let origin = Origin::new(&change.user_agent, context.client_address);
    let session = Session::start(user.id, now).with_origin(origin);
    let session = if factors.has_second() { session.with_proofs_of(&current) } else { session.proved(Method::Password, now) };
    let secret = SessionSecret::generate()?;
    if !sessions::insert(&mut *tx, &session, Some(&secret.hash())).await? {
        return Err(Error::SessionEnded);
    }
    let event = Event::of(context, Kind::PasswordChanged, Actor::User(user.id), user.id, now).with("session", &session.id.to_string());
    audit::append(&mut *tx, &event).await?;
    // Whoever knew the old password may have a link for a reset or for another address, and has addresses that are known.
    let (identity, address) = (EmailLookup::new(&account.user.email).identity, limit::address_of(context));
    pending_address::forget(&mut tx, &user).await?;
    email_tokens::delete(&mut *tx, &identity, user.id, &[Purpose::Reset, Purpose::FirstPassword]).await?;
    users::forget_addresses_of(&mut *tx, user.id, &address).await?;
    mails::insert(&mut *tx, &Mail::to_account(MailKind::PasswordChanged, user.id, &user.email, now)).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(Some(NewSession { user, session, secret }))
}

/// The hash of the new password, if the current one is right.
async fn new_hash(app: &App, context: &Context, account: &Credentials, change: &Change) -> Result<String, Error> {
    if app.hashes.verify(context.client_address, change.current.clone(), account.password_hash.clone()).await? == Verdict::Wrong {
        refused_proof::log(context, Some(account.user.id), "password");
        return Err(Error::WrongPassword("current password"));
    }
    let personal = password::personal_words(&account.user.email, &account.user.display_name);
    app.hashes.hash(context.client_address, change.new.clone(), personal).await
}
