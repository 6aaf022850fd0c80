//! What the owner of an address can do with the link of a mail: create the account of a sign-up, verify the address of an account, and set
//! a new password. The link of an operator sets the first one. The calls that cause such mails only add a row to the queue, so that they do
//! the same for every address.

use chassis::context::Context;
use proto::{
    auth::Plan,
    error::{Fault, FieldViolation},
    id::{SessionId, UserId},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    account, account_deletion,
    app::App,
    audit::{Actor, Event, Kind as EventKind},
    email::{Email, EmailLookup},
    email_token::{EmailToken, Proof, Purpose},
    error::{Error, SERVICE},
    limit,
    mail::queue::{Kind, Mail, PendingSignUp},
    password::{self, Verdict},
    refused_proof,
    session_list::{end, signed_in},
    store::{self, Tx, accounts, audit, email_tokens, identities, mails, passkeys, proofs, second_factors, sessions, users, ways_in},
    takeover,
    user::{Account, User},
    way_in::Way,
};

/// What a person without a session has to do.
const NO_SESSION: &str = "this link verifies the address of an account that exists: sign in to it first, with POST /api/auth/signin or on the page /account/sign-in?next=verify-email";

/// What a token is for that needs no session of its account. The token stays usable.
///
/// # Errors
/// LINK_INVALID.
pub(crate) async fn purpose_of(app: &App, token: &EmailToken, now: OffsetDateTime) -> Result<Purpose, Error> {
    let purposes = [&Purpose::VERIFYING[..], &Purpose::SETTING_PASSWORD[..], &[Purpose::RemoveFactor]].concat();
    let found = email_tokens::find(&app.pool, &token.hash(), &purposes, now).await?;
    found.map(|proof| proof.purpose).ok_or(Error::LinkInvalid)
}

/// Proves an address with a token of a sign-up or of a verification. Returns the address. Nobody is signed in.
///
/// The owner of an address must not prove it for somebody else who has entered it. So a sign-up needs its password, and a verification a session
/// of the account.
///
/// # Errors
/// LINK_INVALID; for a sign-up also INVALID_FIELD without a password, BAD_CREDENTIALS, RATE_LIMITED, OVERLOADED, SHARE_EXHAUSTED; for a
/// verification also TOKEN_MISSING, SESSION_ENDED, SESSION_REQUIRED.
pub(crate) async fn verify(
    app: &App,
    context: &Context,
    token: &EmailToken,
    password: String,
    now: OffsetDateTime,
) -> Result<String, Error> {
    let hash = token.hash();
    let found = email_tokens::find(&app.pool, &hash, &Purpose::VERIFYING, now).await?;
    let mut proof = found.ok_or(Error::LinkInvalid)?;
    if let Some(pending) = &mut proof.sign_up {
        check_password(app, context, &proof.identity, pending, password).await?;
    }
    // The account is locked before its tokens, here and at a reset. Concurrent uses of two tokens would otherwise wait for each other.
    let mut tx = store::begin(&app.pool).await?;
    let (id, ended) = match &proof.sign_up {
        Some(pending) => sign_up(&mut tx, context, (&proof, pending), now).await?,
        None => (verify_own(&mut tx, context, &proof, now).await?, Vec::new()),
    };
    if !email_tokens::take(&mut *tx, &hash).await? {
        return Err(Error::LinkInvalid);
    }
    // A new account has no other links, and those of one that was taken over end.
    let purposes: &[Purpose] = if proof.sign_up.is_some() { &Purpose::ALL } else { &[Purpose::SignUp, Purpose::Verify] };
    email_tokens::delete(&mut *tx, &proof.identity, id, purposes).await?;
    end(app, tx, &ended, now).await?;
    Ok(proof.email)
}

