//! The second factors of an account other than passkeys: an authenticator app, and recovery codes for the day when it is lost. Whoever
//! changes them has proved recently who they are; with a second factor that proof is the factor.

use chassis::{context::Context, secret::Bound, seeded_bug};
use proto::id::{SessionId, UserId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    code::{Code, RECOVERY_CODES, RecoveryCode},
    error::Error,
    factor::{Factors, Method},
    mail::queue::{Kind as MailKind, Mail},
    pending_address,
    recent_proof::recently_proved,
    required_factor,
    session::Session,
    session_list::{end, signed_in},
    store::{
        self, Tx, audit, mails, revocations,
        second_factors::{self, TotpRow},
        sessions,
    },
    totp::TotpSecret,
    user::User,
};

/// A secret has to be confirmed within this.
const CONFIRM_WITHIN: Duration = Duration::minutes(10);

/// A secret that a code has to confirm.
pub(crate) struct NewTotp {
    pub(crate) secret: String,
    pub(crate) uri: String,
    pub(crate) expires_at: OffsetDateTime,
}

/// The second factors of the caller, with the time at which the authenticator app was added.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED.
pub(crate) async fn list(app: &App, context: &Context, now: OffsetDateTime) -> Result<(Factors, Option<OffsetDateTime>), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    let factors = second_factors::of(&mut *tx, user.id).await?;
    let added_at = second_factors::totp(&mut *tx, user.id).await?.and_then(|row| row.confirmed_at);
    Ok((factors, added_at))
}

/// Makes a secret for an authenticator app. It is no factor before [`confirm_totp`].
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, FACTOR_EXISTS.
pub(crate) async fn start_totp(app: &App, context: &Context, now: OffsetDateTime) -> Result<NewTotp, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = recently_proved(&mut tx, context, now).await?;
    let (id, secret) = (Uuid::now_v7(), TotpSecret::generate()?);
    let sealed = app.second_factors.seal(&bound(&id.to_string(), &user.id.to_string()), secret.bytes())?;
    if !second_factors::insert_totp(&mut *tx, user.id, (id, &sealed), now).await? {
        return Err(Error::FactorExists);
    }
    store::commit(tx).await?;
    let uri = secret.uri(app.site.host_str().unwrap_or_default(), &user.email);
    Ok(NewTotp { secret: secret.text(), uri, expires_at: now + CONFIRM_WITHIN })
}

/// Turns the authenticator app into a factor. Returns the recovery codes if it is the first factor.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, FACTOR_NOT_FOUND, BAD_SECOND_FACTOR.
pub(crate) async fn confirm_totp(app: &App, context: &Context, code: &str, now: OffsetDateTime) -> Result<Vec<RecoveryCode>, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = recently_proved(&mut tx, context, now).await?;
    let pending = second_factors::totp(&mut *tx, user.id).await?;
    let pending = pending.filter(|row| row.confirmed_at.is_none() && now < row.created_at + CONFIRM_WITHIN).ok_or(Error::FactorNotFound)?;
    let Some(Code::Totp(code)) = Code::parse(code) else { return Err(Error::BadSecondFactor) };
    if !accept(app, &mut tx, (user.id, &pending), code, now).await? {
        return Err(Error::BadSecondFactor);
    }
    let is_first = !second_factors::of(&mut *tx, user.id).await?.has_second();
    second_factors::confirm_totp(&mut *tx, pending.id, now).await?;
    // Each session has to show the factors that the account has now; gateways get new tokens for them.
    sessions::forget_proofs(&mut *tx, user.id).await?;
    pending_address::forget(&mut tx, &user).await?;
    let (codes, ended) = if is_first { after_first_factor(app, &mut tx, &current, now).await? } else { (Vec::new(), Vec::new()) };
    let event = event(context, Kind::FactorAdded, user.id, now).with("sessions", &ended.len().to_string());
    report(&mut tx, &user, event, Some(pending.id)).await?;
    revocations::append_changes(&mut tx, user.id, now).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(codes)
}

/// What comes with the first factor of an account, which is locked: recovery codes, and the end of other sessions where a factor is required.
///
/// # Errors
/// The database failed, or the system provided no random bytes.
pub(crate) async fn after_first_factor(
    app: &App,
    tx: &mut Tx,
    current: &Session,
    now: OffsetDateTime,
) -> Result<(Vec<RecoveryCode>, Vec<SessionId>), Error> {
    let ended = required_factor::end_others(app, tx, current).await?;
    Ok((new_recovery_codes(tx, current.user_id, now).await?, ended))
}

/// Removes the authenticator app; with the last factor also the recovery codes. All other sessions of the account end, because one of them may
/// be that of somebody who has the app.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, FACTOR_NOT_FOUND.
pub(crate) async fn delete_totp(app: &App, context: &Context, now: OffsetDateTime) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, current) = recently_proved(&mut tx, context, now).await?;
    if !second_factors::delete_totp(&mut *tx, user.id).await? {
        return Err(Error::FactorNotFound);
    }
    if !second_factors::of(&mut *tx, user.id).await?.has_second() && !seeded_bug::is("keep-recovery-codes") {
        second_factors::delete_recovery_codes(&mut *tx, user.id).await?;
    }
    pending_address::forget(&mut tx, &user).await?;
    let ended = sessions::delete_all_of_user(&mut *tx, user.id, Some(current.id)).await?;
    let event = event(context, Kind::FactorRemoved, user.id, now).with("sessions", &ended.len().to_string());
    report(&mut tx, &user, event, None).await?;
    required_factor::report_change(app, &mut tx, user.id, now).await?;
    end(app, tx, &ended, now).await?;
    app.mail_added.notify_one();
    Ok(())
}

