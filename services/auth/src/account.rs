//! The story of a person: sign up, sign in, be known, get an access token, sign out. Each function is one RPC's work between
//! decoding and encoding.

use std::sync::Arc;

use chassis::{client::ServiceChannel, context::Context, identity::Caller};
use proto::{auth::Plan, id::UserId};
use time::OffsetDateTime;

use crate::{
    config::SignUp,
    email::{Email, Typed},
    error::Error,
    hash_pool::HashPool,
    keyring::Keyring,
    limit::{self, Limits},
    password::{self, Verdict},
    revocation::Feed,
    session::{Session, SessionSecret},
    store::{self, Pool, revocations, sessions, users},
    token,
    user::User,
};

/// Characters of a display name.
pub const MAX_NAME: usize = 80;

/// A sign-up whose fields are good.
pub struct NewAccount {
    pub email: Email,
    pub password: String,
    /// Empty takes the part of the address before the @.
    pub display_name: String,
}

/// A session that has just begun; the only moment at which its secret is known.
pub struct SignedIn {
    pub user: User,
    pub session: Session,
    pub secret: SessionSecret,
}

/// A token for the services, made from a session.
pub struct Access {
    pub token: String,
    pub expires_at: OffsetDateTime,
    pub user: User,
    pub session: Session,
}

/// The parts that the story needs.
#[derive(Clone)]
pub struct Accounts {
    shared: Arc<Parts>,
}

struct Parts {
    sign_up: SignUp,
    pool: Pool,
    hashes: HashPool,
    limits: Limits,
    keyring: Keyring,
    feed: Feed,
}

impl Accounts {
    #[must_use]
    pub fn new(sign_up: SignUp, stores: (Pool, HashPool), rate_limit: ServiceChannel, keyring: Keyring, feed: Feed) -> Self {
        let (pool, hashes) = stores;
        Self { shared: Arc::new(Parts { sign_up, pool, hashes, limits: Limits::new(rate_limit), keyring, feed }) }
    }

    /// # Errors
    /// SIGNUP_CLOSED, RATE_LIMITED, WEAK_PASSWORD, EMAIL_TAKEN, OVERLOADED, SHARE_EXHAUSTED.
    pub async fn sign_up(&self, context: &Context, new: NewAccount, now: OffsetDateTime) -> Result<SignedIn, Error> {
        let parts = &self.shared;
        if parts.sign_up == SignUp::Closed && context.caller != Caller::Operator {
            return Err(Error::SignUpClosed);
        }
        let address = limit::address_of(context);
        parts.limits.count(context, &address, None).await?;
        let display_name = display_name(&new.display_name, &new.email);
        let known = password::known_words(new.email.as_str(), &display_name);
        let hash = parts.hashes.hash(context.client_address, new.password, known).await?;

        let user = User { id: UserId::generate(), email: new.email.as_str().to_owned(), display_name, plan: Plan::Free, created_at: now };
        let mut tx = store::begin(&parts.pool).await?;
        users::insert(&mut *tx, &user, &new.email, &hash)
            .await
            .map_err(|e| if users::EMAIL_KEYS.iter().any(|key| e.violates(key)) { Error::EmailTaken } else { e.into() })?;
        begin_session(tx, user, &address, now).await
    }

    /// # Errors
    /// RATE_LIMITED, BAD_CREDENTIALS, OVERLOADED, SHARE_EXHAUSTED.
    pub async fn sign_in(&self, context: &Context, email: &str, password: String, now: OffsetDateTime) -> Result<SignedIn, Error> {
        let parts = &self.shared;
        let (address, typed) = (limit::address_of(context), Typed::new(email));
        let found = users::credentials(&parts.pool, &typed, &address).await?;
        let stranger = !found.as_ref().is_some_and(|c| c.from_known_address);
        parts.limits.count(context, &address, stranger.then_some(typed.identity.as_str())).await?;

        let verdict = parts.hashes.verify(context.client_address, password, found.as_ref().map(|c| c.password_hash.clone())).await?;
        // A verdict other than wrong needs an account.
        let (Some(account), false) = (found, verdict == Verdict::Wrong) else { return Err(Error::BadCredentials) };
        let mut tx = store::begin(&parts.pool).await?;
        if let Verdict::Outdated(new) = verdict {
            users::replace_password_hash(&mut *tx, account.user.id, &account.password_hash, &new).await?;
        }
        begin_session(tx, account.user, &address, now).await
    }

    /// Ends the session of this secret; without one, the session that the presented access token was made from. An ended one
    /// ends again without effect.
    ///
    /// # Errors
    /// TOKEN_MISSING when neither names a session.
    pub async fn sign_out(&self, context: &Context, secret: Option<SessionSecret>, now: OffsetDateTime) -> Result<(), Error> {
        let parts = &self.shared;
        let mut tx;
        let ended = match secret {
            Some(secret) => {
                tx = store::begin(&parts.pool).await?;
                sessions::delete_by_token(&mut *tx, &secret.hash()).await?
            }
            None => {
                let id = context.user()?.session_id;
                tx = store::begin(&parts.pool).await?;
                sessions::delete_by_id(&mut *tx, id).await?
            }
        };
        let Some(id) = ended else { return Ok(()) };
        revocations::append(&mut tx, id, now).await?;
        store::commit(tx).await?;
        parts.feed.ring();
        Ok(())
    }

    /// Who the presented access token speaks for.
    ///
    /// # Errors
    /// SESSION_ENDED, even while the token itself is still good.
    pub async fn current(&self, context: &Context, now: OffsetDateTime) -> Result<(User, Session), Error> {
        let found = sessions::by_id(&self.shared.pool, context.user()?.session_id).await?;
        found.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)
    }

    /// One query, and once a minute a second one that writes down the use.
    ///
    /// # Errors
    /// SESSION_ENDED.
    pub async fn exchange(&self, secret: &SessionSecret, now: OffsetDateTime) -> Result<Access, Error> {
        let parts = &self.shared;
        let found = sessions::by_token(&parts.pool, &secret.hash()).await?;
        let (user, session) = found.filter(|(_, session)| session.is_live(now)).ok_or(Error::SessionEnded)?;
        if session.wants_touch(now) {
            sessions::touch(&parts.pool, session.id, now).await?;
        }
        let token = parts.keyring.mint(&token::claims(&user, &session, now))?;
        Ok(Access { token, expires_at: token::expiry(&session, now), user, session })
    }
}

/// The last steps of both ways in, in the transaction of the first ones.
async fn begin_session(mut tx: store::Tx, user: User, address: &str, now: OffsetDateTime) -> Result<SignedIn, Error> {
    let (session, secret) = (Session::start(user.id, now), SessionSecret::generate()?);
    sessions::insert(&mut *tx, &session, &secret.hash()).await?;
    users::remember_address(&mut *tx, user.id, address, now).await?;
    store::commit(tx).await?;
    Ok(SignedIn { user, session, secret })
}

/// What was asked for; blank takes what is before the @, cut to the limit.
fn display_name(asked: &str, email: &Email) -> String {
    if asked.trim().is_empty() { email.local().chars().take(MAX_NAME).collect() } else { asked.to_owned() }
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
