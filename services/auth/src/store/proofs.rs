//! Accounts and the proofs of their addresses.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;
use crate::{
    email::{Email, EmailLookup},
    user::User,
};

/// An account, as far as mails need it.
pub(crate) struct Account {
    pub(crate) id: UserId,
    /// As it is stored.
    pub(crate) email: String,
    pub(crate) is_verified: bool,
}

/// The account of a sign-in with this text.
pub(crate) async fn by_email(db: impl PgExecutor<'_>, email: &EmailLookup) -> Result<Option<Account>, StoreError> {
    let select = sqlx::query!(
        r#"select id, email, verified_at is not null as "is_verified!" from users where email_key = $1 or email_identity = $2
           order by email_key = $1 desc limit 1"#,
        email.key,
        email.identity,
    );
    let row = query("select account", select.fetch_optional(db)).await?;
    Ok(row.map(|row| Account { id: UserId(row.id), email: row.email, is_verified: row.is_verified }))
}

pub(crate) async fn by_id(db: impl PgExecutor<'_>, id: UserId) -> Result<Option<Account>, StoreError> {
    let select = sqlx::query!(r#"select id, email, verified_at is not null as "is_verified!" from users where id = $1"#, id.0);
    let row = query("select account by id", select.fetch_optional(db)).await?;
    Ok(row.map(|row| Account { id: UserId(row.id), email: row.email, is_verified: row.is_verified }))
}

/// Inserts an account whose address is proved. Returns false if another account has the address.
pub(crate) async fn insert_verified(db: impl PgExecutor<'_>, user: &User, email: &Email, password_hash: &str) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "insert into users (id, email, email_key, email_identity, display_name, plan, password_hash, created_at, verified_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8) on conflict do nothing",
        user.id.0,
        user.email,
        email.key(),
        email.identity(),
        user.display_name,
        user.plan.name(),
        password_hash,
        user.created_at,
    );
    Ok(query("insert verified account", insert.execute(db)).await?.rows_affected() == 1)
}

/// Returns false if the account has another address by now.
pub(crate) async fn verify(db: impl PgExecutor<'_>, id: UserId, email: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
    let update = sqlx::query!("update users set verified_at = coalesce(verified_at, $3) where id = $1 and email = $2", id.0, email, now);
    Ok(query("verify account", update.execute(db)).await?.rows_affected() == 1)
}

/// Sets a new password and marks the address as verified. Returns false if the account has another address by now.
pub(crate) async fn reset_password(
    db: impl PgExecutor<'_>,
    id: UserId,
    email: &str,
    password_hash: &str,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let update = sqlx::query!(
        "update users set password_hash = $3, verified_at = coalesce(verified_at, $4) where id = $1 and email = $2",
        id.0,
        email,
        password_hash,
        now,
    );
    Ok(query("reset password", update.execute(db)).await?.rows_affected() == 1)
}
