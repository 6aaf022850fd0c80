//! The renewal of the proof that sensitive RPCs need (see [`crate::recent_proof`]). It gives the session a new id and secret, so that nobody
//! has the new rights who knew the old ones.

use chassis::context::Context;
use proto::id::UserId;
use time::OffsetDateTime;

use crate::{
    account::{MAX_RACES, hold_password},
    app::App,
    audit::{Actor, Event, Kind},
    code::Code,
    email::EmailLookup,
    error::Error,
    factor::Method,
    limit,
    passkey::CeremonyAnswer,
    passkey_use::{prove, take_step_up},
    password::Verdict,
    refused_proof, second_factor,
    session::{Session, SessionSecret},
    session_list::{end, signed_in},
    session_start::NewSession,
    store::{self, Tx, audit, second_factors, sessions, users},
    user::{Credentials, User},
};

/// What a step-up proves.
pub(crate) enum Proof {
    Password(String),
    /// `None` for a text that is no code.
    Code(Option<Code>),
    Passkey(CeremonyAnswer),
}

/// The account of the caller, who is about to prove the password. The attempt is counted like a sign-in.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, RATE_LIMITED.
pub(crate) async fn counted(app: &App, context: &Context, now: OffsetDateTime) -> Result<Credentials, Error> {
    let account = of_caller(app, context, now).await?;
    let identity = EmailLookup::new(&account.user.email).identity;
    let account_subject = (!account.from_known_address).then_some(identity.as_str());
    limit::count(&app.limiter, context, &limit::address_of(context), account_subject).await?;
    Ok(account)
}

async fn of_caller(app: &App, context: &Context, now: OffsetDateTime) -> Result<Credentials, Error> {
    // The password of an ended session's account must not be guessed with its last access token.
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    drop(tx);
    credentials_of(app, context, user.id).await
}

/// What the account of a session signs in with now.
///
/// # Errors
/// SESSION_ENDED.
pub(crate) async fn credentials_of(app: &App, context: &Context, user: UserId) -> Result<Credentials, Error> {
    users::credentials_of(&app.pool, user, &limit::address_of(context)).await?.ok_or(Error::SessionEnded)
}

/// Ends the session of the caller and starts its successor, whose proof is recent.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, RATE_LIMITED, STEP_UP_REQUIRED for a password that is not enough, BAD_CREDENTIALS, BAD_SECOND_FACTOR,
/// PASSKEYS_NOT_OFFERED, CEREMONY_INVALID, PASSKEY_INVALID, OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn renew(app: &App, context: &Context, proof: Proof, now: OffsetDateTime) -> Result<NewSession, Error> {
    match proof {
        Proof::Password(password) => by_password(app, context, &password, now).await,
        Proof::Code(code) => by_code(app, context, code, now).await,
        Proof::Passkey(answered) => by_passkey(app, context, &answered, now).await,
    }
}

async fn by_password(app: &App, context: &Context, password: &str, now: OffsetDateTime) -> Result<NewSession, Error> {
    let mut account = counted(app, context, now).await?;
    for _ in 0..MAX_RACES {
        if let Some(renewed) = by_password_of(app, context, (&account, password), now).await? {
            return Ok(renewed);
        }
        // A sign-in at the same time has replaced an outdated hash of the same password, or the password was changed.
        account = credentials_of(app, context, account.user.id).await?;
    }
    Err(Error::WrongPassword("password"))
}

/// Renews the session if the account has the password that `account` knows. Returns `None` if it has another hash by now.
async fn by_password_of(
    app: &App,
    context: &Context,
    (account, password): (&Credentials, &str),
    now: OffsetDateTime,
) -> Result<Option<NewSession>, Error> {
    let verdict = app.hashes.verify(context.client_address, password.to_owned(), account.password_hash.clone()).await?;
    if verdict == Verdict::Wrong {
        refused_proof::log(context, Some(account.user.id), "password");
        return Err(Error::WrongPassword("password"));
    }
    let mut tx = store::begin(&app.pool).await?;
    let (user, session) = signed_in(&mut tx, context, now).await?;
    if !hold_password(&mut tx, account, verdict).await? {
        return Ok(None);
    }
    let factors = second_factors::of(&mut *tx, user.id).await?;
    if factors.has_second() {
        return Err(Error::StepUpRequired(factors.methods()));
    }
    replace(app, tx, context, (user, session, Method::Password), now).await.map(Some)
}

async fn by_code(app: &App, context: &Context, code: Option<Code>, now: OffsetDateTime) -> Result<NewSession, Error> {
    let account = of_caller(app, context, now).await?;
    limit::count_code(&app.limiter, context, &account).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, session) = signed_in(&mut tx, context, now).await?;
    let Some(method) = second_factor::use_code(app, &mut tx, user.id, code, now).await? else {
        refused_proof::log(context, Some(user.id), "code");
        return Err(Error::BadSecondFactor);
    };
    replace(app, tx, context, (user, session, method), now).await
}

async fn by_passkey(app: &App, context: &Context, answered: &CeremonyAnswer, now: OffsetDateTime) -> Result<NewSession, Error> {
    let (answer, ceremony) = take_step_up(app, context, answered, now).await?;
    let mut tx = store::begin(&app.pool).await?;
    let (user, session) = signed_in(&mut tx, context, now).await?;
    if prove(app, &mut tx, context, (user.id, &answer, ceremony), now).await?.is_none() {
        store::commit(tx).await?;
        refused_proof::log(context, Some(user.id), "passkey");
        return Err(Error::PasskeyInvalid);
    }
    replace(app, tx, context, (user, session, Method::Passkey), now).await
}

/// Ends the session and starts its successor, in the transaction that has the proof.
async fn replace(
    app: &App,
    mut tx: Tx,
    context: &Context,
    (user, session, method): (User, Session, Method),
    now: OffsetDateTime,
) -> Result<NewSession, Error> {
    let before = session.id;
    let (session, secret) = (session.renewed(now).proved(method, now), SessionSecret::generate()?);
    let ended = sessions::delete_of_user(&mut *tx, user.id, before).await?.ok_or(Error::SessionEnded)?;
    if !sessions::insert(&mut *tx, &session, Some(&secret.hash())).await? {
        return Err(Error::SessionEnded);
    }
    let event = Event::of(context, Kind::SteppedUp, Actor::User(user.id), user.id, now).with("session", &session.id.to_string());
    audit::append(&mut *tx, &event.with("by", method.name())).await?;
    end(app, tx, &[ended], now).await?;
    Ok(NewSession { user, session, secret })
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn a_successor_has_another_id_and_the_same_end() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let session = Session::start(UserId::generate(), start).proved(Method::Password, start);
        let now = start + Duration::days(2);
        let successor = session.clone().renewed(now).proved(Method::Totp, now);
        assert_ne!(successor.id, session.id);
        assert_eq!((successor.expires_at, successor.created_at), (session.expires_at, session.created_at));
        assert_eq!((successor.authenticated_at, successor.amr), (now, vec!["pwd".to_owned(), "otp".to_owned()]));
    }
}
