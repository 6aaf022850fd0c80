//! API keys of programs, for a person and for the person's service accounts. A key has a session: whatever ends the sessions of an account ends its keys, too. Each function is the work of one
//! RPC between decoding and encoding.

use chassis::{context::Context, identity::Grant};
use proto::id::{SessionId, UserId};
use time::{Duration, OffsetDateTime};

use crate::{
    account::{self, AccessToken},
    app::App,
    audit::{Actor, Event, Kind as EventKind},
    credential::{self, Secret},
    error::Error,
    limit,
    mail::queue::{Kind as MailKind, Mail},
    origin::Origin,
    recent_proof::recently_proved,
    required_factor,
    session::{Key, Kind, Session},
    session_list::{end, signed_in},
    store::{self, Pool, api_keys, audit, mails, service_accounts, sessions},
    token,
};

/// Live keys of one account.
const MAX_KEYS: u32 = 50;

/// A key with valid fields.
pub(crate) struct NewKey {
    /// Whose it is; `None` for the caller.
    pub(crate) service_account: Option<UserId>,
    pub(crate) display_name: String,
    pub(crate) grant: Grant,
    pub(crate) lifetime: Duration,
}

/// Makes a key. Returns its session and its secret, which is stored nowhere.
///
/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, STEP_UP_REQUIRED, SERVICE_ACCOUNT_NOT_FOUND, USER_DISABLED for a service account, TOO_MANY_CREDENTIALS.
pub(crate) async fn create(app: &App, context: &Context, new: NewKey, now: OffsetDateTime) -> Result<(Session, Secret), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, creator) = recently_proved(&mut tx, context, now).await?;
    let holder = service_accounts::holder(&mut *tx, user.id, new.service_account).await?.ok_or(Error::ServiceAccountNotFound)?;
    if sessions::count(&mut *tx, holder, Kind::ApiKey, now - Kind::ApiKey.idle_timeout()).await? >= i64::from(MAX_KEYS) {
        return Err(Error::TooManyCredentials("API keys", MAX_KEYS));
    }
    let (kind, mail_kind, missing) = match new.service_account {
        Some(_) => (credential::Kind::ServiceKey, MailKind::ServiceKeyMade, Error::UserDisabled),
        None => (credential::Kind::ApiKey, MailKind::KeyMade, Error::SessionEnded),
    };
    let secret = Secret::generate(kind)?;
    let key = Key { grant: new.grant, last_four: secret.last_four().to_owned() };
    let session = Session::of_key(holder, new.display_name, key.clone(), new.lifetime, now);
    let session = session.with_origin(Origin::new("", context.client_address));
    if !sessions::insert(&mut *tx, &session, None).await? {
        return Err(missing);
    }
    api_keys::insert(&mut *tx, session.id, &secret.hash(), &key).await?;
    let mail = Mail::to_account(mail_kind, user.id, &user.email, now);
    mails::insert(&mut *tx, &Mail { network: Some(limit::address_of(context)), ..mail }).await?;
    let event = Event::of(context, EventKind::ApiKeyCreated, Actor::User(user.id), user.id, now);
    let event = event.with("key", &session.id.to_string()).with("by", &creator.id.to_string()).with("grant", &words(&key.grant));
    audit::append(&mut *tx, &of_service_account(event, new.service_account)).await?;
    store::commit(tx).await?;
    app.mail_added.notify_one();
    Ok((session, secret))
}

/// The event about the key of a service account names it, too.
fn of_service_account(event: Event, service_account: Option<UserId>) -> Event {
    service_account.iter().fold(event, |event, id| event.with("service_account", &id.to_string()))
}

/// What the audit log says of a grant.
fn words(grant: &Grant) -> String {
    let scope = if grant.can_write { "write" } else { "read" };
    match &grant.projects {
        Some(projects) => format!("{scope}, {} projects", projects.len()),
        None => format!("{scope}, all projects"),
    }
}

/// The live keys of the caller or of a service account, the most recently used first.
///
/// # Errors
/// TOKEN_MISSING, SESSION_ENDED, SERVICE_ACCOUNT_NOT_FOUND.
pub(crate) async fn list(
    pool: &Pool,
    context: &Context,
    service_account: Option<UserId>,
    now: OffsetDateTime,
) -> Result<Vec<Session>, Error> {
    let (user, _) = account::current(pool, context, now).await?;
    let holder = service_accounts::holder(pool, user.id, service_account).await?.ok_or(Error::ServiceAccountNotFound)?;
    // Not from the list of all sessions, which has an end.
    let mut found = sessions::of_keys(pool, holder, now).await?;
    found.retain(|session| session.is_live(now));
    Ok(found)
}

/// # Errors
/// SESSION_ENDED, SESSION_REQUIRED, SERVICE_ACCOUNT_NOT_FOUND, API_KEY_NOT_FOUND.
pub(crate) async fn delete(
    app: &App,
    context: &Context,
    (id, service_account): (SessionId, Option<UserId>),
    now: OffsetDateTime,
) -> Result<(), Error> {
    let mut tx = store::begin(&app.pool).await?;
    let (user, _) = signed_in(&mut tx, context, now).await?;
    let holder = service_accounts::holder(&mut *tx, user.id, service_account).await?.ok_or(Error::ServiceAccountNotFound)?;
    if !api_keys::delete(&mut *tx, holder, id).await? {
        return Err(Error::KeyNotFound);
    }
    let event = Event::of(context, EventKind::ApiKeyDeleted, Actor::User(user.id), user.id, now);
    audit::append(&mut *tx, &of_service_account(event.with("key", &id.to_string()), service_account)).await?;
    end(app, tx, &[id], now).await
}

/// Makes an access token from a key, with the scope and the projects of the key. A service account has no factors: nobody signs in to it.
///
/// # Errors
/// API_KEY_INVALID; SECOND_FACTOR_MISSING for the key of a person who lacks a required one.
pub(crate) async fn exchange(app: &App, text: &str, now: OffsetDateTime) -> Result<AccessToken, Error> {
    let secret = Secret::parse_key(text).ok_or(Error::KeyInvalid)?;
    let found = sessions::by_key(&app.pool, &secret.hash()).await?;
    let (user, session) = found.filter(|(_, session)| session.is_live(now)).ok_or(Error::KeyInvalid)?;
    let claims = match secret.kind() {
        credential::Kind::ServiceKey => token::claims(&user, &session, now),
        credential::Kind::ApiKey | credential::Kind::RefreshToken => {
            required_factor::claims_of(app, &app.pool, &user, &session, now).await?
        }
    };
    if session.is_touch_due(now) {
        sessions::touch(&app.pool, session.id, now).await?;
    }
    let token = app.keyring.sign_to_keep(&claims, now).await?;
    Ok(AccessToken { token, expires_at: token::expiry(&session, now), user, session })
}
