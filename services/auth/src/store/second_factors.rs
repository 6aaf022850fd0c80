//! Authenticator apps and recovery codes, and which factors an account has. Call these while the account is locked, apart from [`of`].

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, passkeys};
use crate::factor::Factors;

/// An authenticator app.
pub(crate) struct TotpRow {
    pub(crate) id: Uuid,
    pub(crate) sealed_secret: Vec<u8>,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) confirmed_at: Option<OffsetDateTime>,
    pub(crate) last_step: i64,
}

/// What the account can prove itself with.
pub(crate) async fn of(db: impl PgExecutor<'_>, user: UserId) -> Result<Factors, StoreError> {
    let select = sqlx::query_as!(
        Factors,
        r#"select u.password_hash is not null as "password!",
                  exists (select from totp_secrets t where t.user_id = u.id and t.confirmed_at is not null) as "totp!",
                  (select count(*) from passkeys p where p.user_id = u.id) as "passkeys!",
                  (select count(*) from recovery_codes r where r.user_id = u.id) as "recovery_codes!"
           from users u where u.id = $1"#,
        user.0,
    );
    Ok(query("select factors", select.fetch_optional(db)).await?.unwrap_or_default())
}

pub(crate) async fn totp(db: impl PgExecutor<'_>, user: UserId) -> Result<Option<TotpRow>, StoreError> {
    let select = sqlx::query_as!(
        TotpRow,
        "select id, sealed_secret, created_at, confirmed_at, last_step from totp_secrets where user_id = $1",
        user.0,
    );
    query("select totp_secrets", select.fetch_optional(db)).await
}

/// Stores a secret that a code has to confirm. It replaces one that was not confirmed. Returns false if there is a confirmed one.
pub(crate) async fn insert_totp(
    db: impl PgExecutor<'_>,
    user: UserId,
    (id, sealed_secret): (Uuid, &[u8]),
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let upsert = sqlx::query!(
        "insert into totp_secrets (id, user_id, sealed_secret, created_at, last_step) values ($1, $2, $3, $4, 0)
         on conflict on constraint totp_secrets_user_id_key do update
         set id = excluded.id, sealed_secret = excluded.sealed_secret, created_at = excluded.created_at, last_step = 0
         where totp_secrets.confirmed_at is null",
        id,
        user.0,
        sealed_secret,
        now,
    );
    Ok(query("insert totp_secrets", upsert.execute(db)).await?.rows_affected() == 1)
}

/// Records an accepted code. Returns false if a code of this step or a later one was accepted before.
pub(crate) async fn use_step(db: impl PgExecutor<'_>, id: Uuid, step: i64) -> Result<bool, StoreError> {
    let update = sqlx::query!("update totp_secrets set last_step = $2 where id = $1 and last_step < $2", id, step);
    Ok(query("use totp_secrets", update.execute(db)).await?.rows_affected() == 1)
}

pub(crate) async fn confirm_totp(db: impl PgExecutor<'_>, id: Uuid, now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!("update totp_secrets set confirmed_at = $2 where id = $1", id, now);
    query("confirm totp_secrets", update.execute(db)).await?;
    Ok(())
}

/// Returns whether the account had a confirmed one.
pub(crate) async fn delete_totp(db: impl PgExecutor<'_>, user: UserId) -> Result<bool, StoreError> {
    let delete = sqlx::query_scalar!(
        r#"delete from totp_secrets where user_id = $1 returning confirmed_at is not null as "was_confirmed!""#,
        user.0,
    );
    Ok(query("delete totp_secrets", delete.fetch_optional(db)).await?.unwrap_or_default())
}

/// Replaces the recovery codes of the account.
pub(crate) async fn replace_recovery_codes(
    tx: &mut super::Tx,
    user: UserId,
    hashes: &[[u8; 32]],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    delete_recovery_codes(&mut **tx, user).await?;
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    let insert = sqlx::query!(
        "insert into recovery_codes (code_hash, user_id, created_at) select hash, $2, $3 from unnest($1::bytea[]) hash",
        &hashes,
        user.0,
        now,
    );
    query("insert recovery_codes", insert.execute(&mut **tx)).await?;
    Ok(())
}

pub(crate) async fn delete_recovery_codes(db: impl PgExecutor<'_>, user: UserId) -> Result<(), StoreError> {
    let delete = sqlx::query!("delete from recovery_codes where user_id = $1", user.0);
    query("delete recovery_codes", delete.execute(db)).await?;
    Ok(())
}

/// Uses a recovery code. Of any number of concurrent uses one returns true.
pub(crate) async fn take_recovery_code(db: impl PgExecutor<'_>, user: UserId, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let delete = sqlx::query!("delete from recovery_codes where user_id = $1 and code_hash = $2", user.0, hash.as_slice());
    Ok(query("take recovery_codes", delete.execute(db)).await?.rows_affected() == 1)
}

/// Deletes every second factor of the account with its recovery codes. Returns whether there was one.
pub(crate) async fn delete_all(tx: &mut super::Tx, user: UserId) -> Result<bool, StoreError> {
    delete_recovery_codes(&mut **tx, user).await?;
    let had_passkeys = passkeys::delete_of_user(&mut **tx, user).await?;
    Ok(delete_totp(&mut **tx, user).await? || had_passkeys)
}
