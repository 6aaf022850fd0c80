//! Invites, by the hashes of their tokens.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::invite::Invite;

pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    invite: &Invite,
    token_hash: &[u8; 32],
    identity: Option<&str>,
) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into invites (id, token_hash, email, email_identity, created_by, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7)",
        invite.id,
        token_hash.as_slice(),
        invite.email,
        identity,
        invite.created_by,
        invite.created_at,
        invite.expires_at,
    );
    query("insert invites", insert.execute(db)).await?;
    Ok(())
}

/// Whether an account with this identity of an address may use the token now.
pub(crate) async fn is_usable(db: impl PgExecutor<'_>, token_hash: &[u8], identity: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
    let select = sqlx::query_scalar!(
        r#"select exists (select from invites where token_hash = $1 and (email_identity is null or email_identity = $2)
           and used_at is null and revoked_at is null and expires_at > $3) as "exists!""#,
        token_hash,
        identity,
        now,
    );
    query("check invites", select.fetch_one(db)).await
}

/// Uses a token for a new account. Of any number of concurrent uses one gets the id of the invite.
pub(crate) async fn take(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    (user, identity): (UserId, &str),
    now: OffsetDateTime,
) -> Result<Option<Uuid>, StoreError> {
    let update = sqlx::query_scalar!(
        "update invites set used_at = $4, used_by = $3 where token_hash = $1 and (email_identity is null or email_identity = $2)
         and used_at is null and revoked_at is null and expires_at > $4 returning id",
        token_hash,
        identity,
        user.0,
        now,
    );
    query("take invites", update.fetch_optional(db)).await
}

/// The invites after `after` in the order of their ids.
pub(crate) async fn page(db: impl PgExecutor<'_>, after: Uuid, limit: i64) -> Result<Vec<Invite>, StoreError> {
    let select = sqlx::query_as!(
        Invite,
        "select id, email, created_by, created_at, expires_at, used_at, used_by, revoked_at from invites where id > $1 order by id limit $2",
        after,
        limit,
    );
    query("list invites", select.fetch_all(db)).await
}

pub(crate) async fn by_id(db: impl PgExecutor<'_>, id: Uuid) -> Result<Option<Invite>, StoreError> {
    let select = sqlx::query_as!(
        Invite,
        "select id, email, created_by, created_at, expires_at, used_at, used_by, revoked_at from invites where id = $1",
        id,
    );
    query("select invites", select.fetch_optional(db)).await
}

/// Deletes the invites to an address, and the one that an account has used.
pub(crate) async fn delete_of(db: impl PgExecutor<'_>, identity: &str, user: UserId) -> Result<(), StoreError> {
    let delete = sqlx::query!("delete from invites where email_identity = $1 or used_by = $2", identity, user.0);
    query("delete invites of account", delete.execute(db)).await?;
    Ok(())
}

/// Deletes the invites that were used or revoked, or have expired, before a moment.
pub(crate) async fn delete_ended_before(db: impl PgExecutor<'_>, moment: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from invites where id in
             (select id from invites where least(used_at, revoked_at, expires_at) < $1 for update skip locked)",
        moment
    );
    Ok(query("delete old invites", delete.execute(db)).await?.rows_affected())
}

/// Returns false if the invite was used or revoked before.
pub(crate) async fn revoke(db: impl PgExecutor<'_>, id: Uuid, now: OffsetDateTime) -> Result<bool, StoreError> {
    let update = sqlx::query!("update invites set revoked_at = $2 where id = $1 and used_at is null and revoked_at is null", id, now);
    Ok(query("revoke invites", update.execute(db)).await?.rows_affected() == 1)
}
