//! Sign up, sign in, sign out, read the current session, create an access token. Each function is the work of one RPC between
//! decoding and encoding.

use chassis::{context::Context, identity::Caller, task};
use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

use crate::{
    app::App,
    audit::{Actor, Event, Kind},
    config::SignUp,
    email::{Email, EmailLookup},
    error::Error,
    factor::Method,
    hash_pool::Slot,
    invite, invite_use, limit,
    mail::queue::{Kind as MailKind, Mail, PendingSignUp},
    origin::Origin,
    password::{self, Verdict},
    refused_proof, required_factor,
    revocation::Feed,
    second_step,
    session::{Session, SessionSecret},
    session_start::{NewSession, Start, begin_session},
    store::{self, Pool, audit, mails, revocations, second_factors, sessions, users},
    stuffing::Source,
    token,
    user::{Credentials, User},
};

pub(crate) use crate::user::MAX_NAME;

/// How often a sign-in, a step-up or a change of the password is repeated whose account got another password hash meanwhile.
pub(crate) const MAX_RACES: usize = 3;

/// A sign-up with valid fields.
pub(crate) struct NewAccount {
    pub(crate) email: Email,
    pub(crate) password: String,
    /// Empty takes the part of the address before the @.
    pub(crate) display_name: String,
    pub(crate) user_agent: String,
    /// Empty if there is none.
    pub(crate) invite_token: String,
}

/// What a sign-up leads to.
pub(crate) enum SignedUp {
    /// The account exists.
    Session(Box<NewSession>),
    /// A mail decides.
    ByMail,
}

/// A token for the services, made from a session.
pub(crate) struct AccessToken {
    pub(crate) token: String,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) user: User,
    pub(crate) session: Session,
}

/// # Errors
/// SIGNUP_CLOSED (also for a domain that may not sign up), INVITE_REQUIRED, INVITE_INVALID, RATE_LIMITED, WEAK_PASSWORD, EMAIL_TAKEN, OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn sign_up(app: &App, context: &Context, new: NewAccount, now: OffsetDateTime) -> Result<SignedUp, Error> {
    let by_operator = context.caller == Caller::Operator;
    if app.sign_up == SignUp::Closed && !by_operator {
        return Err(Error::SignUpClosed);
    }
    let needs_invite = app.sign_up == SignUp::Invite && !by_operator;
    if !app.sign_up_domains.allow(&new.email) && !by_operator && !needs_invite {
        return Err(Error::DomainClosed);
    }
    limit::count(&app.limiter, context, &limit::address_of(context), None).await?;
    let invite = (!new.invite_token.is_empty()).then(|| invite::hash(&new.invite_token));
    let invite = invite.as_ref().map(<[u8; 32]>::as_slice);
    if needs_invite {
        // Without an invite nobody makes the service hash.
        invite_use::check(&app.pool, invite, &new.email, now).await?;
    }
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
    insert(&mut tx, &user, &new.email, Some(&hash)).await?;
    let mut details = Vec::new();
    if needs_invite {
        details.push(("invite", invite_use::take(&mut tx, invite, (user.id, &new.email), now).await?.to_string()));
    }
    let origin = Origin::new(&new.user_agent, context.client_address);
    let start = Start { origin, kind: Kind::SignedUp, is_new_device: false, methods: vec![Method::Password], details };
    Ok(SignedUp::Session(Box::new(begin_session(tx, context, user, start, now).await?)))
}

/// Stores a new account. Without a hash it has no password.
///
/// # Errors
/// EMAIL_TAKEN.
pub(crate) async fn insert(tx: &mut store::Tx, user: &User, email: &Email, password_hash: Option<&str>) -> Result<(), Error> {
    let inserted = users::insert(&mut **tx, user, email, password_hash).await;
    inserted.map_err(|e| if users::EMAIL_KEYS.iter().any(|key| e.violates(key)) { Error::EmailTaken } else { e.into() })
}

/// A sign-in whose fields are short enough.
pub(crate) struct Attempt {
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) user_agent: String,
    /// Empty without a challenge.
    pub(crate) challenge_solution: String,
}

