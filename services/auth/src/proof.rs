//! What the owner of an address can do with the link of a mail: create the account of a sign-up, verify the address of an account, and set
//! a new password. The calls that cause such mails only add a row to the queue, so that they do the same for every address.

use chassis::context::Context;
use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
    audit::{Actor, Event, Kind as EventKind},
    email::Email,
    email_token::{EmailToken, Proof, Purpose},
    error::Error,
    limit,
    mail::queue::{Kind, Mail, PendingSignUp},
    password,
    session_list::{end, signed_in},
    store::{self, Tx, audit, email_tokens, mails, proofs, sessions, users},
    user::User,
};

/// Proves an address with a token of a sign-up or of a verification. Returns the address. Nobody is signed in.
///
/// # Errors
/// LINK_INVALID.
pub(crate) async fn verify(app: &App, context: &Context, token: &EmailToken, now: OffsetDateTime) -> Result<String, Error> {
    let hash = token.hash();
    let found = email_tokens::find(&app.pool, &hash, &[Purpose::SignUp, Purpose::Verify], now).await?;
    let proof = found.ok_or(Error::LinkInvalid)?;
    // The account is locked before its tokens, here and at a reset. Concurrent uses of two tokens would otherwise wait for each other.
    let mut tx = store::begin(&app.pool).await?;
    let (id, kind) = match (&proof.sign_up, proof.user_id) {
        (Some(pending), _) => (sign_up(&mut tx, &proof, pending, now).await?, EventKind::SignedUp),
        (None, Some(id)) if proofs::verify(&mut *tx, id, &proof.email, now).await? => (id, EventKind::AddressVerified),
        (None, _) => return Err(Error::LinkInvalid),
    };
    if !email_tokens::take(&mut *tx, &hash).await? {
        return Err(Error::LinkInvalid);
    }
    email_tokens::delete(&mut *tx, &proof.identity, id, &[Purpose::SignUp, Purpose::Verify]).await?;
    audit::append(&mut *tx, &Event::of(context, kind, Actor::User(id), id, now)).await?;
    store::commit(tx).await?;
    Ok(proof.email)
}

/// Creates the account of a sign-up. An account that exists by now stays as it is.
async fn sign_up(tx: &mut Tx, proof: &Proof, pending: &PendingSignUp, now: OffsetDateTime) -> Result<UserId, Error> {
    let email: Email = proof.email.parse().map_err(|_| Error::LinkInvalid)?;
    let user = User {
        id: UserId::generate(),
        email: email.as_str().to_owned(),
        display_name: pending.display_name.clone(),
        plan: Plan::Free,
        created_at: now,
    };
    let is_inserted = proofs::insert_verified(&mut **tx, &user, &email, &pending.password_hash).await?;
    if is_inserted { Ok(user.id) } else { Err(Error::LinkInvalid) }
}

/// Asks for a mail to the address of the account, if nobody has verified it.
///
/// # Errors
/// TOKEN_MISSING, SESSION_ENDED, SESSION_REQUIRED, RATE_LIMITED.
pub(crate) async fn send_verification(app: &App, context: &Context, now: OffsetDateTime) -> Result<(), Error> {
    // Before the account is locked, and only for a person.
    context.user()?;
    limit::count(&app.limiter, context, &limit::address_of(context), None).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    mails::insert(&mut *tx, &Mail::to_account(Kind::Verify, user.id, &user.email, now)).await?;
    store::commit(tx).await?;
    app.mail_added.notify_one();
    Ok(())
}

/// Asks for a mail to the account of an address. The account is looked up when the mail is sent, so this call does the same without one.
///
/// # Errors
/// RATE_LIMITED.
pub(crate) async fn request_reset(app: &App, context: &Context, email: &str, now: OffsetDateTime) -> Result<(), Error> {
    limit::count(&app.limiter, context, &limit::address_of(context), None).await?;
    mails::insert(&app.pool, &Mail::to_typed(Kind::Reset, email, now)).await?;
    app.mail_added.notify_one();
    Ok(())
}

/// Sets a new password and ends all sessions. Nobody is signed in. A refused password leaves the token usable.
///
/// # Errors
/// LINK_INVALID, WEAK_PASSWORD, OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn confirm_reset(
    app: &App,
    context: &Context,
    token: &EmailToken,
    password: String,
    now: OffsetDateTime,
) -> Result<(), Error> {
    // Without a token nobody makes the service hash.
    let found = email_tokens::find(&app.pool, &token.hash(), &[Purpose::Reset], now).await?;
    let proof = found.ok_or(Error::LinkInvalid)?;
    let id = proof.user_id.ok_or(Error::LinkInvalid)?;
    let personal = password::personal_words(&proof.email, "");
    let hash = app.hashes.hash(context.client_address, password, personal).await?;

    let mut tx = store::begin(&app.pool).await?;
    if !proofs::reset_password(&mut *tx, id, &proof.email, &hash, now).await? || !email_tokens::take(&mut *tx, &token.hash()).await? {
        return Err(Error::LinkInvalid);
    }
    email_tokens::delete(&mut *tx, &proof.identity, id, &Purpose::ALL).await?;
    mails::insert(&mut *tx, &Mail::to_account(Kind::PasswordChanged, id, &proof.email, now)).await?;
    audit::append(&mut *tx, &Event::of(context, EventKind::PasswordReset, Actor::User(id), id, now)).await?;
    // The addresses of whoever knew the old password are new ones from now on.
    users::forget_addresses_of(&mut *tx, id, &limit::address_of(context)).await?;
    let ended = sessions::delete_all_of_user(&mut *tx, id, None).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(())
}
