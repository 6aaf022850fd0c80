//! What the owner of an address can do with the link of a mail: create the account of a sign-up, verify the address of an account, and set
//! a new password. The calls that cause such mails only add a row to the queue, so that they do the same for every address.

use chassis::context::Context;
use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
    audit::{Actor, Event, Kind as EventKind},
    email::{Email, EmailLookup},
    email_token::{EmailToken, Proof, Purpose},
    error::Error,
    limit,
    mail::queue::{Kind, Mail, PendingSignUp},
    password,
    store::{
        self, Tx, audit, email_tokens, mails,
        proofs::{self, Account},
        revocations, sessions,
    },
    user::User,
};

/// Proves an address with a token of a sign-up or of a verification. Returns the address. Nobody is signed in.
///
/// # Errors
/// LINK_INVALID.
pub(crate) async fn verify(app: &App, token: &EmailToken, now: OffsetDateTime) -> Result<String, Error> {
    let hash = token.hash();
    let found = email_tokens::find(&app.pool, &hash, &[Purpose::SignUp, Purpose::Verify], now).await?;
    let proof = found.ok_or(Error::LinkInvalid)?;
    // The account is locked before its tokens, here and at a reset. Concurrent uses of two tokens would otherwise wait for each other.
    let mut tx = store::begin(&app.pool).await?;
    let proved = match (&proof.sign_up, proof.user_id) {
        (Some(pending), _) => sign_up(&mut tx, &proof, pending, now).await?,
        (None, Some(id)) if proofs::verify(&mut *tx, id, &proof.email, now).await? => Proved { id, taken_over: false },
        (None, _) => return Err(Error::LinkInvalid),
    };
    if !email_tokens::take(&mut *tx, &hash).await? {
        return Err(Error::LinkInvalid);
    }
    let void: &[Purpose] = if proved.taken_over { &Purpose::ALL } else { &[Purpose::SignUp, Purpose::Verify] };
    email_tokens::delete(&mut *tx, &proof.identity, proved.id, void).await?;
    let kind = if proof.sign_up.is_some() && !proved.taken_over { EventKind::SignedUp } else { EventKind::AddressVerified };
    let event = Event { user: Some(proved.id), ..Event::new(kind, Actor::User(proved.id), now) };
    audit::append(&mut *tx, &event).await?;
    if proved.taken_over {
        end_sessions(&mut tx, proved.id, now).await?;
    }
    store::commit(tx).await?;
    app.feed.notify();
    Ok(proof.email)
}

/// The account of a proved address.
struct Proved {
    id: UserId,
    /// It had another password and perhaps another user before.
    taken_over: bool,
}

/// Creates the account of a sign-up, or gives it one that nobody has verified. An account that somebody else has verified meanwhile stays as
/// it is.
async fn sign_up(tx: &mut Tx, proof: &Proof, pending: &PendingSignUp, now: OffsetDateTime) -> Result<Proved, Error> {
    let email: Email = proof.email.parse().map_err(|_| Error::LinkInvalid)?;
    let user = User {
        id: UserId::generate(),
        email: email.as_str().to_owned(),
        display_name: pending.display_name.clone(),
        plan: Plan::Free,
        created_at: now,
    };
    if proofs::insert_verified(&mut **tx, &user, &email, &pending.password_hash).await? {
        return Ok(Proved { id: user.id, taken_over: false });
    }
    match proofs::lock_by_email(&mut **tx, &EmailLookup::new(email.as_str())).await? {
        Some(Account { id, is_verified: false, .. }) => {
            proofs::take_over(&mut **tx, id, &email, pending, now).await?;
            proofs::forget_networks(&mut **tx, id).await?;
            Ok(Proved { id, taken_over: true })
        }
        _ => Err(Error::LinkInvalid),
    }
}

/// Ends all sessions of an account. Afterwards the transaction has to be committed, and the feed of revocations notified.
async fn end_sessions(tx: &mut Tx, id: UserId, now: OffsetDateTime) -> Result<(), Error> {
    let ended = sessions::delete_all_of_user(&mut **tx, id, None).await?;
    if !ended.is_empty() {
        revocations::append(tx, &ended, now).await?;
    }
    Ok(())
}

/// Asks for a mail to the address of the account, if nobody has verified it.
///
/// # Errors
/// TOKEN_MISSING, SESSION_ENDED.
pub(crate) async fn send_verification(app: &App, context: &Context, now: OffsetDateTime) -> Result<(), Error> {
    let user = context.user()?;
    let account = proofs::by_id(&app.pool, user.id).await?.ok_or(Error::SessionEnded)?;
    mails::insert(&app.pool, &Mail::to_account(Kind::Verify, account.id, &account.email, now)).await?;
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
    end_sessions(&mut tx, id, now).await?;
    store::commit(tx).await?;
    app.feed.notify();
    app.mail_added.notify_one();
    Ok(())
}