/// Checks that the password is that of the sign-up, which gets a hash of the present cost.
async fn check_password(app: &App, context: &Context, identity: &str, pending: &mut PendingSignUp, password: String) -> Result<(), Error> {
    if password.is_empty() {
        let description = "must be the password of the sign-up".to_owned();
        return Err(Fault::invalid(SERVICE, vec![FieldViolation { field: "password".into(), description }]).into());
    }
    limit::count_confirmation(&app.limiter, context, identity).await?;
    match app.hashes.verify(context.client_address, password, Some(pending.password_hash.clone())).await? {
        Verdict::Correct => {}
        Verdict::Outdated(new) => pending.password_hash = new,
        Verdict::Wrong => {
            // The account does not exist yet.
            refused_proof::log(context, None, "password");
            return Err(Error::WrongPassword("password"));
        }
    }
    Ok(())
}

/// Marks the address of the caller's account as verified, if the token is of it.
async fn verify_own(tx: &mut Tx, context: &Context, proof: &Proof, now: OffsetDateTime) -> Result<UserId, Error> {
    let caller = context.user().map_err(|fault| Fault { message: NO_SESSION.to_owned(), ..fault })?;
    if proof.user_id != Some(caller.id) {
        return Err(Error::LinkInvalid);
    }
    let (user, _) = signed_in(tx, context, now).await?;
    if !proofs::verify(&mut **tx, user.id, &proof.email, now).await? {
        return Err(Error::LinkInvalid);
    }
    audit::append(&mut **tx, &Event::of(context, EventKind::AddressVerified, Actor::User(user.id), user.id, now)).await?;
    Ok(user.id)
}

/// Creates the account of a sign-up. If somebody else has made one with the address by now, it is taken over, unless its address is verified.
/// Returns the account, and the sessions whose end has to be reported.
async fn sign_up(
    tx: &mut Tx,
    context: &Context,
    (proof, pending): (&Proof, &PendingSignUp),
    now: OffsetDateTime,
) -> Result<(UserId, Vec<SessionId>), Error> {
    let email: Email = proof.email.parse().map_err(|_| Error::LinkInvalid)?;
    let user = User {
        id: UserId::generate(),
        email: email.as_str().to_owned(),
        display_name: pending.display_name.clone(),
        plan: Plan::Free,
        created_at: now,
    };
    if proofs::insert_verified(&mut **tx, &user, &email, Some(&pending.password_hash)).await? {
        audit::append(&mut **tx, &Event::of(context, EventKind::SignedUp, Actor::User(user.id), user.id, now)).await?;
        return Ok((user.id, Vec::new()));
    }
    let holder = accounts::by_email(&mut **tx, &EmailLookup::new(email.as_str())).await?.ok_or(Error::LinkInvalid)?.user;
    let ended = takeover::take_over(tx, context, (holder.id, &user.display_name), now).await?.ok_or(Error::LinkInvalid)?;
    if !proofs::reset_password(&mut **tx, holder.id, &holder.email, &pending.password_hash, None).await? {
        return Err(Error::LinkInvalid);
    }
    Ok((holder.id, ended))
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

/// Sets a new or a first password and ends all sessions. Nobody is signed in. A refused password leaves the token usable.
///
/// The token of a sign-up creates its account with this password. The owner of the address may not know that of the sign-up.
///
/// New identities go: a thief of a session may have linked them, and only the owner reads the mails. Second factors stay, because a mail alone
/// must not replace one. All ways into an account go whose address nobody had verified.
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
    let found = email_tokens::find(&app.pool, &token.hash(), &Purpose::SETTING_PASSWORD, now).await?;
    let proof = found.ok_or(Error::LinkInvalid)?;
    if proof.purpose == Purpose::SignUp {
        return sign_up_with(app, context, (&proof, token), password, now).await;
    }
    let id = proof.user_id.ok_or(Error::LinkInvalid)?;
    let account = accounts::by_id(&app.pool, id).await?.ok_or(Error::LinkInvalid)?;
    let personal = password::personal_words(&proof.email, &account.user.display_name);
    let hash = app.hashes.hash(context.client_address, password, personal).await?;

    let mut tx = store::begin(&app.pool).await?;
    users::lock(&mut *tx, id).await?;
    let account = accounts::by_id(&mut *tx, id).await?.ok_or(Error::LinkInvalid)?;
    // Only a mail proves the address.
    let verified_at = (proof.purpose == Purpose::Reset).then_some(now);
    if !proofs::reset_password(&mut *tx, id, &proof.email, &hash, verified_at).await?
        || !email_tokens::take(&mut *tx, &token.hash()).await?
    {
        return Err(Error::LinkInvalid);
    }
    mails::delete_waiting(&mut *tx, id, Kind::ChangeEmail).await?;
    email_tokens::delete(&mut *tx, &proof.identity, id, &Purpose::VOID_AFTER_RESET).await?;
    mails::insert(&mut *tx, &Mail::to_account(Kind::PasswordReset, id, &proof.email, now)).await?;
    let event = Event::of(context, EventKind::PasswordReset, Actor::User(id), id, now);
    audit::append(&mut *tx, &event).await?;
    remove_ways_in(&mut tx, &account, &event).await?;
    // Keys of model providers may have the address of a thief, who would read the prompts.
    account_deletion::delete_keys(&mut tx, id, now).await?;
    let mut ended = Vec::new();
    if account.verified_at.is_none() {
        // Whoever signed up with the address of somebody else must not keep its owner out, or stay in.
        ended = account_deletion::delete_service_accounts(&mut tx, id, &event).await?;
    }
    // The addresses of whoever knew the old password are new ones from now on. That of whoever has the link is known: attempts from elsewhere must
    // not keep the owner from the sign-in that follows.
    let address = limit::address_of(context);
    users::forget_addresses_of(&mut *tx, id, &address).await?;
    users::remember_address(&mut *tx, id, &address, now).await?;
    ended.extend(sessions::delete_all_of_user(&mut *tx, id, None).await?);
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(())
}

