//! How a session of a person begins, whichever way the person has signed in.

use chassis::context::Context;
use time::OffsetDateTime;

use crate::{
    audit::{Actor, Event, Kind},
    error::Error,
    factor::Method,
    limit,
    mail::queue::{Kind as MailKind, Mail},
    origin::Origin,
    session::{Session, SessionSecret},
    store::{self, audit, mails, sessions, users},
    user::User,
};

/// A session that has just begun, with its secret. Only a hash of the secret is stored.
pub(crate) struct NewSession {
    pub(crate) user: User,
    pub(crate) session: Session,
    pub(crate) secret: SessionSecret,
}

/// How a session begins.
pub(crate) struct Start {
    pub(crate) origin: Origin,
    /// What the audit log has for it.
    pub(crate) kind: Kind,
    /// Whether a mail tells the person.
    pub(crate) is_new_device: bool,
    /// What the person has proved themselves with here. A provider is none of them.
    pub(crate) methods: Vec<Method>,
    /// What the audit log has besides the session.
    pub(crate) details: Vec<(&'static str, String)>,
}

/// The last steps of a sign-up and a sign-in, in the transaction of the first ones.
///
/// # Errors
/// BAD_CREDENTIALS if the account is disabled.
pub(crate) async fn begin_session(
    mut tx: store::Tx,
    context: &Context,
    user: User,
    start: Start,
    now: OffsetDateTime,
) -> Result<NewSession, Error> {
    let begun = insert_session(&mut tx, context, user, start, now).await?;
    store::commit(tx).await?;
    begun.ok_or(Error::BadCredentials)
}

/// The same in a transaction that goes on. `None` if the account is disabled, which the audit log then has.
///
/// # Errors
/// The database failed, or the system provided no random bytes.
pub(crate) async fn insert_session(
    tx: &mut store::Tx,
    context: &Context,
    user: User,
    Start { origin, kind, is_new_device, methods, details }: Start,
    now: OffsetDateTime,
) -> Result<Option<NewSession>, Error> {
    let started = Session::start(user.id, now).with_origin(origin);
    let session = methods.into_iter().fold(started, |session, method| session.proved(method, now));
    let secret = SessionSecret::generate()?;
    let event = |kind| Event::of(context, kind, Actor::User(user.id), user.id, now);
    if !sessions::insert(&mut **tx, &session, Some(&secret.hash())).await? {
        audit::append(&mut **tx, &event(Kind::SessionRefused)).await?;
        return Ok(None);
    }
    let address = limit::address_of(context);
    users::remember_address(&mut **tx, user.id, &address, now).await?;
    if is_new_device {
        let mail = Mail::to_account(MailKind::NewDevice, user.id, &user.email, now);
        mails::insert(&mut **tx, &Mail { network: Some(address), ..mail }).await?;
    }
    let event = event(kind).with("session", &session.id.to_string());
    let event = details.iter().fold(event, |event, (key, text)| event.with(key, text));
    audit::append(&mut **tx, &event).await?;
    Ok(Some(NewSession { user, session, secret }))
}
