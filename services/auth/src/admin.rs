//! What an operator does with accounts and their sessions. Each change is in the audit log, in the same transaction.

use chassis::{context::Context, page::PageTokens};
use proto::{
    auth::Plan,
    error::{Fault, FieldViolation},
    id::{SessionId, UserId},
};
use serde::de::DeserializeOwned;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    account::{self, NewAccount},
    account_deletion,
    app::App,
    audit::{Actor, Event, Kind, StoredEvent},
    email::{Email, EmailLookup},
    email_token::{EmailToken, Proof, Purpose},
    error::{Error, SERVICE},
    factor::Factors,
    identity::Identity,
    mail::words,
    passkey::Passkey,
    password, pending_address, second_factor,
    session::{Session, SessionSecret},
    session_list::end,
    session_start::NewSession,
    store::{
        self, Pool, StoreError, accounts, audit, email_tokens, identities, passkeys, revocations, second_factors, service_accounts,
        sessions, users,
    },
    user::{Account, User},
};

/// How a request names an account.
pub(crate) enum Target {
    Id(UserId),
    Email(EmailLookup),
}

impl Target {
    /// An id, or else an e-mail address in any spelling.
    pub(crate) fn new(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Email(EmailLookup::new(text)), Self::Id)
    }
}

/// # Errors
/// USER_NOT_FOUND.
pub(crate) async fn find(pool: &Pool, target: &Target) -> Result<Account, Error> {
    let found = match target {
        Target::Id(id) => accounts::by_id(pool, *id).await?,
        Target::Email(email) => accounts::by_email(pool, email).await?,
    };
    found.ok_or(Error::UserNotFound)
}

/// What an account signs in with.
pub(crate) struct SignInMethods {
    pub(crate) factors: Factors,
    /// When the authenticator app was added.
    pub(crate) totp_added_at: Option<OffsetDateTime>,
    pub(crate) passkeys: Vec<Passkey>,
    pub(crate) identities: Vec<Identity>,
}

/// # Errors
/// The database failed.
pub(crate) async fn sign_in_methods(pool: &Pool, user: UserId) -> Result<SignInMethods, StoreError> {
    let mut tx = store::begin(pool).await?;
    Ok(SignInMethods {
        factors: second_factors::of(&mut *tx, user).await?,
        totp_added_at: second_factors::totp(&mut *tx, user).await?.and_then(|row| row.confirmed_at),
        passkeys: passkeys::of_user(&mut *tx, user).await?,
        identities: identities::of_user(&mut *tx, user).await?,
    })
}

/// A page of a list, as a request asks for it.
pub(crate) struct Page {
    pub(crate) token: String,
    pub(crate) size: i64,
}

impl Page {
    /// The place after which the page begins; `None` for the first one.
    ///
    /// # Errors
    /// INVALID_FIELD if the page token is of another list.
    pub(crate) fn after<T: DeserializeOwned>(&self, tokens: &PageTokens, scope: &str) -> Result<Option<T>, Error> {
        tokens.open(scope, &self.token).map_err(bad_token)
    }

    /// The rows of the page, and the token of the next one, from one row more than the page has.
    pub(crate) fn split<T>(&self, mut rows: Vec<T>, seal: impl FnOnce(&T) -> String) -> (Vec<T>, String) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let is_last = rows.len() <= size;
        rows.truncate(size);
        let next = rows.last().filter(|_| !is_last).map(seal).unwrap_or_default();
        (rows, next)
    }
}

/// The accounts whose address or name contains the text, and the token of the next page.
///
/// # Errors
/// INVALID_FIELD if the page token is of another list.
pub(crate) async fn list(pool: &Pool, tokens: &PageTokens, text: &str, page: Page) -> Result<(Vec<Account>, String), Error> {
    let scope = format!("ListUsers/{text}");
    let after = page.after::<Uuid>(tokens, &scope)?.unwrap_or_default();
    let rows = accounts::page(pool, &text.to_lowercase(), UserId(after), page.size + 1).await?;
    Ok(page.split(rows, |account| tokens.seal(&scope, &account.user.id.0)))
}

