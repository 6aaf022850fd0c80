//! Sign-ins of devices (RFC 8628). A program without a browser gets two codes. It shows the short one to its person, who enters it where they
//! are signed in, sees what asks, and decides. The program asks with the long one until then, and gets a session with refresh tokens.

use chassis::context::Context;
use time::{Duration, OffsetDateTime};

use crate::{
    account::AccessToken,
    app::App,
    audit::{Actor, Event, Kind},
    credential::Secret,
    error::Error,
    limit,
    origin::Origin,
    recent_proof::recently_proved,
    refresh, required_factor,
    session::{Session, SessionSecret},
    session_list::signed_in,
    store::{
        self, audit,
        device_sign_ins::{self, WaitingSignIn},
        users,
    },
    token,
    user::User,
    user_code::UserCode,
};

/// How long a person has to enter the code.
pub(crate) const LIFETIME: Duration = Duration::minutes(10);
/// Seconds between two questions of a program, and what is added when it asks too often (RFC 8628, section 3.5).
pub(crate) const INTERVAL: i32 = 5;
/// Two codes are alike once in ten billion times; a second try is enough.
const MAX_TRIES: usize = 3;

/// The codes of a new sign-in: that of the program, and that of the person.
pub(crate) type Codes = (SessionSecret, UserCode);

/// # Errors
/// RATE_LIMITED.
pub(crate) async fn start(app: &App, context: &Context, client_name: &str, now: OffsetDateTime) -> Result<Codes, Error> {
    limit::count(&app.limiter, context, &format!("{} device starts", limit::address_of(context)), None).await?;
    let network = Origin::new("", context.client_address).network;
    for _ in 0..MAX_TRIES {
        let (device, user) = (SessionSecret::generate()?, UserCode::generate()?);
        let hashes = (device.hash(), user.hash(&app.user_codes[0]));
        if device_sign_ins::insert(&app.pool, hashes, (client_name, &network), (now, now + LIFETIME), INTERVAL).await? {
            return Ok((device, user));
        }
    }
    Err(Error::Overloaded)
}

/// The program that waits for a decision about a code, and the person who would be signed in.
///
/// # Errors
/// RATE_LIMITED, SESSION_ENDED, SESSION_REQUIRED, DEVICE_CODE_INVALID.
pub(crate) async fn find(app: &App, context: &Context, typed: &str, now: OffsetDateTime) -> Result<(WaitingSignIn, User), Error> {
    limit::count(&app.limiter, context, &format!("{} user codes", limit::address_of(context)), None).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    let code = UserCode::parse(typed).ok_or(Error::DeviceCodeInvalid)?;
    for key in &app.user_codes {
        if let Some(waiting) = device_sign_ins::waiting(&mut *tx, &code.hash(key), now).await? {
            return Ok((waiting, user));
        }
    }
    Err(Error::DeviceCodeInvalid)
}

/// Records what the person decides. One decision counts.
///
/// # Errors
/// RATE_LIMITED, SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, TOO_MANY_CREDENTIALS, DEVICE_CODE_INVALID.
pub(crate) async fn decide(app: &App, context: &Context, typed: &str, approve: bool, now: OffsetDateTime) -> Result<(), Error> {
    limit::count(&app.limiter, context, &format!("{} user codes", limit::address_of(context)), None).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, session) = match approve {
        true => recently_proved(&mut tx, context, now).await?,
        false => signed_in(&mut tx, context, now).await?,
    };
    if approve {
        refresh::require_room(&mut tx, user.id, now).await?;
    }
    let code = UserCode::parse(typed).ok_or(Error::DeviceCodeInvalid)?;
    let mut decided = None;
    for key in &app.user_codes {
        if decided.is_none() {
            decided = device_sign_ins::decide(&mut *tx, &code.hash(key), (user.id, approve), now).await?;
        }
    }
    let id = decided.ok_or(Error::DeviceCodeInvalid)?;
    let kind = if approve { Kind::DeviceApproved } else { Kind::DeviceDenied };
    let event = Event::of(context, kind, Actor::User(user.id), user.id, now);
    audit::append(&mut *tx, &event.with("device", &id.to_string()).with("by", &session.id.to_string())).await?;
    store::commit(tx).await?;
    Ok(())
}

