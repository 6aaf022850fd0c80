//! Sign-ins that wait for the second factor, by the hashes of their tokens.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;
use crate::code::MAX_ATTEMPTS;

/// One attempt at the second step of a sign-in.
pub(crate) struct Attempt {
    /// Whether the first step was the password.
    pub(crate) by_password: bool,
    /// Attempts at all stored sign-ins of the account that were not completed, with this one.
    pub(crate) of_account: i64,
}

/// Returns false if the account is disabled. As with a session, the lock of its row lets a change that disables it wait.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    (user, by_password): (UserId, bool),
    expires_at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "insert into pending_sign_ins (token_hash, user_id, by_password, attempts, expires_at)
         select $1, u.id, $4, 0, $3::timestamptz from users u where u.id = $2 and u.disabled_at is null for share of u",
        token_hash.as_slice(),
        user.0,
        expires_at,
        by_password,
    );
    Ok(query("insert pending_sign_ins", insert.execute(db)).await?.rows_affected() > 0)
}

/// Whose sign-in it is. It stays pending.
pub(crate) async fn user_of(db: impl PgExecutor<'_>, token_hash: &[u8; 32], now: OffsetDateTime) -> Result<Option<UserId>, StoreError> {
    let select = sqlx::query_scalar!(
        "select user_id from pending_sign_ins where token_hash = $1 and expires_at > $2 and attempts < $3",
        token_hash.as_slice(),
        now,
        MAX_ATTEMPTS,
    );
    Ok(query("select pending_sign_ins", select.fetch_optional(db)).await?.map(UserId))
}

/// Counts an attempt; `None` if there is none left, or if the sign-in was completed or has expired. The account must be locked, so that each
/// attempt has another number.
pub(crate) async fn count_attempt(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<Attempt>, StoreError> {
    // The sum is that of before the statement.
    let update = sqlx::query_as!(
        Attempt,
        r#"update pending_sign_ins s set attempts = s.attempts + 1 where s.token_hash = $1 and s.expires_at > $2 and s.attempts < $3
           returning s.by_password, (select sum(o.attempts) from pending_sign_ins o where o.user_id = s.user_id) + 1 as "of_account!""#,
        token_hash.as_slice(),
        now,
        MAX_ATTEMPTS,
    );
    query("count attempt of pending_sign_ins", update.fetch_optional(db)).await
}

pub(crate) async fn delete(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    let delete = sqlx::query!("delete from pending_sign_ins where token_hash = $1", token_hash.as_slice());
    query("delete pending_sign_ins", delete.execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from pending_sign_ins where token_hash in (select token_hash from pending_sign_ins where expires_at <= $1 for update skip locked)",
        now
    );
    Ok(query("delete expired pending_sign_ins", delete.execute(db)).await?.rows_affected())
}