/// The events of the audit log from a time until before another one, and the token of the next page.
///
/// # Errors
/// INVALID_FIELD if the page token is of another list.
pub(crate) async fn list_events(
    pool: &Pool,
    tokens: &PageTokens,
    (since, until): (OffsetDateTime, OffsetDateTime),
    page: Page,
) -> Result<(Vec<StoredEvent>, String), Error> {
    let scope = format!("ListAuditEvents/{}/{}", since.unix_timestamp_nanos(), until.unix_timestamp_nanos());
    let after = match page.after::<(i64, Uuid)>(tokens, &scope)? {
        Some((micros, id)) => (moment(micros), id),
        // The first page also has events at exactly this time.
        None => (since, Uuid::nil()),
    };
    let rows = audit::page(pool, after, until, page.size + 1).await?;
    Ok(page.split(rows, |event| tokens.seal(&scope, &(micros(event.created_at), event.id))))
}

/// PostgreSQL stores microseconds.
fn micros(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000).unwrap_or_default()
}

fn moment(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn bad_token(error: chassis::page::BadPageToken) -> Error {
    Fault::invalid(SERVICE, vec![FieldViolation { field: "page_token".into(), description: error.to_string() }]).into()
}

/// A link with which the owner of a new account sets its first password, once.
pub(crate) struct FirstPasswordLink {
    pub(crate) url: String,
    pub(crate) expires_at: OffsetDateTime,
}

/// Deletes the links that change the address or set a password. Somebody else may have them.
async fn void_links(tx: &mut store::Tx, user: &User) -> Result<(), StoreError> {
    pending_address::forget(tx, user).await?;
    let identity = EmailLookup::new(&user.email).identity;
    email_tokens::delete(&mut **tx, &identity, user.id, &[Purpose::Reset, Purpose::FirstPassword]).await
}

/// A change that an operator makes.
pub(crate) struct Change<'a> {
    pub(crate) app: &'a App,
    pub(crate) context: &'a Context,
    /// The name of the operator.
    pub(crate) operator: String,
    pub(crate) now: OffsetDateTime,
}

