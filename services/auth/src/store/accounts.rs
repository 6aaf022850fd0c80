//! Accounts as operators and mails find them, and as operators change them.

use chassis::postgres::query;
use proto::{auth::Plan, id::UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, users::plan_named};
use crate::{
    email::EmailLookup,
    user::{Account, User},
};

/// The accounts that a condition selects.
macro_rules! select_accounts {
    ($condition:tt, $($value:expr),+) => {
        sqlx::query_as!(
            Row,
            "select id, email, display_name, plan, created_at, disabled_at, verified_at, owner_id from users where " + $condition,
            $($value),+
        )
    };
}

pub(crate) async fn by_id(db: impl PgExecutor<'_>, id: UserId) -> Result<Option<Account>, StoreError> {
    let select = select_accounts!("id = $1", id.0);
    query("select account", select.fetch_optional(db)).await?.map(Row::account).transpose()
}

/// Finds the account that a sign-in with this address finds.
pub(crate) async fn by_email(db: impl PgExecutor<'_>, email: &EmailLookup) -> Result<Option<Account>, StoreError> {
    let select =
        select_accounts!("(email_key = $1 or email_identity = $2) order by email_key = $1 desc limit 1", email.key, email.identity);
    query("select account", select.fetch_optional(db)).await?.map(Row::account).transpose()
}

/// The accounts after `after` in the order of their ids whose address or name contains the text, in lower case.
pub(crate) async fn page(db: impl PgExecutor<'_>, text: &str, after: UserId, limit: i64) -> Result<Vec<Account>, StoreError> {
    let select = select_accounts!(
        "id > $2 and ((owner_id is null and strpos(email_key, $1) > 0) or strpos(lower(display_name), $1) > 0) order by id limit $3",
        text,
        after.0,
        limit
    );
    query("list accounts", select.fetch_all(db)).await?.into_iter().map(Row::account).collect()
}

/// Returns false if the account is disabled already.
pub(crate) async fn disable(db: impl PgExecutor<'_>, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
    let update = sqlx::query!("update users set disabled_at = $2 where id = $1 and disabled_at is null", id.0, now);
    Ok(query("disable account", update.execute(db)).await?.rows_affected() > 0)
}

/// Returns false if the account is enabled already.
pub(crate) async fn enable(db: impl PgExecutor<'_>, id: UserId) -> Result<bool, StoreError> {
    let update = sqlx::query!("update users set disabled_at = null where id = $1 and disabled_at is not null", id.0);
    Ok(query("enable account", update.execute(db)).await?.rows_affected() > 0)
}

/// Returns false if the account has this plan already.
pub(crate) async fn set_plan(db: impl PgExecutor<'_>, id: UserId, plan: Plan) -> Result<bool, StoreError> {
    let update = sqlx::query!("update users set plan = $2 where id = $1 and plan <> $2", id.0, plan.name());
    Ok(query("update account plan", update.execute(db)).await?.rows_affected() > 0)
}

struct Row {
    id: Uuid,
    email: String,
    display_name: String,
    plan: String,
    created_at: OffsetDateTime,
    disabled_at: Option<OffsetDateTime>,
    verified_at: Option<OffsetDateTime>,
    owner_id: Option<Uuid>,
}

impl Row {
    fn account(self) -> Result<Account, StoreError> {
        let plan = plan_named(&self.plan)?;
        let user = User { id: UserId(self.id), email: self.email, display_name: self.display_name, plan, created_at: self.created_at };
        Ok(Account { user, disabled_at: self.disabled_at, verified_at: self.verified_at, owner: self.owner_id.map(UserId) })
    }
}
