//! The passkeys of an account. Each function is the work of one RPC between decoding and encoding. [`crate::passkey_use`] signs in with them.

use chassis::context::Context;
use proto::id::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    ceremony::Purpose,
    code::RecoveryCode,
    error::Error,
    factor::Method,
    limit,
    mail::queue::{Kind as MailKind, Mail},
    pending_address,
    provider::person::Identity,
    recent_proof::recently_proved,
    relying_party::AnswerError,
    required_factor, second_factor,
    session::SessionSecret,
    session_list::{end, signed_in},
    store::{self, Tx, audit, identities, mails, passkey_ceremonies, passkeys, revocations, second_factors, sessions},
    user::User,
};

pub(crate) use crate::store::passkeys::Passkey;

/// Passkeys of one account.
const MAX_PASSKEYS: u32 = 20;

/// The answer to a question, with the token of the question.
pub(crate) struct CeremonyAnswer {
    pub(crate) ceremony: SessionSecret,
    pub(crate) credential: String,
}

/// Adds a passkey. Returns the recovery codes if it is the first second factor. The token is used whatever comes of it.
///
/// # Errors
/// PASSKEYS_NOT_OFFERED, CEREMONY_INVALID, SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, TOO_MANY_CREDENTIALS, PASSKEY_INVALID.
pub(crate) async fn create(
    app: &App,
    context: &Context,
    (answered, name): (CeremonyAnswer, &str),
    now: OffsetDateTime,
) -> Result<(Passkey, Vec<RecoveryCode>), Error> {
    let party = app.relying_party()?;
    let caller = context.user()?.session_id;
    let ceremony = passkey_ceremonies::take(&app.pool, &answered.ceremony.hash(), now).await?;
    let ceremony = ceremony.filter(|one| one.is_of(caller, Purpose::Registration)).ok_or(Error::CeremonyInvalid)?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = recently_proved(&mut tx, context, now).await?;
    if passkeys::of_user(&mut *tx, user.id).await?.len() >= MAX_PASSKEYS as usize {
        return Err(Error::TooManyCredentials("passkeys", MAX_PASSKEYS));
    }
    let new = party.register(&answered.credential, ceremony.state).map_err(refused)?;
    let is_first = !second_factors::of(&mut *tx, user.id).await?.has_second();
    // Registered here or with another account: both get the same answer.
    let passkey = passkeys::insert(&mut *tx, user.id, (name, &new), now).await?.ok_or(Error::PasskeyInvalid)?;
    // Each session has to show the factors that the account has now; gateways get new tokens for them.
    sessions::forget_proofs(&mut *tx, user.id).await?;
    pending_address::forget(&mut tx, &user).await?;
    let (codes, ended) =
        if is_first { second_factor::after_first_factor(app, &mut tx, &current, now).await? } else { (Vec::new(), Vec::new()) };
    let event = event(context, Kind::FactorAdded, (user.id, passkey.id), now).with("sessions", &ended.len().to_string());
    report(&mut tx, context, &user, event, Some(passkey.id)).await?;
    revocations::append_changes(&mut tx, user.id, now).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok((passkey, codes))
}

/// The error of an answer, whose cause is only in the log.
pub(crate) fn refused(error: AnswerError) -> Error {
    match error {
        AnswerError::Failed(failure) => failure.into(),
        refused => {
            tracing::debug!(cause = chassis::error::chain(&refused), "the answer of a passkey is not valid");
            Error::PasskeyInvalid
        }
    }
}

/// The passkeys of the caller's account, the oldest first.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED.
pub(crate) async fn list(app: &App, context: &Context, now: OffsetDateTime) -> Result<Vec<Passkey>, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    Ok(passkeys::of_user(&mut *tx, user.id).await?)
}

/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, PASSKEY_NOT_FOUND.
pub(crate) async fn rename(app: &App, context: &Context, (id, name): (Uuid, &str), now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    if !passkeys::rename(&mut *tx, user.id, id, name).await? {
        return Err(Error::PasskeyNotFound);
    }
    audit::append(&mut *tx, &event(context, Kind::FactorRenamed, (user.id, id), now)).await?;
    Ok(store::commit(tx).await?)
}

/// Removes a passkey; with the last second factor also the recovery codes. All other sessions of the account end, because one of them may be
/// that of somebody who has the passkey.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, PASSKEY_NOT_FOUND, LAST_SIGN_IN.
pub(crate) async fn delete(app: &App, context: &Context, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = recently_proved(&mut tx, context, now).await?;
    if !passkeys::delete(&mut *tx, user.id, id).await? {
        return Err(Error::PasskeyNotFound);
    }
    if !can_sign_in(app, &mut tx, &user).await? {
        return Err(Error::LastSignIn);
    }
    if !second_factors::of(&mut *tx, user.id).await?.has_second() {
        second_factors::delete_recovery_codes(&mut *tx, user.id).await?;
    }
    pending_address::forget(&mut tx, &user).await?;
    let ended = sessions::delete_all_of_user(&mut *tx, user.id, Some(current.id)).await?;
    let event = event(context, Kind::FactorRemoved, (user.id, id), now).with("sessions", &ended.len().to_string());
    report(&mut tx, context, &user, event, None).await?;
    required_factor::report_change(app, &mut tx, user.id, now).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(())
}

/// Whether the account has a password, an identity whose provider is configured, or a passkey that signs in without an address.
///
/// # Errors
/// The database failed.
pub(crate) async fn can_sign_in(app: &App, tx: &mut Tx, user: &User) -> Result<bool, Error> {
    let is_usable = |identity: &Identity| app.providers.has_issuer(&identity.issuer);
    if identities::has_password(&mut **tx, user.id).await? || identities::of_user(&mut **tx, user.id).await?.iter().any(is_usable) {
        return Ok(true);
    }
    Ok(app.relying_party.is_some() && passkeys::of_user(&mut **tx, user.id).await?.iter().any(|passkey| passkey.is_discoverable))
}

/// An event about the account, which names the passkey.
fn event(context: &Context, kind: Kind, (user, passkey): (UserId, Uuid), now: OffsetDateTime) -> Event {
    let event = Event::of(context, kind, Actor::User(user), user, now).with("factor", Method::Passkey.name());
    event.with("passkey", &passkey.to_string())
}

/// Adds a change to the audit log, and tells the person. `passkey` is a new one.
async fn report(tx: &mut Tx, context: &Context, user: &User, event: Event, passkey: Option<Uuid>) -> Result<(), Error> {
    audit::append(&mut **tx, &event).await?;
    let kind = if passkey.is_some() { MailKind::PasskeyAdded } else { MailKind::FactorRemoved };
    let mail = Mail::to_account(kind, user.id, &user.email, event.created_at);
    mails::insert(&mut **tx, &Mail { network: Some(limit::address_of(context)), factor: passkey, ..mail }).await?;
    Ok(())
}
