//! The sessions of an account: their list, that of the caller, and the report of ended ones.

use chassis::{context::Context, seeded_bug};
use proto::id::{SessionId, UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
    error::Error,
    session::{Kind, Session},
    store::{self, Pool, Tx, revocations, sessions, users},
    user::User,
};

/// Entries of a list.
const MAX_LISTED: i64 = 500;

/// The live sessions of an account, also those of keys, the most recently used first.
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
    let mut live = of_account(pool, caller.id, now).await?;
    if !live.iter().any(|session| session.id == caller.session_id) {
        // A list that has reached its end leaves out live sessions, too.
        let found = sessions::by_id(pool, caller.session_id).await?;
        found.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)?;
    }
    // They have a list of their own.
    live.retain(|session| session.kind != Kind::ApiKey);
    Ok(live)
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
    if session.is_of_person() { Ok((user, session)) } else { Err(Error::SessionRequired) }
}

/// Reports the end of deleted sessions, and commits.
pub(crate) async fn end(app: &App, mut tx: Tx, ended: &[SessionId], now: OffsetDateTime) -> Result<(), Error> {
    if !ended.is_empty() && !seeded_bug::is("end-a-session-in-words") {
        revocations::append(&mut tx, ended, now).await?;
    }
    store::commit(tx).await?;
    app.feed.notify();
    Ok(())
}
