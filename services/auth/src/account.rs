//! Sign up, sign in, sign out, read the current session, create an access token. Each function is the work of one RPC between
//! decoding and encoding.

use chassis::{context::Context, identity::Caller};
use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    config::SignUp,
    email::{Email, EmailLookup},
    error::Error,
    keyring::Keyring,
    limit,
    mail::queue::{Kind as MailKind, Mail, PendingSignUp},
    origin::Origin,
    password::{self, Verdict},
    revocation::Feed,
    session::{Session, SessionSecret},
    store::{self, Pool, audit, mails, revocations, sessions, users},
    token,
    user::{Credentials, User},
};

/// How often a sign-in is repeated whose account got another password hash meanwhile.
const MAX_RACES: usize = 3;
/// Characters of a display name.
pub(crate) const MAX_NAME: usize = 80;

/// A sign-up with valid fields.
pub(crate) struct NewAccount {
    pub(crate) email: Email,
    pub(crate) password: String,
    /// Empty takes the part of the address before the @.
    pub(crate) display_name: String,
    pub(crate) user_agent: String,
}

/// What a sign-up leads to.
pub(crate) enum SignedUp {
    /// The account exists.
    Session(Box<NewSession>),
    /// A mail decides.
    ByMail,
}

/// A session that has just begun, with its secret. Only a hash of the secret is stored.
pub(crate) struct NewSession {
    pub(crate) user: User,
    pub(crate) session: Session,
    pub(crate) secret: SessionSecret,
}

/// A token for the services, made from a session.
pub(crate) struct AccessToken {
    pub(crate) token: String,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) user: User,
    pub(crate) session: Session,
}

/// # Errors
/// SIGNUP_CLOSED (also for a domain that may not sign up), RATE_LIMITED, WEAK_PASSWORD, EMAIL_TAKEN, OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn sign_up(app: &App, context: &Context, new: NewAccount, now: OffsetDateTime) -> Result<SignedUp, Error> {
    let by_operator = context.caller == Caller::Operator;
    if app.sign_up == SignUp::Closed && !by_operator {
        return Err(Error::SignUpClosed);
    }
    if !app.sign_up_domains.allow(&new.email) && !by_operator {
        return Err(Error::DomainClosed);
    }
    limit::count(&app.limiter, context, &limit::address_of(context), None).await?;
    let display_name = display_name(&new.display_name, &new.email);
    let personal = password::personal_words(new.email.as_str(), &display_name);
    let hash = app.hashes.hash(context.client_address, new.password, personal).await?;

    if app.sign_up == SignUp::Verify && !by_operator {
        // Whether the address has an account is found later. So this call does the same for every address.
        let sign_up = Some(PendingSignUp { password_hash: hash, display_name });
        mails::insert(&app.pool, &Mail { sign_up, ..Mail::to_typed(MailKind::SignUp, new.email.as_str(), now) }).await?;
        app.mail_added.notify_one();
        return Ok(SignedUp::ByMail);
    }
    let user = User { id: UserId::generate(), email: new.email.as_str().to_owned(), display_name, plan: Plan::Free, created_at: now };
    let mut tx = store::begin(&app.pool).await?;
    insert(&mut tx, &user, &new.email, &hash).await?;
    let origin = Origin::new(&new.user_agent, context.client_address);
    let start = Start { origin, kind: Kind::SignedUp, is_new_device: false };
    Ok(SignedUp::Session(Box::new(begin_session(tx, context, user, start, now).await?)))
}

/// Stores a new account.
///
/// # Errors
/// EMAIL_TAKEN.
pub(crate) async fn insert(tx: &mut store::Tx, user: &User, email: &Email, password_hash: &str) -> Result<(), Error> {
    let inserted = users::insert(&mut **tx, user, email, password_hash).await;
    inserted.map_err(|e| if users::EMAIL_KEYS.iter().any(|key| e.violates(key)) { Error::EmailTaken } else { e.into() })
}

/// A sign-in whose fields are short enough.
pub(crate) struct Attempt {
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) user_agent: String,
}

/// # Errors
/// RATE_LIMITED, BAD_CREDENTIALS (also for a disabled account), OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn sign_in(app: &App, context: &Context, attempt: Attempt, now: OffsetDateTime) -> Result<NewSession, Error> {
    let Attempt { email, password, user_agent } = attempt;
    let (address, lookup) = (limit::address_of(context), EmailLookup::new(&email));
    let mut found = users::credentials(&app.pool, &lookup, &address).await?;
    let known_address = found.as_ref().is_some_and(|credentials| credentials.from_known_address);
    limit::count(&app.limiter, context, &address, (!known_address).then_some(lookup.identity.as_str())).await?;

    for _ in 0..MAX_RACES {
        let stored = found.as_ref().and_then(|credentials| credentials.password_hash.clone());
        let verdict = app.hashes.verify(context.client_address, password.clone(), stored).await?;
        // Without an account or a password the verdict is always `Wrong`.
        let (Some(account), false) = (found, verdict == Verdict::Wrong) else { return Err(Error::BadCredentials) };
        let mut tx = store::begin(&app.pool).await?;
        if hold_password(&mut tx, &account, verdict).await? {
            let is_new_device = account.has_known_addresses && !account.from_known_address;
            let origin = Origin::new(&user_agent, context.client_address);
            let start = Start { origin, kind: Kind::SessionStarted, is_new_device };
            let begun = begin_session(tx, context, account.user, start, now).await?;
            if is_new_device {
                app.mail_added.notify_one();
            }
            return Ok(begun);
        }
        // Another sign-in has replaced a weak hash, or the password was changed. A session of the old password must not begin.
        found = users::credentials_of(&app.pool, account.user.id, &address).await?;
    }
    Err(Error::BadCredentials)
}

