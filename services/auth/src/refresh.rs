//! Refresh tokens of programs. An exchange gives an access token and the next refresh token. A token may be exchanged again, and gives the
//! same next one, until that or its access token was used. After that somebody else has the token, too, and the session ends.
//!
//! The next token follows from the token and a seed in its row, so that it can be returned again although only hashes are stored. An exchange
//! locks the row of the session, and commits before it answers.

use chassis::{context::Context, identity::REFRESH_TOKEN_CLAIM, seeded_bug};
use proto::id::UserId;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    account::AccessToken,
    app::App,
    audit::{self, Actor, Event},
    credential::{self, Kind, Secret},
    error::Error,
    limit,
    mail::queue::{Kind as MailKind, Mail},
    origin::Origin,
    recent_proof::recently_proved,
    required_factor,
    session::{self, Session},
    session_list::end,
    store::{
        self, Pool, Tx, mails,
        refresh_tokens::{self, FoundToken, IssuedToken},
        sessions,
    },
    token,
    user::User,
};

/// Live sessions with refresh tokens of one account.
const MAX_PROGRAMS: u32 = 50;

/// Starts a session for a program, with its first refresh token.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, TOO_MANY_CREDENTIALS.
pub(crate) async fn start(app: &App, context: &Context, name: String, now: OffsetDateTime) -> Result<(Session, Secret), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, creator) = recently_proved(&mut tx, context, now).await?;
    require_room(&mut tx, user.id, now).await?;
    let by = ("by", creator.id.to_string());
    let session = Session::of_program(user.id, name, now);
    let (session, secret) = insert(&mut tx, context, (&user, session), by).await?;
    store::commit(tx).await?;
    app.mail_added.notify_one();
    Ok((session, secret))
}

/// # Errors
/// TOO_MANY_CREDENTIALS if the account has as many programs as it may have.
pub(crate) async fn require_room(tx: &mut Tx, user: UserId, now: OffsetDateTime) -> Result<(), Error> {
    let kind = session::Kind::RefreshToken;
    if sessions::count(&mut **tx, user, kind, now - kind.idle_timeout()).await? >= i64::from(MAX_PROGRAMS) {
        return Err(Error::TooManyCredentials("programs with refresh tokens", MAX_PROGRAMS));
    }
    Ok(())
}

/// Stores the session of a program with its first refresh token, and tells the person. The audit log has `by`: what led to it.
///
/// # Errors
/// SESSION_ENDED if the account is disabled.
pub(crate) async fn insert(
    tx: &mut Tx,
    context: &Context,
    (user, session): (&User, Session),
    by: (&'static str, String),
) -> Result<(Session, Secret), Error> {
    let now = session.created_at;
    let session = session.with_origin(Origin::new("", context.client_address));
    let secret = Secret::generate(Kind::RefreshToken)?;
    if !sessions::insert(&mut **tx, &session, None).await? {
        return Err(Error::SessionEnded);
    }
    let issued = IssuedToken { id: Uuid::now_v7(), session_id: session.id, parent_id: None, token_hash: secret.hash() };
    refresh_tokens::insert(&mut **tx, &issued, now).await?;
    let mail = Mail::to_account(MailKind::ProgramSignedIn, user.id, &user.email, now);
    mails::insert(&mut **tx, &Mail { network: Some(limit::address_of(context)), ..mail }).await?;
    let event = Event::of(context, audit::Kind::RefreshTokenCreated, Actor::User(user.id), user.id, now);
    store::audit::append(&mut **tx, &event.with("session", &session.id.to_string()).with(by.0, &by.1)).await?;
    Ok((session, secret))
}

/// Exchanges a refresh token for an access token and the next refresh token.
///
/// # Errors
/// SESSION_ENDED; SECOND_FACTOR_MISSING if the person lacks a required one; TOKEN_REUSED, and then the session has ended.
pub(crate) async fn exchange(app: &App, context: &Context, text: &str, now: OffsetDateTime) -> Result<(AccessToken, Secret), Error> {
    let secret = Secret::parse(Kind::RefreshToken, text).ok_or(Error::SessionEnded)?;
    let mut tx = store::begin(&app.pool).await?;
    let found = refresh_tokens::by_hash(&mut *tx, &secret.hash()).await?.ok_or(Error::SessionEnded)?;
    let locked = sessions::lock(&mut *tx, found.session_id).await?;
    let (user, session) = locked.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)?;
    // A refusal uses no token: the operator may cease to require a factor.
    let mut claims = required_factor::claims_of(app, &mut *tx, &user, &session, now).await?;
    let Some((next, next_id)) = successor(&mut tx, &secret, &found, now).await? else {
        sessions::delete_by_id(&mut *tx, session.id).await?;
        let event = Event::of(context, audit::Kind::RefreshTokenReused, Actor::System, user.id, now);
        store::audit::append(&mut *tx, &event.with("session", &session.id.to_string())).await?;
        end(app, tx, &[session.id], now).await?;
        tracing::warn!(user = %user.id, session = %session.id, "a refresh token was used a second time; its session was ended");
        return Err(Error::TokenReused);
    };
    if session.is_touch_due(now) {
        sessions::touch(&mut *tx, session.id, now).await?;
    }
    refresh_tokens::commit(tx).await?;
    claims.private.insert(REFRESH_TOKEN_CLAIM.to_owned(), Value::String(next_id.to_string()));
    let token = app.keyring.sign(&claims)?;
    Ok((AccessToken { token, expires_at: token::expiry(&session, now), user, session }, next))
}

/// The next token and its id; `None` if the token must not be used again.
async fn successor(tx: &mut Tx, secret: &Secret, found: &FoundToken, now: OffsetDateTime) -> Result<Option<(Secret, Uuid)>, Error> {
    let used = refresh_tokens::use_of(&mut **tx, found.id).await?.ok_or(Error::SessionEnded)?;
    if !used.is_used {
        let (seed, id) = (credential::seed()?, Uuid::now_v7());
        let next = secret.next(&seed);
        refresh_tokens::set_used(&mut **tx, found.id, &seed, now).await?;
        let issued = IssuedToken { id, session_id: found.session_id, parent_id: Some(found.id), token_hash: next.hash() };
        refresh_tokens::insert(&mut **tx, &issued, now).await?;
        return Ok(Some((next, id)));
    }
    let is_replay = (used.is_successor_used && !seeded_bug::is("forgive-a-replay")) || seeded_bug::is("end-at-a-repetition");
    let repeated = used.seed.zip(used.successor).filter(|_| !is_replay);
    Ok(repeated.map(|(seed, id)| (secret.next(&seed), id)))
}

/// Records the use of an access token that came from a refresh token. Other access tokens have nothing to record.
///
/// # Errors
/// SESSION_ENDED.
pub(crate) async fn record_use(pool: &Pool, context: &Context, now: OffsetDateTime) -> Result<(), Error> {
    let caller = context.user()?;
    let Some(id) = caller.private_claims.get(REFRESH_TOKEN_CLAIM).and_then(Value::as_str) else { return Ok(()) };
    let id = id.parse().map_err(|_| Error::SessionEnded)?;
    if refresh_tokens::set_access_used(pool, id, caller.session_id, now).await? { Ok(()) } else { Err(Error::SessionEnded) }
}
