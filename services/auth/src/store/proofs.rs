//! The proofs of the addresses of accounts.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{StoreError, users::EMAIL_KEYS};
use crate::{email::Email, user::User};

/// Inserts an account whose address is proved. Without a hash nobody can sign in with a password before a reset sets one. Returns false if another account has the address.
pub(crate) async fn insert_verified(
    db: impl PgExecutor<'_>,
    user: &User,
    email: &Email,
    password_hash: Option<&str>,
) -> Result<bool, StoreError> {
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

/// Marks the address as verified, removes the password and replaces the name. Returns false if somebody has verified the address, or if the
/// account is disabled.
pub(crate) async fn yield_address(
    db: impl PgExecutor<'_>,
    id: UserId,
    display_name: &str,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let update = sqlx::query!(
        "update users set password_hash = null, display_name = $2, verified_at = $3
         where id = $1 and verified_at is null and disabled_at is null",
        id.0,
        display_name,
        now,
    );
    Ok(query("yield address of account", update.execute(db)).await?.rows_affected() == 1)
}

/// Gives the account another address, which is verified. Returns false if another account has it.
pub(crate) async fn change_email(db: impl PgExecutor<'_>, id: UserId, email: &Email, now: OffsetDateTime) -> Result<bool, StoreError> {
    let update = sqlx::query!(
        "update users set email = $2, email_key = $3, email_identity = $4, verified_at = $5 where id = $1",
        id.0,
        email.as_str(),
        email.key(),
        email.identity(),
        now,
    );
    match query("update address of account", update.execute(db)).await {
        Err(e) if EMAIL_KEYS.iter().any(|key| e.violates(key)) => Ok(false),
        done => done.map(|_| true),
    }
}

/// Sets a new password, and marks the address as verified at `verified_at`, if there is one. Returns false if the account has another address
/// by now.
pub(crate) async fn reset_password(
    db: impl PgExecutor<'_>,
    id: UserId,
    email: &str,
    password_hash: &str,
    verified_at: Option<OffsetDateTime>,
) -> Result<bool, StoreError> {
    let update = sqlx::query!(
        "update users set password_hash = $3, verified_at = coalesce(verified_at, $4) where id = $1 and email = $2",
        id.0,
        email,
        password_hash,
        verified_at,
    );
    Ok(query("reset password", update.execute(db)).await?.rows_affected() == 1)
}