/// Replaces the recovery codes, and tells the person.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, FACTOR_NOT_FOUND without a second factor.
pub(crate) async fn replace_recovery_codes(app: &App, context: &Context, now: OffsetDateTime) -> Result<Vec<RecoveryCode>, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = recently_proved(&mut tx, context, now).await?;
    if !second_factors::of(&mut *tx, user.id).await?.has_second() {
        return Err(Error::FactorNotFound);
    }
    let codes = new_recovery_codes(&mut tx, user.id, now).await?;
    let event = Event::of(context, Kind::RecoveryCodesReplaced, Actor::User(user.id), user.id, now);
    audit::append(&mut *tx, &event).await?;
    mails::insert(&mut *tx, &Mail::to_account(MailKind::RecoveryCodesReplaced, user.id, &user.email, now)).await?;
    store::commit(tx).await?;
    app.mail_added.notify_one();
    Ok(codes)
}

/// Uses a code of an account, which is locked. Returns what it was; `None` if it is wrong or was used before.
///
/// # Errors
/// The database failed, or the secret cannot be opened.
pub(crate) async fn use_code(
    app: &App,
    tx: &mut Tx,
    user: UserId,
    code: Option<Code>,
    now: OffsetDateTime,
) -> Result<Option<Method>, Error> {
    let is_right = match &code {
        None => false,
        Some(Code::Recovery(code)) => second_factors::take_recovery_code(&mut **tx, user, &code.hash()).await?,
        Some(Code::Totp(code)) => match second_factors::totp(&mut **tx, user).await?.filter(|row| row.confirmed_at.is_some()) {
            Some(row) => accept(app, tx, (user, &row), *code, now).await?,
            None => false,
        },
    };
    let method = if matches!(code, Some(Code::Recovery(_))) { Method::RecoveryCode } else { Method::Totp };
    Ok(is_right.then_some(method))
}

/// Whether the code of an authenticator app is right. If so, it is used.
async fn accept(app: &App, tx: &mut Tx, (user, row): (UserId, &TotpRow), code: u32, now: OffsetDateTime) -> Result<bool, Error> {
    let opened = app.second_factors.open(&bound(&row.id.to_string(), &user.to_string()), &row.sealed_secret)?;
    let secret = TotpSecret::from_bytes(opened.expose())
        .ok_or_else(|| store::StoreError::Inconsistent("a secret of an authenticator app of another length".to_owned()))?;
    match secret.accepts(code, row.last_step, now) {
        Some(step) => Ok(second_factors::use_step(&mut **tx, row.id, step).await?),
        None => Ok(false),
    }
}

/// Replaces the recovery codes of an account, which is locked.
///
/// # Errors
/// The database failed, or the system provided no random bytes.
pub(crate) async fn new_recovery_codes(tx: &mut Tx, user: UserId, now: OffsetDateTime) -> Result<Vec<RecoveryCode>, Error> {
    let codes = (0..RECOVERY_CODES).map(|_| RecoveryCode::generate()).collect::<Result<Vec<_>, _>>()?;
    let hashes: Vec<_> = codes.iter().map(RecoveryCode::hash).collect();
    second_factors::replace_recovery_codes(tx, user, &hashes, now).await?;
    Ok(codes)
}

/// Removes all second factors of an account, which is locked, with its recovery codes. If there was one, adds the event to the audit log and
/// tells the person. Returns whether there was one. The caller ends the sessions, and with them the sign-ins that wait for a second step.
///
/// # Errors
/// The database failed.
pub(crate) async fn remove_all(tx: &mut Tx, (user, email): (UserId, &str), event: &Event) -> Result<bool, Error> {
    if !second_factors::delete_all(tx, user).await? {
        return Ok(false);
    }
    audit::append(&mut **tx, event).await?;
    mails::insert(&mut **tx, &Mail::to_account(MailKind::FactorRemoved, user, email, event.created_at)).await?;
    Ok(true)
}

/// An event about the account, which names the app.
fn event(context: &Context, kind: Kind, user: UserId, now: OffsetDateTime) -> Event {
    Event::of(context, kind, Actor::User(user), user, now).with("factor", Method::Totp.name())
}

/// Adds a change of the factors to the audit log, and tells the person. `factor` is a new one.
async fn report(tx: &mut Tx, user: &User, event: Event, factor: Option<Uuid>) -> Result<(), Error> {
    audit::append(&mut **tx, &event).await?;
    let kind = if factor.is_some() { MailKind::FactorAdded } else { MailKind::FactorRemoved };
    mails::insert(&mut **tx, &Mail { factor, ..Mail::to_account(kind, user.id, &user.email, event.created_at) }).await?;
    Ok(())
}

/// The place that a secret is sealed for.
pub(crate) fn bound<'a>(row: &'a str, owner: &'a str) -> Bound<'a> {
    Bound { table: "totp_secrets", column: "sealed_secret", row, owner }
}
