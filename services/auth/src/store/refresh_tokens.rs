//! Refresh tokens. They are deleted with their session.

use chassis::postgres::query;
use proto::id::SessionId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, Tx};
use crate::credential::Seed;

/// A row without what changes.
pub(crate) struct FoundToken {
    pub(crate) id: Uuid,
    pub(crate) session_id: SessionId,
}

/// What changes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) is_used: bool,
    /// Of a used token, until [`forget_seeds`].
    pub(crate) seed: Option<Seed>,
    /// The token that it was exchanged for.
    pub(crate) successor: Option<Uuid>,
    /// Whether the successor or its access token was used.
    pub(crate) is_successor_used: bool,
}

/// A token that is issued.
pub(crate) struct IssuedToken {
    pub(crate) id: Uuid,
    pub(crate) session_id: SessionId,
    /// The token that was exchanged for it.
    pub(crate) parent_id: Option<Uuid>,
    pub(crate) token_hash: [u8; 32],
}

pub(crate) async fn insert(db: impl PgExecutor<'_>, token: &IssuedToken, now: OffsetDateTime) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into refresh_tokens (id, session_id, parent_id, token_hash, created_at) values ($1, $2, $3, $4, $5)",
        token.id,
        token.session_id.0,
        token.parent_id,
        token.token_hash.as_slice(),
        now,
    );
    query("insert refresh_tokens", insert.execute(db)).await?;
    Ok(())
}

pub(crate) async fn by_hash(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<FoundToken>, StoreError> {
    let select = sqlx::query!("select id, session_id from refresh_tokens where token_hash = $1", token_hash.as_slice());
    let row = query("select refresh_tokens", select.fetch_optional(db)).await?;
    Ok(row.map(|row| FoundToken { id: row.id, session_id: SessionId(row.session_id) }))
}

/// Whether the token was used. Call it while the session is locked. `None` if the row does not exist any more.
pub(crate) async fn use_of(db: impl PgExecutor<'_>, id: Uuid) -> Result<Option<Use>, StoreError> {
    let select = sqlx::query!(
        r#"select t.used_at is not null as "is_used!", t.seed, c.id as "successor?",
                  coalesce(c.used_at is not null or c.access_used_at is not null, false) as "is_successor_used!"
           from refresh_tokens t left join refresh_tokens c on c.parent_id = t.id where t.id = $1"#,
        id,
    );
    let Some(row) = query("select refresh_tokens", select.fetch_optional(db)).await? else { return Ok(None) };
    let seed = row.seed.map(|seed| Seed::try_from(seed.as_slice())).transpose();
    let seed = seed.map_err(|_| StoreError::Inconsistent("a seed of another length".to_owned()))?;
    Ok(Some(Use { is_used: row.is_used, seed, successor: row.successor, is_successor_used: row.is_successor_used }))
}

/// Records the first exchange of the token.
pub(crate) async fn set_used(db: impl PgExecutor<'_>, id: Uuid, seed: &Seed, now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!("update refresh_tokens set used_at = $2, seed = $3 where id = $1", id, now, seed.as_slice());
    query("update refresh_tokens", update.execute(db)).await?;
    Ok(())
}

/// Commits an exchange. It has a name of its own, so that a fault run can end the process right before and right after it.
pub(crate) async fn commit(tx: Tx) -> Result<(), StoreError> {
    query("commit refresh_tokens", tx.commit()).await
}

/// Records the first use of the access token that came with this token. Returns whether the token exists.
pub(crate) async fn set_access_used(
    db: impl PgExecutor<'_>,
    id: Uuid,
    session: SessionId,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let update = sqlx::query!(
        "update refresh_tokens set access_used_at = coalesce(access_used_at, $3) where id = $1 and session_id = $2",
        id,
        session.0,
        now,
    );
    Ok(query("update access of refresh_tokens", update.execute(db)).await?.rows_affected() > 0)
}

/// Removes the seeds of the tokens that were used before the moment, and whose successor or its access token was used. The tokens stay until their
/// session ends, so that a replay ends it.
pub(crate) async fn forget_seeds(db: impl PgExecutor<'_>, moment: OffsetDateTime) -> Result<u64, StoreError> {
    let update = sqlx::query!(
        "update refresh_tokens set seed = null where id in (
             select t.id from refresh_tokens t join refresh_tokens c on c.parent_id = t.id
             where t.seed is not null and t.used_at < $1 and (c.used_at is not null or c.access_used_at is not null)
             for update of t skip locked)",
        moment
    );
    Ok(query("forget seeds of refresh_tokens", update.execute(db)).await?.rows_affected())
}
