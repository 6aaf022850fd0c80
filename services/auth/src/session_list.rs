//! The sessions of an account: their list, and their end. Each function is the work of one RPC between decoding and encoding.

use chassis::context::Context;
use proto::id::{SessionId, UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
    audit::{Actor, Event, Kind as EventKind},
    error::Error,
    session::{Kind, Session},
    store::{self, Pool, Tx, audit, revocations, sessions, users},
    user::User,
};

/// Entries of a list.
const MAX_LISTED: i64 = 500;

/// The live sessions of an account, the most recently used first.
pub(crate) async fn of_account(pool: &Pool, user: UserId, now: OffsetDateTime) -> Result<Vec<Session>, Error> {
    let mut found = sessions::of_user(pool, user, now, MAX_LISTED).await?;
    found.retain(|session| session.is_live(now));
    Ok(found)
}

/// The live sessions of the caller's account, the most recently used first.
///
/// # Errors
/// SESSION_ENDED.
pub(crate) async fn list(pool: &Pool, context: &Context, now: OffsetDateTime) -> Result<Vec<Session>, Error> {
    let caller = context.user()?;
    let live = of_account(pool, caller.id, now).await?;
    if live.len() < MAX_LISTED.unsigned_abs() as usize && !live.iter().any(|session| session.id == caller.session_id) {
        return Err(Error::SessionEnded);
    }
    Ok(live)
}

/// Ends one session.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, SESSION_NOT_FOUND.
pub(crate) async fn revoke(app: &App, context: &Context, id: SessionId, now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    let ended = sessions::delete_of_user(&mut *tx, user.id, id).await?.ok_or(Error::SessionNotFound)?;
    audit::append(&mut *tx, &revocation(context, &user, 1, now).with("session", &id.to_string())).await?;
    end(app, tx, &[ended], now).await
}

/// Ends all sessions of the account, or all but that of the caller. Returns their number.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED.
pub(crate) async fn revoke_all(app: &App, context: &Context, include_current: bool, now: OffsetDateTime) -> Result<usize, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = signed_in(&mut tx, context, now).await?;
    let ended = sessions::delete_all_of_user(&mut *tx, user.id, (!include_current).then_some(current.id)).await?;
    if !ended.is_empty() {
        audit::append(&mut *tx, &revocation(context, &user, ended.len(), now)).await?;
    }
    end(app, tx, &ended, now).await?;
    Ok(ended.len())
}

/// What the audit log has for ended sessions.
fn revocation(context: &Context, user: &User, count: usize, now: OffsetDateTime) -> Event {
    Event::of(context, EventKind::SessionsRevoked, Actor::User(user.id), user.id, now).with("sessions", &count.to_string())
}

/// The caller's account and session. No session of the account begins before the transaction ends.
///
/// # Errors
/// SESSION_ENDED; SESSION_REQUIRED if the session is not that of a sign-in.
pub(crate) async fn signed_in(tx: &mut Tx, context: &Context, now: OffsetDateTime) -> Result<(User, Session), Error> {
    let caller = context.user()?;
    users::lock(&mut **tx, caller.id).await?;
    let found = sessions::by_id(&mut **tx, caller.session_id).await?;
    let (user, session) = found.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)?;
    // The server refuses operators, too. A replica of the release before makes access tokens that do not name them.
    if session.kind == Kind::SignIn && session.impersonator.is_none() { Ok((user, session)) } else { Err(Error::SessionRequired) }
}

/// Reports the end of deleted sessions, and commits.
pub(crate) async fn end(app: &App, mut tx: Tx, ended: &[SessionId], now: OffsetDateTime) -> Result<(), Error> {
    if !ended.is_empty() {
        revocations::append(&mut tx, ended, now).await?;
    }
    store::commit(tx).await?;
    app.feed.notify();
    Ok(())
}