/// What a device code leads to.
pub(crate) enum ExchangeOutcome {
    Pending,
    SlowDown,
    Denied,
    Expired,
    /// The code does not exist, was exchanged, or is that of another program.
    Invalid,
    Done(Box<AccessToken>, Secret),
}

/// Exchanges a device code of the program with this name; an empty name is not compared. The row is locked, and deleted with the exchange, so
/// that one exchange succeeds. The account is locked before, as by everything that ends its sessions together with its devices.
///
/// # Errors
/// The database or the signing key failed.
pub(crate) async fn exchange(
    app: &App,
    context: &Context,
    code: &SessionSecret,
    client_name: &str,
    now: OffsetDateTime,
) -> Result<ExchangeOutcome, Error> {
    let mut tx = store::begin(&app.pool).await?;
    let decided_by = device_sign_ins::decided_by(&mut *tx, &code.hash()).await?;
    if let Some(user) = decided_by {
        users::lock(&mut *tx, user).await?;
    }
    let found = device_sign_ins::lock(&mut *tx, &code.hash()).await?;
    let Some(found) = found.filter(|found| client_name.is_empty() || found.client_name == client_name) else {
        return Ok(ExchangeOutcome::Invalid);
    };
    if found.expires_at <= now {
        return Ok(ExchangeOutcome::Expired);
    }
    let is_early = found.polled_at.is_some_and(|at| now < at + Duration::seconds(found.wait.into()));
    match found.decision {
        None => {
            let wait = if is_early { found.wait.saturating_add(INTERVAL) } else { found.wait };
            device_sign_ins::set_polled(&mut *tx, found.id, wait, now).await?;
            store::commit(tx).await?;
            Ok(if is_early { ExchangeOutcome::SlowDown } else { ExchangeOutcome::Pending })
        }
        Some((_, false)) => {
            device_sign_ins::delete(&mut *tx, found.id).await?;
            store::commit(tx).await?;
            Ok(ExchangeOutcome::Denied)
        }
        // Approved after the first look: the account is not locked, so the program asks again.
        Some((user, true)) if decided_by != Some(user.id) => Ok(ExchangeOutcome::Pending),
        Some((user, true)) => {
            device_sign_ins::delete(&mut *tx, found.id).await?;
            // Several approvals may have found the same room.
            match refresh::require_room(&mut tx, user.id, now).await {
                Err(Error::TooManyCredentials(..)) => {
                    store::commit(tx).await?;
                    return Ok(ExchangeOutcome::Denied);
                }
                other => other?,
            }
            let session = Session::of_program(user.id, found.client_name, now);
            let begun = refresh::insert(&mut tx, context, (&user, session), ("device", found.id.to_string())).await;
            let (session, secret) = match begun {
                Ok(begun) => begun,
                // The account was disabled after the person had approved.
                Err(Error::SessionEnded) => return Ok(ExchangeOutcome::Denied),
                Err(error) => return Err(error),
            };
            let claims = match required_factor::claims_of(app, &mut *tx, &user, &session, now).await {
                Ok(claims) => claims,
                // The person has lost the last factor since then.
                Err(Error::SecondFactorMissing) => return Ok(ExchangeOutcome::Denied),
                Err(error) => return Err(error),
            };
            store::commit(tx).await?;
            app.mail_added.notify_one();
            let token = app.keyring.sign(&claims)?;
            let access = AccessToken { token, expires_at: token::expiry(&session, now), user, session };
            Ok(ExchangeOutcome::Done(Box::new(access), secret))
        }
    }
}
