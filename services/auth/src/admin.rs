//! What an operator does with accounts and their sessions. Each change is in the audit log, in the same transaction.

use chassis::{context::Context, page::PageTokens};
use proto::{
    auth::Plan,
    error::{Fault, FieldViolation},
    id::{SessionId, UserId},
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    account::{self, NewAccount, NewSession},
    app::App,
    audit::{Actor, Event, Kind, StoredEvent},
    email::EmailLookup,
    error::{Error, SERVICE},
    password,
    session::{Session, SessionSecret},
    session_list::end,
    store::{self, Pool, accounts, audit, revocations, sessions, users},
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

/// A page of a list, as a request asks for it.
pub(crate) struct Page {
    pub(crate) token: String,
    pub(crate) size: i64,
}

impl Page {
    /// The rows of the page, and the token of the next one, from one row more than the page has.
    fn split<T>(&self, mut rows: Vec<T>, seal: impl FnOnce(&T) -> String) -> (Vec<T>, String) {
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
    let after = tokens.open::<Uuid>(&scope, &page.token).map_err(bad_token)?.unwrap_or_default();
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
    let after = match tokens.open::<(i64, Uuid)>(&scope, &page.token).map_err(bad_token)? {
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

/// A change that an operator makes.
pub(crate) struct Change<'a> {
    pub(crate) app: &'a App,
    pub(crate) context: &'a Context,
    /// The name of the operator.
    pub(crate) operator: String,
    pub(crate) now: OffsetDateTime,
}

impl Change<'_> {
    fn event(&self, kind: Kind, user: UserId) -> Event {
        Event::of(self.context, kind, Actor::Operator(self.operator.clone()), user, self.now)
    }

    /// Creates an account. With an empty password it gets a random one, which is returned.
    ///
    /// # Errors
    /// WEAK_PASSWORD, EMAIL_TAKEN, OVERLOADED.
    pub(crate) async fn create(&self, mut new: NewAccount, plan: Plan) -> Result<(Account, Option<String>), Error> {
        let generated = if new.password.is_empty() { Some(SessionSecret::generate()?.expose().to_owned()) } else { None };
        if let Some(password) = &generated {
            new.password.clone_from(password);
        }
        let display_name = account::display_name(&new.display_name, &new.email);
        let personal = password::personal_words(new.email.as_str(), &display_name);
        let hash = self.app.hashes.hash(self.context.client_address, new.password, personal).await?;
        let email = new.email.as_str().to_owned();
        let user = User { id: UserId::generate(), email, display_name, plan, created_at: self.now };
        let mut tx = store::begin(&self.app.pool).await?;
        account::insert(&mut tx, &user, &new.email, &hash).await?;
        audit::append(&mut *tx, &self.event(Kind::UserCreated, user.id).with("plan", plan.name())).await?;
        store::commit(tx).await?;
        Ok((Account { user, disabled_at: None }, generated))
    }

    /// Disables an account and ends its sessions. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn disable(&self, account: &Account) -> Result<usize, Error> {
        let user = account.user.id;
        let mut tx = store::begin(&self.app.pool).await?;
        // First, because a sign-in that has locked the account may still add a session.
        let is_new = accounts::disable(&mut *tx, user, self.now).await?;
        let ended = sessions::delete_all_of_user(&mut *tx, user, None).await?;
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

    /// Changes the plan, and reports the sessions of the account as changed, so that the gateway gets new access tokens for them.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn set_plan(&self, account: &Account, plan: Plan) -> Result<(), Error> {
        let user = account.user.id;
        let mut tx = store::begin(&self.app.pool).await?;
        if !accounts::set_plan(&mut *tx, user, plan).await? {
            return Ok(());
        }
        let event = self.event(Kind::PlanChanged, user).with("from", account.user.plan.name()).with("to", plan.name());
        audit::append(&mut *tx, &event).await?;
        revocations::append_changes(&mut tx, user, self.now).await?;
        store::commit(tx).await?;
        self.app.feed.notify();
        Ok(())
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
            None => sessions::delete_all_of_user(&mut *tx, user, None).await?,
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
    /// USER_DISABLED.
    pub(crate) async fn impersonate(&self, account: Account, reason: &str, lifetime: Duration) -> Result<NewSession, Error> {
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