impl Change<'_> {
    /// An event that is about no account.
    pub(crate) fn event_of_none(&self, kind: Kind) -> Event {
        let trace_id = Some(self.context.trace_id.clone());
        Event { trace_id, ..Event::new(kind, Actor::Operator(self.operator.clone()), self.now) }
    }

    fn event(&self, kind: Kind, user: UserId) -> Event {
        Event::of(self.context, kind, Actor::Operator(self.operator.clone()), user, self.now)
    }

    /// Creates an account. With an empty password it has none, and the answer has the link with which its owner sets one.
    ///
    /// # Errors
    /// WEAK_PASSWORD, EMAIL_TAKEN, OVERLOADED.
    pub(crate) async fn create(&self, new: NewAccount, plan: Plan) -> Result<(Account, Option<FirstPasswordLink>), Error> {
        let display_name = account::display_name(&new.display_name, &new.email);
        let hash = if new.password.is_empty() {
            None
        } else {
            let personal = password::personal_words(new.email.as_str(), &display_name);
            Some(self.app.hashes.hash(self.context.client_address, new.password, personal).await?)
        };
        let email = new.email.as_str().to_owned();
        let user = User { id: UserId::generate(), email, display_name, plan, created_at: self.now };
        let mut tx = store::begin(&self.app.pool).await?;
        account::insert(&mut tx, &user, &new.email, hash.as_deref()).await?;
        let link = if hash.is_none() { Some(self.first_password(&mut tx, user.id, &new.email).await?) } else { None };
        audit::append(&mut *tx, &self.event(Kind::UserCreated, user.id).with("plan", plan.name())).await?;
        store::commit(tx).await?;
        Ok((Account { user, disabled_at: None, verified_at: None, owner: None }, link))
    }

    async fn first_password(&self, tx: &mut store::Tx, user: UserId, email: &Email) -> Result<FirstPasswordLink, Error> {
        let (token, proof) = (EmailToken::generate()?, Proof::of(Purpose::FirstPassword, Some(user), email));
        let expires_at = self.now + proof.purpose.lifetime();
        email_tokens::insert_without_mail(&mut **tx, &token.hash(), &proof, expires_at).await?;
        Ok(FirstPasswordLink { url: words::page(&self.app.site, "account/reset/confirm", Some(&token)), expires_at })
    }

    /// Disables an account and ends its sessions, with the keys of its service accounts. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn disable(&self, account: &Account) -> Result<usize, Error> {
        let user = account.user.id;
        let mut tx = store::begin(&self.app.pool).await?;
        // First, because a sign-in that has locked the account may still add a session.
        let is_new = accounts::disable(&mut *tx, user, self.now).await?;
        void_links(&mut tx, &account.user).await?;
        let mut ended = sessions::delete_all_of_user(&mut *tx, user, None).await?;
        ended.extend(service_accounts::delete_sessions(&mut *tx, user).await?);
        if is_new || !ended.is_empty() {
            audit::append(&mut *tx, &self.event(Kind::UserDisabled, user).with("sessions", &ended.len().to_string())).await?;
        }
        end(self.app, tx, &ended, self.now).await?;
        Ok(ended.len())
    }

    /// # Errors
    /// The database failed.
    pub(crate) async fn enable(&self, account: &Account) -> Result<(), Error> {
        let user = account.user.id;
        let mut tx = store::begin(&self.app.pool).await?;
        if !accounts::enable(&mut *tx, user).await? {
            return Ok(());
        }
        // A replica of the release before may have started sessions while the account was disabled.
        let ended = sessions::delete_all_of_user(&mut *tx, user, None).await?;
        audit::append(&mut *tx, &self.event(Kind::UserEnabled, user)).await?;
        end(self.app, tx, &ended, self.now).await
    }

    /// Deletes an account. Returns the number of sessions that were ended.
    ///
    /// # Errors
    /// USER_NOT_FOUND.
    pub(crate) async fn delete(&self, account: &Account) -> Result<usize, Error> {
        let user = &account.user;
        let mut tx = store::begin(&self.app.pool).await?;
        // A session that begins now is seen, or finds no account.
        users::lock(&mut *tx, user.id).await?;
        let event = self.event(Kind::UserDeleted, user.id);
        let Some(owner) = account.owner else { return account_deletion::delete(self.app, tx, user, event).await };
        let ended = account_deletion::delete_service_account(&mut tx, (user.id, owner), event).await?.ok_or(Error::UserNotFound)?;
        end(self.app, tx, &ended, self.now).await?;
        Ok(ended.len())
    }

    /// Changes the plan, and reports the sessions of the account as changed, so that the gateway gets new access tokens for them.
    ///
    /// # Errors
    /// USER_NOT_FOUND.
    pub(crate) async fn set_plan(&self, account: &Account, plan: Plan) -> Result<(), Error> {
        let user = account.user.id;
        let mut tx = store::begin(&self.app.pool).await?;
        // Another operator may have changed it since the account was found.
        users::lock(&mut *tx, user).await?;
        let before = accounts::by_id(&mut *tx, user).await?.ok_or(Error::UserNotFound)?.user.plan;
        if !accounts::set_plan(&mut *tx, user, plan).await? {
            return Ok(());
        }
        let event = self.event(Kind::PlanChanged, user).with("from", before.name()).with("to", plan.name());
        audit::append(&mut *tx, &event).await?;
        revocations::append_changes(&mut tx, user, self.now).await?;
        store::commit(tx).await?;
        self.app.feed.notify();
        Ok(())
    }

    /// Removes all second factors of an account, and ends its sessions with what they have proved. Returns whether there was one.
    ///
    /// # Errors
    /// NOT_A_PERSON.
    pub(crate) async fn reset_second_factor(&self, account: &Account) -> Result<bool, Error> {
        check_person(account)?;
        let user = &account.user;
        let mut tx = store::begin(&self.app.pool).await?;
        users::lock(&mut *tx, user.id).await?;
        let ended = sessions::delete_all_of_user(&mut *tx, user.id, None).await?;
        let event = self.event(Kind::FactorsReset, user.id).with("sessions", &ended.len().to_string());
        if !second_factor::remove_all(&mut tx, (user.id, &user.email), &event).await? {
            // Nothing is committed: without a factor the sessions stay.
            return Ok(false);
        }
        pending_address::forget(&mut tx, user).await?;
        end(self.app, tx, &ended, self.now).await?;
        self.app.mail_added.notify_one();
        Ok(true)
    }

    /// Ends one or all sessions of an account. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn end_sessions(&self, account: &Account, session: Option<SessionId>) -> Result<usize, Error> {
        let user = account.user.id;
        let mut tx = store::begin(&self.app.pool).await?;
        // A session that begins now is seen, or begins afterwards.
        users::lock(&mut *tx, user).await?;
        let ended = match session {
            Some(id) => sessions::delete_of_user(&mut *tx, user, id).await?.into_iter().collect(),
            None => {
                void_links(&mut tx, &account.user).await?;
                sessions::delete_all_of_user(&mut *tx, user, None).await?
            }
        };
        if !ended.is_empty() {
            let event = self.event(Kind::SessionsRevoked, user).with("sessions", &ended.len().to_string());
            let event = if let Some(id) = session { event.with("session", &id.to_string()) } else { event };
            audit::append(&mut *tx, &event).await?;
        }
        end(self.app, tx, &ended, self.now).await?;
        Ok(ended.len())
    }

    /// Starts a session in which the operator acts for the person.
    ///
    /// # Errors
    /// USER_DISABLED, NOT_A_PERSON.
    pub(crate) async fn impersonate(&self, account: Account, reason: &str, lifetime: Duration) -> Result<NewSession, Error> {
        check_person(&account)?;
        let user = account.user;
        let (session, secret) = (Session::impersonate(user.id, &self.operator, lifetime, self.now), SessionSecret::generate()?);
        let mut tx = store::begin(&self.app.pool).await?;
        if !sessions::insert(&mut *tx, &session, Some(&secret.hash())).await? {
            return Err(Error::UserDisabled);
        }
        let minutes = (session.expires_at - self.now).whole_minutes().to_string();
        let event = self.event(Kind::Impersonated, user.id).with("session", &session.id.to_string());
        audit::append(&mut *tx, &event.with("reason", reason).with("minutes", &minutes)).await?;
        store::commit(tx).await?;
        Ok(NewSession { user, session, secret })
    }
}

/// # Errors
/// NOT_A_PERSON.
fn check_person(account: &Account) -> Result<(), Error> {
    if account.owner.is_some() { Err(Error::NotAPerson) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_id_or_an_address() {
        let id = UserId::generate();
        assert!(matches!(Target::new(&id.to_string()), Target::Id(found) if found == id));
        for text in ["Ada@Example.org", "", &id.to_string().to_uppercase()] {
            assert!(matches!(Target::new(text), Target::Email(_)), "{text}");
        }
    }

    #[test]
    fn a_page_has_a_next_one_only_if_there_are_more_rows() {
        let page = Page { token: String::new(), size: 2 };
        let split = |rows: Vec<u8>| page.split(rows, |row| format!("after {row}"));
        assert_eq!(split(vec![1, 2, 3]), (vec![1, 2], "after 2".to_owned()));
        assert_eq!(split(vec![1, 2]), (vec![1, 2], String::new()));
        assert_eq!(split(vec![]), (vec![], String::new()));
    }

    #[test]
    fn the_time_of_a_position_round_trips() {
        let now = chassis::clock::now();
        assert_eq!(moment(micros(now)), now);
    }
}
