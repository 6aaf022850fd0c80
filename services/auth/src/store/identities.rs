//! Accounts at providers.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::provider::person::{Identity, Person};

/// Returns false if the person at the provider has an identity already.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    user: UserId,
    (provider, person): (&str, &Person),
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "insert into identities (id, user_id, provider, issuer, subject, label, created_at, last_used_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7) on conflict do nothing",
        Uuid::now_v7(),
        user.0,
        provider,
        person.issuer,
        person.subject,
        person.label,
        now,
    );
    Ok(query("insert identities", insert.execute(db)).await?.rows_affected() == 1)
}

/// Nobody unlinks identities of the account of a person, or ends all its sessions, before the transaction ends. The account is locked before
/// its identities, here and where one is unlinked; otherwise the two could wait for each other.
pub(crate) async fn hold(db: impl PgExecutor<'_>, person: &Person) -> Result<(), StoreError> {
    let select = sqlx::query_scalar!(
        "select u.id from identities i join users u on u.id = i.user_id where i.issuer = $1 and i.subject = $2 for share of u",
        person.issuer,
        person.subject,
    );
    query("share account of identity", select.fetch_optional(db)).await?;
    Ok(())
}

/// The account of a person, and records the use.
pub(crate) async fn used(db: impl PgExecutor<'_>, person: &Person, now: OffsetDateTime) -> Result<Option<UserId>, StoreError> {
    let update = sqlx::query_scalar!(
        "update identities set last_used_at = greatest(last_used_at, $3), label = $4 where issuer = $1 and subject = $2 returning user_id",
        person.issuer,
        person.subject,
        now,
        person.label,
    );
    Ok(query("update identities", update.fetch_optional(db)).await?.map(UserId))
}

/// The identities of an account, the oldest first.
pub(crate) async fn of_user(db: impl PgExecutor<'_>, user: UserId) -> Result<Vec<Identity>, StoreError> {
    let select = sqlx::query_as!(
        Identity,
        "select id, provider, issuer, label, created_at, last_used_at from identities where user_id = $1 order by id",
        user.0,
    );
    query("list identities", select.fetch_all(db)).await
}

/// Returns false if the account has no such identity.
pub(crate) async fn delete(db: impl PgExecutor<'_>, user: UserId, id: Uuid) -> Result<bool, StoreError> {
    let delete = sqlx::query!("delete from identities where id = $1 and user_id = $2", id, user.0);
    Ok(query("delete identities", delete.execute(db)).await?.rows_affected() == 1)
}

pub(crate) async fn delete_of_user(db: impl PgExecutor<'_>, user: UserId) -> Result<(), StoreError> {
    let delete = sqlx::query!("delete from identities where user_id = $1", user.0);
    query("delete identities of account", delete.execute(db)).await?;
    Ok(())
}

/// Whether the account has a password.
pub(crate) async fn has_password(db: impl PgExecutor<'_>, user: UserId) -> Result<bool, StoreError> {
    let select = sqlx::query_scalar!(r#"select password_hash is not null as "has_password!" from users where id = $1"#, user.0);
    Ok(query("select password of account", select.fetch_optional(db)).await?.unwrap_or_default())
}
