//! What API keys have besides their sessions.

use chassis::postgres::query;
use proto::id::{SessionId, UserId};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::StoreError;
use crate::session::Key;

/// Adds the key of a session.
pub(crate) async fn insert(db: impl PgExecutor<'_>, id: SessionId, token_hash: &[u8; 32], key: &Key) -> Result<(), StoreError> {
    let projects: Option<Vec<Uuid>> = key.grant.projects.as_ref().map(|projects| projects.iter().map(|id| id.0).collect());
    let insert = sqlx::query!(
        "insert into api_keys (session_id, token_hash, last_four, can_write, projects) values ($1, $2, $3, $4, $5)",
        id.0,
        token_hash.as_slice(),
        key.last_four,
        key.grant.can_write,
        projects.as_deref(),
    );
    query("insert api_keys", insert.execute(db)).await?;
    Ok(())
}

/// Deletes a key of this account with its session. Returns whether there was one.
pub(crate) async fn delete(db: impl PgExecutor<'_>, user: UserId, id: SessionId) -> Result<bool, StoreError> {
    let delete =
        sqlx::query!("delete from sessions s using api_keys k where s.id = $1 and s.user_id = $2 and k.session_id = s.id", id.0, user.0,);
    Ok(query("delete api_keys", delete.execute(db)).await?.rows_affected() > 0)
}
