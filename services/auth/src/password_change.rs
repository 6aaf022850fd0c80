//! A new password. It ends all sessions of the account, because one of them may be that of somebody who knew the old one.

use chassis::context::Context;
use time::OffsetDateTime;

use crate::{
    account::NewSession,
    app::App,
    audit::{Actor, Event, Kind},
    email::EmailLookup,
    email_token::Purpose,
    error::Error,
    limit,
    mail::queue::{Kind as MailKind, Mail},
    origin::Origin,
    password::{self, Verdict},
    session::{Session, SessionSecret},
    session_list::{end, signed_in},
    store::{self, audit, email_tokens, mails, sessions, users},
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
/// SESSION_ENDED, SESSION_REQUIRED, RATE_LIMITED, BAD_CREDENTIALS, WEAK_PASSWORD, OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn change(app: &App, context: &Context, change: &Change, now: OffsetDateTime) -> Result<NewSession, Error> {
    let address = limit::address_of(context);
    // The password of an ended session's account must not be guessed with its last access token.
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    drop(tx);
    let account = users::credentials_of(&app.pool, user.id, &address).await?.ok_or(Error::SessionEnded)?;
    let identity = EmailLookup::new(&account.user.email).identity;
    limit::count(&app.limiter, context, &address, (!account.from_known_address).then_some(identity.as_str())).await?;

    let hash = new_hash(app, context, &account, change).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    if !users::replace_password_hash(&mut *tx, user.id, account.password_hash.as_deref().unwrap_or_default(), &hash).await? {
        return Err(Error::BadCredentials);
    }
    let ended = sessions::delete_all_of_user(&mut *tx, user.id, None).await?;
    let origin = Origin::new(&change.user_agent, context.client_address);
    let (session, secret) = (Session::start(user.id, now).with_origin(origin), SessionSecret::generate()?);
    if !sessions::insert(&mut *tx, &session, Some(&secret.hash())).await? {
        return Err(Error::SessionEnded);
    }
    let event = Event::of(context, Kind::PasswordChanged, Actor::User(user.id), user.id, now).with("session", &session.id.to_string());
    audit::append(&mut *tx, &event).await?;
    // Whoever knew the old password may have a link for a reset, and has addresses that are known.
    email_tokens::delete(&mut *tx, &identity, user.id, &[Purpose::Reset]).await?;
    users::forget_addresses_of(&mut *tx, user.id, &address).await?;
    mails::insert(&mut *tx, &Mail::to_account(MailKind::PasswordChanged, user.id, &user.email, now)).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(NewSession { user, session, secret })
}

/// The hash of the new password, if the current one is right.
async fn new_hash(app: &App, context: &Context, account: &Credentials, change: &Change) -> Result<String, Error> {
    if app.hashes.verify(context.client_address, change.current.clone(), account.password_hash.clone()).await? == Verdict::Wrong {
        return Err(Error::BadCredentials);
    }
    let personal = password::personal_words(&account.user.email, &account.user.display_name);
    app.hashes.hash(context.client_address, change.new.clone(), personal).await
}