/// Completes a sign-up with another password and name, for the owner of the address. Somebody else may have signed up with it.
async fn sign_up_with(
    app: &App,
    context: &Context,
    (proof, token): (&Proof, &EmailToken),
    password: String,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let email: Email = proof.email.parse().map_err(|_| Error::LinkInvalid)?;
    let display_name = account::display_name("", &email);
    let personal = password::personal_words(&proof.email, &display_name);
    let password_hash = app.hashes.hash(context.client_address, password, personal).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (id, ended) = sign_up(&mut tx, context, (proof, &PendingSignUp { display_name, password_hash }), now).await?;
    if !email_tokens::take(&mut *tx, &token.hash()).await? {
        return Err(Error::LinkInvalid);
    }
    email_tokens::delete(&mut *tx, &proof.identity, id, &Purpose::ALL).await?;
    end(app, tx, &ended, now).await
}

/// Removes the ways into an account, which is locked, that go at a reset, and recovery codes without a factor. Adds each kind to the audit log,
/// and tells the person.
async fn remove_ways_in(tx: &mut Tx, account: &Account, reset: &Event) -> Result<(), Error> {
    let (user, now) = (&account.user, reset.created_at);
    let (mut has_unlinked, mut has_removed) = (false, false);
    let ways = ways_in::of_user(tx, user.id).await?;
    for way_in in ways.into_iter().filter(|way_in| way_in.goes_at_reset(account.verified_at, now)) {
        match way_in.way {
            Way::Identity { id, provider } => {
                has_unlinked |= identities::delete(&mut **tx, user.id, id).await?;
                let event = Event { id: Uuid::now_v7(), kind: EventKind::IdentityUnlinked, ..reset.clone() };
                audit::append(&mut **tx, &event.with("provider", &provider)).await?;
            }
            Way::Passkey(id) => has_removed |= passkeys::delete(&mut **tx, user.id, id).await?,
            Way::AuthenticatorApp => has_removed |= second_factors::delete_totp(&mut **tx, user.id).await?,
        }
    }
    if !second_factors::of(&mut **tx, user.id).await?.has_second() {
        second_factors::delete_recovery_codes(&mut **tx, user.id).await?;
    }
    if has_unlinked {
        mails::insert(&mut **tx, &Mail::to_account(Kind::IdentityUnlinked, user.id, &user.email, now)).await?;
    }
    if has_removed {
        audit::append(&mut **tx, &Event { id: Uuid::now_v7(), kind: EventKind::FactorsReset, ..reset.clone() }).await?;
        mails::insert(&mut **tx, &Mail::to_account(Kind::FactorRemoved, user.id, &user.email, now)).await?;
    }
    Ok(())
}
