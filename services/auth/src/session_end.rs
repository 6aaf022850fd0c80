//! The end of sessions by their account: of one, of all others, and of all. Each function is the work of one RPC between decoding and encoding.

use chassis::context::Context;
use proto::id::SessionId;
use time::OffsetDateTime;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    error::Error,
    pending_address,
    recent_proof::{check_recent, recently_proved},
    session_list::{end, signed_in},
    store::{self, audit, sessions},
    user::User,
};

/// Ends one session. Another one than that of the caller needs a recent proof.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, SESSION_NOT_FOUND.
pub(crate) async fn revoke(app: &App, context: &Context, id: SessionId, now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = signed_in(&mut tx, context, now).await?;
    if id != current.id {
        check_recent(&mut tx, &current, now).await?;
    }
    let ended = sessions::delete_of_user(&mut *tx, user.id, id).await?.ok_or(Error::SessionNotFound)?;
    audit::append(&mut *tx, &revocation(context, &user, 1, now).with("session", &id.to_string())).await?;
    end(app, tx, &[ended], now).await
}

/// Ends all sessions of the account, or all but that of the caller. Links to a new address end, too. Returns the number of sessions.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED.
pub(crate) async fn revoke_all(app: &App, context: &Context, include_current: bool, now: OffsetDateTime) -> Result<usize, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = recently_proved(&mut tx, context, now).await?;
    let ended = sessions::delete_all_of_user(&mut *tx, user.id, (!include_current).then_some(current.id)).await?;
    pending_address::forget(&mut tx, &user).await?;
    if !ended.is_empty() {
        audit::append(&mut *tx, &revocation(context, &user, ended.len(), now)).await?;
    }
    end(app, tx, &ended, now).await?;
    Ok(ended.len())
}

/// What the audit log has for ended sessions.
fn revocation(context: &Context, user: &User, count: usize, now: OffsetDateTime) -> Event {
    Event::of(context, Kind::SessionsRevoked, Actor::User(user.id), user.id, now).with("sessions", &count.to_string())
}