/// Whether the account still has the password that was verified. If so, it keeps it until the transaction ends.
async fn hold_password(tx: &mut store::Tx, account: &Credentials, verdict: Verdict) -> Result<bool, Error> {
    let (id, hash) = (account.user.id, account.password_hash.as_deref().unwrap_or_default());
    Ok(match verdict {
        Verdict::Outdated(new) => users::replace_password_hash(&mut **tx, id, hash, &new).await?,
        Verdict::Correct | Verdict::Wrong => users::hold_password_hash(&mut **tx, id, hash).await?,
    })
}

/// Ends the session with this secret. Without a secret it ends the session of the access token. Ending an ended session has no effect.
///
/// # Errors
/// TOKEN_MISSING if there is neither a secret nor an access token.
pub(crate) async fn sign_out(
    pool: &Pool,
    feed: &Feed,
    context: &Context,
    secret: Option<SessionSecret>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let mut tx;
    let ended = match secret {
        Some(secret) => {
            tx = store::begin(pool).await?;
            sessions::delete_by_token(&mut *tx, &secret.hash()).await?
        }
        None => {
            let id = context.user()?.session_id;
            tx = store::begin(pool).await?;
            sessions::delete_by_id(&mut *tx, id).await?
        }
    };
    let Some(ended) = ended else { return Ok(()) };
    let actor = Actor::of_session(ended.user_id, ended.impersonator);
    let event = Event::of(context, Kind::SessionEnded, actor, ended.user_id, now).with("session", &ended.id.to_string());
    audit::append(&mut *tx, &event).await?;
    revocations::append(&mut tx, &[ended.id], now).await?;
    store::commit(tx).await?;
    feed.notify();
    Ok(())
}

/// The user and the session of the access token.
///
/// # Errors
/// SESSION_ENDED, even while the token itself is still valid.
pub(crate) async fn current(pool: &Pool, context: &Context, now: OffsetDateTime) -> Result<(User, Session), Error> {
    let found = sessions::by_id(pool, context.user()?.session_id).await?;
    found.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)
}

/// Makes an access token from a session. This takes one query, and at most once a minute a second one that records the use.
///
/// # Errors
/// SESSION_ENDED.
pub(crate) async fn create_access_token(
    pool: &Pool,
    keyring: &Keyring,
    secret: &SessionSecret,
    now: OffsetDateTime,
) -> Result<AccessToken, Error> {
    let found = sessions::by_token(pool, &secret.hash()).await?;
    let (user, session) = found.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)?;
    if session.is_touch_due(now) {
        sessions::touch(pool, session.id, now).await?;
    }
    let token = keyring.sign(&token::claims(&user, &session, now))?;
    Ok(AccessToken { token, expires_at: token::expiry(&session, now), user, session })
}

/// How a session begins.
struct Start {
    origin: Origin,
    /// What the audit log has for it.
    kind: Kind,
    /// Whether a mail tells the person.
    is_new_device: bool,
}

/// The last steps of a sign-up and a sign-in, in the transaction of the first ones.
///
/// # Errors
/// BAD_CREDENTIALS if the account is disabled.
async fn begin_session(
    mut tx: store::Tx,
    context: &Context,
    user: User,
    Start { origin, kind, is_new_device }: Start,
    now: OffsetDateTime,
) -> Result<NewSession, Error> {
    let (session, secret) = (Session::start(user.id, now).with_origin(origin), SessionSecret::generate()?);
    let event = |kind| Event::of(context, kind, Actor::User(user.id), user.id, now);
    if !sessions::insert(&mut *tx, &session, Some(&secret.hash())).await? {
        audit::append(&mut *tx, &event(Kind::SessionRefused)).await?;
        store::commit(tx).await?;
        return Err(Error::BadCredentials);
    }
    let address = limit::address_of(context);
    users::remember_address(&mut *tx, user.id, &address, now).await?;
    if is_new_device {
        let mail = Mail::to_account(MailKind::NewDevice, user.id, &user.email, now);
        mails::insert(&mut *tx, &Mail { network: Some(address), ..mail }).await?;
    }
    audit::append(&mut *tx, &event(kind).with("session", &session.id.to_string())).await?;
    store::commit(tx).await?;
    Ok(NewSession { user, session, secret })
}

/// The requested name. A blank one is replaced by the part of the address before the @, cut to the limit.
pub(crate) fn display_name(requested: &str, email: &Email) -> String {
    if requested.trim().is_empty() { email.local().chars().take(MAX_NAME).collect() } else { requested.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_empty_and_never_too_long() {
        let email: Email = format!("{}@example.org", "a".repeat(100)).parse().expect("address");
        assert_eq!(display_name("Ada", &email), "Ada");
        assert_eq!(display_name("", &email), "a".repeat(MAX_NAME));
        assert_eq!(display_name(" \u{a0}", &email).chars().count(), MAX_NAME);
    }
}
