//! Accounts, and the client addresses of their sign-ins.

use chassis::postgres::query;
use proto::{auth::Plan, id::UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::{
    email::{Email, EmailLookup},
    user::{Credentials, User},
};

/// The constraints that allow one account per e-mail address.
pub(crate) const EMAIL_KEYS: [&str; 2] = ["users_email_key_key", EMAIL_IDENTITY_KEY];
const EMAIL_IDENTITY_KEY: &str = "users_email_identity_key";

/// Inserts an account. Without a hash nobody can sign in with a password before a link sets one.
pub(crate) async fn insert(db: impl PgExecutor<'_>, user: &User, email: &Email, password_hash: Option<&str>) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into users (id, email, email_key, email_identity, display_name, plan, password_hash, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        user.id.0,
        user.email,
        email.key(),
        email.identity(),
        user.display_name,
        user.plan.name(),
        password_hash,
        user.created_at,
    );
    query("insert users", insert.execute(db)).await?;
    Ok(())
}

/// The account that a condition selects, as [`Credentials`]. `$1` is the client address.
macro_rules! select_credentials {
    ($condition:tt, $address:expr, $($value:expr),+) => {
        sqlx::query_as!(
            CredentialsRow,
            r#"select u.id as "id?", u.email as "email?", u.display_name as "display_name?", u.plan as "plan?", u.created_at as "created_at?",
                  u.password_hash as "password_hash?", u.disabled_at is not null as "is_disabled!",
                  exists (select from user_addresses a where a.user_id = coalesce(u.id, '00000000-0000-0000-0000-000000000000')
                          and a.address = $1) as "from_known_address!",
                  (exists (select from user_addresses a where a.user_id = coalesce(u.id, '00000000-0000-0000-0000-000000000000'))
                   and u.verified_at is not null) as "has_known_addresses!"
               from (values (true)) as one (is_there) left join lateral (select * from users u where "# + $condition + ") u on true",
            $address,
            $($value),+
        )
    };
}

/// All that a sign-in needs, in one query. The query does the same work and returns a row also without an account, because the time of a sign-in
/// must not tell which addresses have one. The account with exactly this spelling comes before another one with the same identity: rows from
/// before addresses were normalised may have both.
pub(crate) async fn credentials(db: impl PgExecutor<'_>, email: &EmailLookup, address: &str) -> Result<Option<Credentials>, StoreError> {
    let select = select_credentials!(
        "(u.email_key = $2 or u.email_identity = $3) order by u.email_key = $2 desc limit 1",
        address,
        email.key,
        email.identity
    );
    query("select users", select.fetch_one(db)).await?.credentials()
}

/// The same for an account that is known.
pub(crate) async fn credentials_of(db: impl PgExecutor<'_>, id: UserId, address: &str) -> Result<Option<Credentials>, StoreError> {
    let select = select_credentials!("u.id = $2", address, id.0);
    query("select users", select.fetch_one(db)).await?.credentials()
}

/// Without an account only the last three have values.
struct CredentialsRow {
    id: Option<Uuid>,
    email: Option<String>,
    display_name: Option<String>,
    plan: Option<String>,
    created_at: Option<OffsetDateTime>,
    password_hash: Option<String>,
    is_disabled: bool,
    from_known_address: bool,
    has_known_addresses: bool,
}

impl CredentialsRow {
    fn credentials(self) -> Result<Option<Credentials>, StoreError> {
        let (Some(id), Some(email), Some(display_name), Some(plan), Some(created_at)) =
            (self.id, self.email, self.display_name, self.plan, self.created_at)
        else {
            return Ok(None);
        };
        Ok(Some(Credentials {
            user: User { id: UserId(id), email, display_name, plan: plan_named(&plan)?, created_at },
            password_hash: self.password_hash,
            is_disabled: self.is_disabled,
            from_known_address: self.from_known_address,
            has_known_addresses: self.has_known_addresses,
        }))
    }
}

/// Whether the account still has this password hash. If so, nobody changes it, or ends all sessions, before the transaction ends.
pub(crate) async fn hold_password_hash(db: impl PgExecutor<'_>, id: UserId, hash: &str) -> Result<bool, StoreError> {
    let select = sqlx::query_scalar!("select id from users where id = $1 and password_hash = $2 for share", id.0, hash);
    Ok(query("share users", select.fetch_optional(db)).await?.is_some())
}

/// Waits for sign-ins and other changes of the account that are in progress; later ones wait until the transaction ends.
pub(crate) async fn lock(db: impl PgExecutor<'_>, id: UserId) -> Result<(), StoreError> {
    let select = sqlx::query_scalar!("select id from users where id = $1 for no key update", id.0);
    query("lock users", select.fetch_optional(db)).await?;
    Ok(())
}

/// A page of accounts without an identity, in the order of their ids: those after `after`, with their e-mail addresses.
pub(crate) async fn without_identity(db: impl PgExecutor<'_>, after: UserId, page: i64) -> Result<Vec<(UserId, String)>, StoreError> {
    let select = sqlx::query!("select id, email from users where email_identity is null and id > $1 order by id limit $2", after.0, page);
    let rows = query("select users", select.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| (UserId(row.id), row.email)).collect())
}

/// Returns false if another account has this identity. Then each account is found by its own spelling.
pub(crate) async fn set_identity(db: impl PgExecutor<'_>, id: UserId, identity: &str) -> Result<bool, StoreError> {
    let update = sqlx::query!("update users set email_identity = $2 where id = $1 and email_identity is null", id.0, identity);
    match query("update users", update.execute(db)).await {
        Err(e) if e.violates(EMAIL_IDENTITY_KEY) => Ok(false),
        done => done.map(|_| true),
    }
}

/// Replaces the hash if it is still `old`. Returns whether it was.
pub(crate) async fn replace_password_hash(db: impl PgExecutor<'_>, id: UserId, old: &str, new: &str) -> Result<bool, StoreError> {
    let update = sqlx::query!("update users set password_hash = $3 where id = $1 and password_hash = $2", id.0, old, new);
    Ok(query("update users", update.execute(db)).await?.rows_affected() > 0)
}

/// Forgets the client addresses of an account, except one.
pub(crate) async fn forget_addresses_of(db: impl PgExecutor<'_>, id: UserId, except: &str) -> Result<(), StoreError> {
    let delete = sqlx::query!("delete from user_addresses where user_id = $1 and address <> $2", id.0, except);
    query("delete addresses of account", delete.execute(db)).await?;
    Ok(())
}

pub(crate) async fn remember_address(db: impl PgExecutor<'_>, id: UserId, address: &str, now: OffsetDateTime) -> Result<(), StoreError> {
    let upsert = sqlx::query!(
        "insert into user_addresses (user_id, address, signed_in_at) values ($1, $2, $3)
         on conflict on constraint user_addresses_user_id_address_key do update set signed_in_at = excluded.signed_in_at",
        id.0,
        address,
        now,
    );
    query("insert user_addresses", upsert.execute(db)).await?;
    Ok(())
}

pub(crate) async fn forget_addresses(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from user_addresses where (user_id, address) in
             (select user_id, address from user_addresses where signed_in_at < $1 for update skip locked)",
        before
    );
    Ok(query("delete user_addresses", delete.execute(db)).await?.rows_affected())
}

/// A plan as the column spells it, which is how access tokens do.
pub(super) fn plan_named(text: &str) -> Result<Plan, StoreError> {
    Plan::from_name(text).ok_or_else(|| StoreError::Inconsistent(format!("a plan that this version does not know: {text}")))
}