/// # Errors
/// RATE_LIMITED, CHALLENGE_REQUIRED, BAD_CREDENTIALS (also for a disabled account), SECOND_FACTOR_REQUIRED, OVERLOADED, SHARE_EXHAUSTED.
pub(crate) async fn sign_in(app: &App, context: &Context, attempt: Attempt, now: OffsetDateTime) -> Result<NewSession, Error> {
    let Attempt { email, password, user_agent, challenge_solution } = attempt;
    let (address, lookup) = (limit::address_of(context), EmailLookup::new(&email));
    let mut found = users::credentials(&app.pool, &lookup, &address).await?;
    let is_known = found.as_ref().is_some_and(|credentials| credentials.from_known_address);
    // What is counted after a hash must be known to the next sign-in of the source before its own: otherwise any number of them at the same moment
    // would be admitted.
    let mut admitted = Some(app.hashes.slot(context.client_address).await?);
    // The same calls for every account and none.
    let source = Source { network: &address, identity: &lookup.identity, is_known };
    app.stuffing.admit(context, &source, &challenge_solution, now).await?;

    for _ in 0..MAX_RACES {
        let user = found.as_ref().map(|account| account.user.id);
        let slot = match admitted.take() {
            Some(slot) => slot,
            None => app.hashes.slot(context.client_address).await?,
        };
        let verdict = check(app, context, (&slot, found.as_ref()), &password, now).await?;
        // Without an account or a password the verdict is always `Wrong`.
        let (Some(account), false) = (found, verdict == Verdict::Wrong) else {
            app.stuffing.count_wrong(context, &source, &password).await;
            refused_proof::log(context, user, "password");
            return Err(Error::BadCredentials);
        };
        // Others of the address need not wait for the database.
        drop(slot);
        let mut tx = store::begin(&app.pool).await?;
        if hold_password(&mut tx, &account, verdict).await? {
            // Nobody adds or removes a factor before the transaction ends.
            let factors = second_factors::of(&mut *tx, account.user.id).await?;
            if factors.has_second() {
                return Err(second_step::begin(tx, context, (account.user.id, true), factors, now).await);
            }
            let is_new_device = account.has_known_addresses && !account.from_known_address;
            let origin = Origin::new(&user_agent, context.client_address);
            let start = Start { origin, kind: Kind::SessionStarted, is_new_device, methods: vec![Method::Password], details: Vec::new() };
            let begun = begin_session(tx, context, account.user, start, now).await?;
            if is_new_device {
                app.mail_added.notify_one();
            }
            return Ok(begun);
        }
        // A sign-in that holds a connection must not wait for another one.
        drop(tx);
        // Another sign-in has replaced a weak hash, or the password was changed. A session of the old password must not begin.
        found = users::credentials_of(&app.pool, account.user.id, &address).await?;
    }
    Err(Error::BadCredentials)
}

/// Compares the password with that of the account. For a disabled account it is always wrong, after the work and with the answer of a wrong
/// one. The log learns of the right one afterwards; it stays unknown if the process is killed at that moment.
async fn check(
    app: &App,
    context: &Context,
    (slot, account): (&Slot, Option<&Credentials>),
    password: &str,
    now: OffsetDateTime,
) -> Result<Verdict, Error> {
    let stored = account.and_then(|account| account.password_hash.clone());
    let Some(disabled) = account.filter(|account| account.is_disabled) else {
        return app.hashes.verify_in(slot, password.to_owned(), stored).await;
    };
    if app.hashes.matches_in(slot, password.to_owned(), stored).await? {
        let (pool, id) = (app.pool.clone(), disabled.user.id);
        let event = Event::of(context, Kind::SessionRefused, Actor::User(id), id, now);
        task::spawn(async move {
            if let Err(error) = audit::append(&pool, &event).await {
                tracing::warn!(cause = chassis::error::chain(&error), "the audit log has no refused sign-in");
            }
        });
    }
    Ok(Verdict::Wrong)
}

/// Whether the account still has the password that was verified. If so, it keeps it until the transaction ends.
///
/// # Errors
/// The database failed.
pub(crate) async fn hold_password(tx: &mut store::Tx, account: &Credentials, verdict: Verdict) -> Result<bool, Error> {
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

/// Makes an access token from a session. This takes two queries, one more where a second factor is required, and at most once a minute another
/// one that records the use.
///
/// # Errors
/// SESSION_ENDED.
pub(crate) async fn create_access_token(app: &App, secret: &SessionSecret, now: OffsetDateTime) -> Result<AccessToken, Error> {
    let found = sessions::by_token(&app.pool, &secret.hash()).await?;
    let (user, session) = found.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)?;
    if session.is_touch_due(now) {
        sessions::touch(&app.pool, session.id, now).await?;
    }
    let claims = required_factor::claims_of(app, &app.pool, &user, &session, now).await?;
    let token = app.keyring.sign_to_keep(&claims, now).await?;
    Ok(AccessToken { token, expires_at: token::expiry(&session, now), user, session })
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
