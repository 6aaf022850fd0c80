//! Browser sessions. The row of a session is deleted when it ends.

use chassis::postgres::query;
use proto::id::{SessionId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, users::plan_named};
use crate::{session::Session, user::User};

pub(crate) async fn insert(db: impl PgExecutor<'_>, session: &Session, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    let insert = sqlx::query!(
        "insert into sessions (id, user_id, token_hash, created_at, last_used_at, expires_at) values ($1, $2, $3, $4, $5, $6)",
        session.id.0,
        session.user_id.0,
        token_hash.as_slice(),
        session.created_at,
        session.last_used_at,
        session.expires_at,
    );
    query("insert sessions", insert.execute(db)).await?;
    Ok(())
}

pub(crate) async fn by_token(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<(User, Session)>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select u.id as user_id, u.email, u.display_name, u.plan, u.created_at as user_created_at,
                s.id, s.created_at, s.last_used_at, s.expires_at
         from sessions s join users u on u.id = s.user_id where s.token_hash = $1",
        token_hash.as_slice(),
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

pub(crate) async fn by_id(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<(User, Session)>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select u.id as user_id, u.email, u.display_name, u.plan, u.created_at as user_created_at,
                s.id, s.created_at, s.last_used_at, s.expires_at
         from sessions s join users u on u.id = s.user_id where s.id = $1",
        id.0,
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

/// Records a use. The time never moves backwards, because the clocks of replicas differ.
pub(crate) async fn touch(db: impl PgExecutor<'_>, id: SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!("update sessions set last_used_at = $2 where id = $1 and last_used_at < $2", id.0, now);
    query("update sessions", update.execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete_by_token(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<SessionId>, StoreError> {
    let delete = sqlx::query_scalar!("delete from sessions where token_hash = $1 returning id", token_hash.as_slice());
    Ok(query("delete sessions", delete.fetch_optional(db)).await?.map(SessionId))
}

pub(crate) async fn delete_by_id(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<SessionId>, StoreError> {
    let delete = sqlx::query_scalar!("delete from sessions where id = $1 returning id", id.0);
    Ok(query("delete sessions", delete.fetch_optional(db)).await?.map(SessionId))
}

/// Deletes the rows past their latest end. An idle session is deleted then, too.
pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!("delete from sessions where expires_at <= $1", now);
    Ok(query("delete sessions", delete.execute(db)).await?.rows_affected())
}

struct Row {
    user_id: Uuid,
    email: String,
    display_name: String,
    plan: String,
    user_created_at: OffsetDateTime,
    id: Uuid,
    created_at: OffsetDateTime,
    last_used_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

impl Row {
    fn split(self) -> Result<(User, Session), StoreError> {
        let user_id = UserId(self.user_id);
        let user = User {
            id: user_id,
            email: self.email,
            display_name: self.display_name,
            plan: plan_named(&self.plan)?,
            created_at: self.user_created_at,
        };
        let session = Session {
            id: SessionId(self.id),
            user_id,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            expires_at: self.expires_at,
        };
        Ok((user, session))
    }
}
