//! Another address of an account. The person asks for it with a recent proof, and confirms it with the link of a mail to the new address. The
//! link works only in a session of the account, so an address with a slip of the pen gives the account to nobody.

use chassis::context::Context;
use proto::error::{Fault, FieldViolation};
use time::OffsetDateTime;

use crate::{
    account_deletion,
    app::App,
    audit::{Actor, Event, Kind},
    email::{Email, EmailLookup},
    email_token::{EmailToken, Proof, Purpose},
    error::{Error, SERVICE},
    limit,
    mail::queue::{Kind as MailKind, Mail},
    recent_proof::recently_proved,
    session::SessionSecret,
    session_list::{end, signed_in},
    session_start::NewSession,
    store::{self, audit, email_tokens, mails, proofs, second_factors, sessions, users},
    takeover,
    user::User,
};

/// Asks for a mail to the new address. Whether another account has it is found when the mail is sent, so this call does the same for every
/// address.
///
/// # Errors
/// TOKEN_MISSING, SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, RATE_LIMITED, INVALID_FIELD for the address that the account has, and for
/// a domain that may not sign up.
pub(crate) async fn request(app: &App, context: &Context, new: &Email, now: OffsetDateTime) -> Result<(), Error> {
    let caller = context.user()?;
    if !app.sign_up_domains.allow(new) {
        return Err(invalid("must be of a domain whose addresses may sign up here"));
    }
    // Calls of a session that may not ask must not use up the number of those that may. The account is not locked while the call is counted.
    let mut tx = store::begin(&app.pool).await?;
    recently_proved(&mut tx, context, now).await?;
    drop(tx);
    limit::count_new_address(&app.limiter, context, caller.id).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = recently_proved(&mut tx, context, now).await?;
    if EmailLookup::new(&user.email).identity == new.identity() {
        return Err(invalid("must not be the address that the account has"));
    }
    mails::insert(&mut *tx, &Mail { user_id: Some(user.id), ..Mail::to_typed(MailKind::ChangeEmail, new.as_str(), now) }).await?;
    store::commit(tx).await?;
    app.mail_added.notify_one();
    Ok(())
}

fn invalid(description: &str) -> Error {
    Fault::invalid(SERVICE, vec![FieldViolation { field: "new_email".into(), description: description.into() }]).into()
}

/// The account of the caller, and the address that [`confirm`] would give it. The token stays usable.
///
/// # Errors
/// TOKEN_MISSING, SESSION_ENDED, SESSION_REQUIRED, LINK_INVALID.
pub(crate) async fn find(app: &App, context: &Context, token: &EmailToken, now: OffsetDateTime) -> Result<(User, String), Error> {
    let proof = proof_of(app, context, token, now).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    Ok((user, proof.email))
}

/// What the token proves, if it is of the account of the caller.
async fn proof_of(app: &App, context: &Context, token: &EmailToken, now: OffsetDateTime) -> Result<Proof, Error> {
    let caller = context.user()?;
    let found = email_tokens::find(&app.pool, &token.hash(), &[Purpose::ChangeEmail], now).await?;
    found.filter(|proof| proof.user_id == Some(caller.id)).ok_or(Error::LinkInvalid)
}

/// Gives the account of the caller the address of the token, ends all sessions, and starts one for the caller. If the account has a second
/// factor, the session must have shown one. An account that has the address although nobody has verified it is deleted.
///
/// # Errors
/// TOKEN_MISSING, SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, LINK_INVALID, EMAIL_TAKEN.
pub(crate) async fn confirm(app: &App, context: &Context, token: &EmailToken, now: OffsetDateTime) -> Result<NewSession, Error> {
    let proof = proof_of(app, context, token, now).await?;
    let email: Email = proof.email.parse().map_err(|_| Error::LinkInvalid)?;
    let mut tx = store::begin(&app.pool).await?;
    let holder = takeover::lock_holder(&mut tx, &email, context.user()?.id).await?;
    let (before, current) = signed_in(&mut tx, context, now).await?;
    second_factors::of(&mut *tx, before.id).await?.check_second(current.shown()).map_err(Error::StepUpRequired)?;
    if !email_tokens::take(&mut *tx, &token.hash()).await? {
        return Err(Error::LinkInvalid);
    }
    let mut ended = match holder {
        Some(holder) => {
            let event = Event::of(context, Kind::UserDeleted, Actor::User(before.id), holder.user.id, now);
            account_deletion::delete_person(&mut tx, &holder.user, event).await?
        }
        None => Vec::new(),
    };
    if !proofs::change_email(&mut *tx, before.id, &email, now).await? {
        return Err(Error::EmailTaken);
    }
    // Links to the address before, and those for other new addresses.
    mails::delete_waiting(&mut *tx, before.id, MailKind::ChangeEmail).await?;
    email_tokens::delete(&mut *tx, &EmailLookup::new(&before.email).identity, before.id, &Purpose::ALL).await?;
    // Whoever knows the password may have addresses that are known.
    users::forget_addresses_of(&mut *tx, before.id, &limit::address_of(context)).await?;
    ended.extend(sessions::delete_all_of_user(&mut *tx, before.id, None).await?);
    let (session, secret) = (current.renewed(now), SessionSecret::generate()?);
    if !sessions::insert(&mut *tx, &session, Some(&secret.hash())).await? {
        return Err(Error::SessionEnded);
    }
    let event = Event::of(context, Kind::AddressChanged, Actor::User(before.id), before.id, now);
    audit::append(&mut *tx, &event.with("session", &session.id.to_string())).await?;
    mails::insert(&mut *tx, &Mail::to_typed(MailKind::EmailChanged, &before.email, now)).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(NewSession { user: User { email: email.as_str().to_owned(), ..before }, session, secret })
}
