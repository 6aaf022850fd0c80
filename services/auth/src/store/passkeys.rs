//! Passkeys. Call these while the account is locked, apart from [`of_user`], [`credential_ids`] and [`owner`].

use chassis::postgres::query;
use proto::id::UserId;
use serde_json::Value;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::relying_party::{NewPasskey, PasskeyUse};

/// A passkey as its person sees it.
pub(crate) struct Passkey {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) is_discoverable: bool,
    pub(crate) is_backed_up: bool,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) last_used_at: Option<OffsetDateTime>,
}

/// A passkey as its answers are checked.
pub(crate) struct Key {
    pub(crate) id: Uuid,
    /// As [`crate::relying_party`] stores it.
    pub(crate) credential: Value,
}

/// Returns `None` if the passkey is registered already, with this account or another one.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    user: UserId,
    (name, new): (&str, &NewPasskey),
    now: OffsetDateTime,
) -> Result<Option<Passkey>, StoreError> {
    let insert = sqlx::query_as!(
        Passkey,
        "insert into passkeys (id, user_id, credential_id, name, credential, is_discoverable, is_backed_up, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing
         returning id, name, is_discoverable, is_backed_up, created_at, last_used_at",
        Uuid::now_v7(),
        user.0,
        new.credential_id,
        name,
        new.credential,
        new.is_discoverable,
        new.is_backed_up,
        now,
    );
    query("insert passkeys", insert.fetch_optional(db)).await
}

/// The passkeys of an account, the oldest first.
pub(crate) async fn of_user(db: impl PgExecutor<'_>, user: UserId) -> Result<Vec<Passkey>, StoreError> {
    let select = sqlx::query_as!(
        Passkey,
        "select id, name, is_discoverable, is_backed_up, created_at, last_used_at from passkeys where user_id = $1 order by id",
        user.0,
    );
    query("list passkeys", select.fetch_all(db)).await
}

/// What the authenticators call the passkeys of an account.
pub(crate) async fn credential_ids(db: impl PgExecutor<'_>, user: UserId) -> Result<Vec<Vec<u8>>, StoreError> {
    let select = sqlx::query_scalar!("select credential_id from passkeys where user_id = $1 order by id", user.0);
    query("list ids of passkeys", select.fetch_all(db)).await
}

/// Whose passkey it is.
pub(crate) async fn owner(db: impl PgExecutor<'_>, credential_id: &[u8]) -> Result<Option<UserId>, StoreError> {
    let select = sqlx::query_scalar!("select user_id from passkeys where credential_id = $1", credential_id);
    Ok(query("select owner of passkeys", select.fetch_optional(db)).await?.map(UserId))
}

/// The passkey of this account that the authenticator calls so.
pub(crate) async fn find(db: impl PgExecutor<'_>, user: UserId, credential_id: &[u8]) -> Result<Option<Key>, StoreError> {
    let select =
        sqlx::query_as!(Key, "select id, credential from passkeys where user_id = $1 and credential_id = $2", user.0, credential_id);
    query("select passkeys", select.fetch_optional(db)).await
}

/// Records a use, with what the answer has changed. `is_discoverable`: the use shows that the passkey signs in without an address.
pub(crate) async fn used(
    db: impl PgExecutor<'_>,
    id: Uuid,
    (used, is_discoverable): (&PasskeyUse, bool),
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "update passkeys set credential = $2, is_backed_up = $3, last_used_at = greatest(last_used_at, $4),
             is_discoverable = is_discoverable or $5
         where id = $1",
        id,
        used.credential,
        used.is_backed_up,
        now,
        is_discoverable,
    );
    query("use passkeys", update.execute(db)).await?;
    Ok(())
}

/// Returns false if the account has no such passkey.
pub(crate) async fn rename(db: impl PgExecutor<'_>, user: UserId, id: Uuid, name: &str) -> Result<bool, StoreError> {
    let update = sqlx::query!("update passkeys set name = $3 where id = $1 and user_id = $2", id, user.0, name);
    Ok(query("rename passkeys", update.execute(db)).await?.rows_affected() == 1)
}

/// Returns false if the account has no such passkey.
pub(crate) async fn delete(db: impl PgExecutor<'_>, user: UserId, id: Uuid) -> Result<bool, StoreError> {
    let delete = sqlx::query!("delete from passkeys where id = $1 and user_id = $2", id, user.0);
    Ok(query("delete passkeys", delete.execute(db)).await?.rows_affected() == 1)
}

/// Returns whether the account had any.
pub(crate) async fn delete_of_user(db: impl PgExecutor<'_>, user: UserId) -> Result<bool, StoreError> {
    let delete = sqlx::query!("delete from passkeys where user_id = $1", user.0);
    Ok(query("delete passkeys of account", delete.execute(db)).await?.rows_affected() > 0)
}
