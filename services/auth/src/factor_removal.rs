//! The link of the mail about a new second factor. It removes the factor for an owner who has not added it: a thief of a session may have, and a
//! sign-in needs the factor from then on. The link is of one factor. A reset of the password leaves it as it is.

use chassis::context::Context;
use proto::id::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    email_token::{EmailToken, Purpose},
    error::Error,
    factor::Method,
    mail::queue::{Kind as MailKind, Mail},
    pending_address,
    session_list::end,
    store::{self, Tx, accounts, audit, email_tokens, mails, passkeys, second_factors, sessions, users},
    user::Account,
};

/// Removes the factor of the token, with the last one also the recovery codes, and ends all sessions. Nobody is signed in.
///
/// # Errors
/// LINK_INVALID, also if the account has the factor no longer, or another address; and while the account is disabled, which uses no token.
pub(crate) async fn remove(app: &App, context: &Context, token: &EmailToken, now: OffsetDateTime) -> Result<(), Error> {
    let hash = token.hash();
    let found = email_tokens::find(&app.pool, &hash, &[Purpose::RemoveFactor], now).await?.ok_or(Error::LinkInvalid)?;
    let (id, factor) = found.user_id.zip(found.factor).ok_or(Error::LinkInvalid)?;
    // The account is locked before its tokens, as at a reset.
    let mut tx = store::begin(&app.pool).await?;
    users::lock(&mut *tx, id).await?;
    let Account { user, disabled_at, .. } = accounts::by_id(&mut *tx, id).await?.ok_or(Error::LinkInvalid)?;
    // An operator may have disabled the account because its mailbox was stolen. A change of the address deletes the tokens that are stored; that
    // of a mail that is being written then is stored later.
    if disabled_at.is_some() || user.email != found.email || !email_tokens::take(&mut *tx, &hash).await? {
        return Err(Error::LinkInvalid);
    }
    let method = delete(&mut tx, id, factor).await?.ok_or(Error::LinkInvalid)?;
    if !second_factors::of(&mut *tx, id).await?.has_second() {
        second_factors::delete_recovery_codes(&mut *tx, id).await?;
    }
    pending_address::forget(&mut tx, &user).await?;
    let ended = sessions::delete_all_of_user(&mut *tx, id, None).await?;
    let event = Event::of(context, Kind::FactorRemoved, Actor::User(id), id, now).with("factor", method.name()).with("by", "mail");
    let event = if method == Method::Passkey { event.with("passkey", &factor.to_string()) } else { event };
    audit::append(&mut *tx, &event.with("sessions", &ended.len().to_string())).await?;
    mails::insert(&mut *tx, &Mail::to_account(MailKind::FactorRemoved, id, &user.email, now)).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(())
}

/// Deletes a factor of an account, which is locked. Returns what it was; `None` if the account has no such factor.
async fn delete(tx: &mut Tx, user: UserId, factor: Uuid) -> Result<Option<Method>, Error> {
    if passkeys::delete(&mut **tx, user, factor).await? {
        return Ok(Some(Method::Passkey));
    }
    let app = second_factors::totp(&mut **tx, user).await?.filter(|row| row.id == factor && row.confirmed_at.is_some());
    if app.is_none() {
        return Ok(None);
    }
    second_factors::delete_totp(&mut **tx, user).await?;
    Ok(Some(Method::Totp))
}
