//! Signing keys, in the order of their creation.

use chassis::postgres::query;
use sqlx::PgExecutor;

use super::StoreError;
use crate::token::{KeyName, StoredKey};

/// The advisory lock under which keys are created and retired.
const LOCK: i64 = 0x6175_7468_6b65_7973;

pub(crate) async fn all(db: impl PgExecutor<'_>) -> Result<Vec<StoredKey>, StoreError> {
    let select =
        sqlx::query_as!(StoredKey, "select kid, public_key, sealed_private, created_at from signing_keys order by created_at, kid");
    query("select signing_keys", select.fetch_all(db)).await
}

/// [`all`] without the keys themselves.
pub(crate) async fn names(db: impl PgExecutor<'_>) -> Result<Vec<KeyName>, StoreError> {
    let select = sqlx::query_as!(KeyName, "select kid, created_at from signing_keys order by created_at, kid");
    query("select signing_keys", select.fetch_all(db)).await
}

/// Takes the lock until the end of the transaction.
pub(crate) async fn lock(db: impl PgExecutor<'_>) -> Result<(), StoreError> {
    query("lock signing_keys", sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).execute(db)).await?;
    Ok(())
}

pub(crate) async fn insert(db: impl PgExecutor<'_>, key: &StoredKey) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into signing_keys (kid, public_key, sealed_private, created_at) values ($1, $2, $3, $4)",
        key.kid,
        key.public_key,
        key.sealed_private,
        key.created_at,
    );
    query("insert signing_keys", insert.execute(db)).await?;
    Ok(())
}

/// Replaces a sealed private key, unless another replica has replaced it.
pub(crate) async fn replace_sealed(db: impl PgExecutor<'_>, kid: &str, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
    let update = sqlx::query!("update signing_keys set sealed_private = $3 where kid = $1 and sealed_private = $2", kid, old, new);
    query("update signing_keys", update.execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete(db: impl PgExecutor<'_>, kid: &str) -> Result<(), StoreError> {
    query("delete signing_keys", sqlx::query!("delete from signing_keys where kid = $1", kid).execute(db)).await?;
    Ok(())
}
