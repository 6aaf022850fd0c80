//! Sessions of browsers and programs. The row of a session is deleted when it ends.

use chassis::postgres::query;
use proto::id::{SessionId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, users::plan_named};
use crate::{
    origin::Origin,
    session::{Kind, Session},
    user::User,
};

/// A session that was deleted.
pub(crate) struct Ended {
    pub(crate) id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) impersonator: Option<String>,
}

/// Without a hash it is the session of a program. Returns false if the account is disabled. The lock of its row lets a change that disables it wait,
/// so that it finds this session.
pub(crate) async fn insert(db: impl PgExecutor<'_>, session: &Session, token_hash: Option<&[u8; 32]>) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "insert into sessions (id, user_id, token_hash, kind, display_name, device, network, created_at, last_used_at, expires_at, impersonator)
         select $1, u.id, $3, $4, $5, $6, $7, $8::timestamptz, $9::timestamptz, $10::timestamptz, $11 from users u
         where u.id = $2 and u.disabled_at is null for share of u",
        session.id.0,
        session.user_id.0,
        token_hash.map(<[u8; 32]>::as_slice),
        session.kind.name(),
        session.display_name,
        session.origin.device,
        session.origin.network,
        session.created_at,
        session.last_used_at,
        session.expires_at,
        session.impersonator,
    );
    Ok(query("insert sessions", insert.execute(db)).await?.rows_affected() > 0)
}

pub(crate) async fn by_token(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<(User, Session)>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select u.id as user_id, u.email, u.display_name, u.plan, u.created_at as user_created_at, s.id, s.kind,
                s.display_name as session_name, s.device, s.network, s.created_at, s.last_used_at, s.expires_at, s.impersonator
         from sessions s join users u on u.id = s.user_id where s.token_hash = $1 and u.disabled_at is null",
        token_hash.as_slice(),
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

pub(crate) async fn by_id(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<(User, Session)>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select u.id as user_id, u.email, u.display_name, u.plan, u.created_at as user_created_at, s.id, s.kind,
                s.display_name as session_name, s.device, s.network, s.created_at, s.last_used_at, s.expires_at, s.impersonator
         from sessions s join users u on u.id = s.user_id where s.id = $1 and u.disabled_at is null",
        id.0,
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

/// The same, and nobody else changes the session before the transaction ends.
pub(crate) async fn lock(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<(User, Session)>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select u.id as user_id, u.email, u.display_name, u.plan, u.created_at as user_created_at, s.id, s.kind,
                s.display_name as session_name, s.device, s.network, s.created_at, s.last_used_at, s.expires_at, s.impersonator
         from sessions s join users u on u.id = s.user_id where s.id = $1 and u.disabled_at is null for update of s",
        id.0,
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

/// The sessions of an account whose latest end is not reached, the most recently used first.
pub(crate) async fn of_user(db: impl PgExecutor<'_>, user: UserId, now: OffsetDateTime, limit: i64) -> Result<Vec<Session>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select u.id as user_id, u.email, u.display_name, u.plan, u.created_at as user_created_at, s.id, s.kind,
                s.display_name as session_name, s.device, s.network, s.created_at, s.last_used_at, s.expires_at, s.impersonator
         from sessions s join users u on u.id = s.user_id where s.user_id = $1 and s.expires_at > $2
         order by s.last_used_at desc, s.id desc limit $3",
        user.0,
        now,
        limit,
    );
    let rows = query("list sessions", select.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok(row.split()?.1)).collect()
}

/// How many sessions of a kind the account has that were used after `used_after`.
pub(crate) async fn count(db: impl PgExecutor<'_>, user: UserId, kind: Kind, used_after: OffsetDateTime) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sessions where user_id = $1 and kind = $2 and last_used_at > $3"#,
        user.0,
        kind.name(),
        used_after,
    );
    query("count sessions", count.fetch_one(db)).await
}

/// Records a use. The time never moves backwards, because the clocks of replicas differ.
pub(crate) async fn touch(db: impl PgExecutor<'_>, id: SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!("update sessions set last_used_at = $2 where id = $1 and last_used_at < $2", id.0, now);
    query("update sessions", update.execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete_by_token(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<Ended>, StoreError> {
    let delete = sqlx::query!("delete from sessions where token_hash = $1 returning id, user_id, impersonator", token_hash.as_slice());
    let row = query("delete sessions", delete.fetch_optional(db)).await?;
    Ok(row.map(|row| Ended { id: SessionId(row.id), user_id: UserId(row.user_id), impersonator: row.impersonator }))
}

pub(crate) async fn delete_by_id(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<Ended>, StoreError> {
    let delete = sqlx::query!("delete from sessions where id = $1 returning id, user_id, impersonator", id.0);
    let row = query("delete sessions", delete.fetch_optional(db)).await?;
    Ok(row.map(|row| Ended { id: SessionId(row.id), user_id: UserId(row.user_id), impersonator: row.impersonator }))
}

/// Deletes a session of this account.
pub(crate) async fn delete_of_user(db: impl PgExecutor<'_>, user: UserId, id: SessionId) -> Result<Option<SessionId>, StoreError> {
    let delete = sqlx::query_scalar!("delete from sessions where id = $1 and user_id = $2 returning id", id.0, user.0);
    Ok(query("delete sessions", delete.fetch_optional(db)).await?.map(SessionId))
}

/// Deletes all sessions of an account, except one.
pub(crate) async fn delete_all_of_user(
    db: impl PgExecutor<'_>,
    user: UserId,
    except: Option<SessionId>,
) -> Result<Vec<SessionId>, StoreError> {
    let except = except.map(|id| id.0);
    let delete = sqlx::query_scalar!("delete from sessions where user_id = $1 and id is distinct from $2 returning id", user.0, except);
    Ok(query("delete sessions", delete.fetch_all(db)).await?.into_iter().map(SessionId).collect())
}

/// Deletes the rows past their latest end.
pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<SessionId>, StoreError> {
    let delete = sqlx::query_scalar!("delete from sessions where expires_at <= $1 returning id", now);
    Ok(query("delete sessions", delete.fetch_all(db)).await?.into_iter().map(SessionId).collect())
}

struct Row {
    user_id: Uuid,
    email: String,
    display_name: String,
    plan: String,
    user_created_at: OffsetDateTime,
    id: Uuid,
    kind: String,
    session_name: String,
    device: String,
    network: String,
    created_at: OffsetDateTime,
    last_used_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    impersonator: Option<String>,
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
            kind: Kind::named(&self.kind)
                .ok_or_else(|| StoreError::Inconsistent(format!("a kind of session that this version does not know: {}", self.kind)))?,
            display_name: self.session_name,
            origin: Origin { device: self.device, network: self.network },
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            expires_at: self.expires_at,
            impersonator: self.impersonator,
        };
        Ok((user, session))
    }
}
