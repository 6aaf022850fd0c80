//! Sessions of browsers and programs. The row of a session is deleted when it ends.

use chassis::{identity::Grant, postgres::query};
use proto::id::{ProjectId, SessionId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, users::plan_named};
use crate::{
    origin::Origin,
    session::{Key, Kind, Session},
    user::User,
};

/// Sessions with their accounts, from the tables and by the condition of a text: `s`, `u` and `k` are sessions, users and API keys.
macro_rules! select_sessions {
    ($from:tt, $($value:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"select u.id as user_id, u.email, u.display_name, u.plan, u.created_at as user_created_at, s.id, s.kind,
                s.display_name as session_name, s.device, s.network, s.created_at, s.last_used_at, s.expires_at, s.impersonator,
                coalesce(s.authenticated_at, s.created_at) as "authenticated_at!", s.amr,
                k.last_four as "last_four?", k.can_write as "can_write?", k.projects "# + $from,
            $($value),+
        )
    };
}

/// A session that was deleted.
pub(crate) struct EndedSession {
    pub(crate) id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) impersonator: Option<String>,
}

/// Without a hash it is the session of a program. Returns false if the account is disabled. The lock of its row lets a change that disables it wait,
/// so that it finds this session.
pub(crate) async fn insert(db: impl PgExecutor<'_>, session: &Session, token_hash: Option<&[u8; 32]>) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "insert into sessions (id, user_id, token_hash, kind, display_name, device, network, created_at, last_used_at, expires_at, impersonator,
                               authenticated_at, amr)
         select $1, u.id, $3, $4, $5, $6, $7, $8::timestamptz, $9::timestamptz, $10::timestamptz, $11, $12::timestamptz, $13 from users u
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
        session.authenticated_at,
        &session.amr,
    );
    Ok(query("insert sessions", insert.execute(db)).await?.rows_affected() > 0)
}

pub(crate) async fn by_token(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<(User, Session)>, StoreError> {
    let select = select_sessions!(
        "from sessions s join users u on u.id = s.user_id left join api_keys k on k.session_id = s.id where s.token_hash = $1 and u.disabled_at is null",
        token_hash.as_slice()
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

/// The account and the session of an API key. If the owner of a service account is disabled, its keys are unknown.
pub(crate) async fn by_key(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<(User, Session)>, StoreError> {
    let select = select_sessions!(
        "from api_keys k join sessions s on s.id = k.session_id join users u on u.id = s.user_id where k.token_hash = $1 and u.disabled_at is null
         and not exists (select from users o where o.id = u.owner_id and o.disabled_at is not null)",
        token_hash.as_slice()
    );
    query("select api_keys", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

pub(crate) async fn by_id(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<(User, Session)>, StoreError> {
    let select = select_sessions!(
        "from sessions s join users u on u.id = s.user_id left join api_keys k on k.session_id = s.id where s.id = $1 and u.disabled_at is null",
        id.0
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

/// The same, and nobody else changes the session before the transaction ends.
pub(crate) async fn lock(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<(User, Session)>, StoreError> {
    let select = select_sessions!(
        "from sessions s join users u on u.id = s.user_id left join api_keys k on k.session_id = s.id where s.id = $1 and u.disabled_at is null for update of s",
        id.0
    );
    query("select sessions", select.fetch_optional(db)).await?.map(Row::split).transpose()
}

/// The sessions of an account whose latest end is not reached, the most recently used first.
pub(crate) async fn of_user(db: impl PgExecutor<'_>, user: UserId, now: OffsetDateTime, limit: i64) -> Result<Vec<Session>, StoreError> {
    let select = select_sessions!(
        "from sessions s join users u on u.id = s.user_id left join api_keys k on k.session_id = s.id where s.user_id = $1 and s.expires_at > $2 order by s.last_used_at desc, s.id desc limit $3",
        user.0,
        now,
        limit
    );
    let rows = query("list sessions", select.fetch_all(db)).await?;
    // A kind of a later release is left out.
    let known = rows.into_iter().filter(|row| Kind::named(&row.kind, row.last_four.is_some()).is_some());
    known.map(|row| Ok(row.split()?.1)).collect()
}

/// The sessions of the API keys of an account whose latest end is not reached, the most recently used first.
pub(crate) async fn of_keys(db: impl PgExecutor<'_>, user: UserId, now: OffsetDateTime) -> Result<Vec<Session>, StoreError> {
    let select = select_sessions!(
        "from api_keys k join sessions s on s.id = k.session_id join users u on u.id = s.user_id where s.user_id = $1 and s.expires_at > $2 order by s.last_used_at desc, s.id desc",
        user.0,
        now
    );
    query("list api_keys", select.fetch_all(db)).await?.into_iter().map(|row| Ok(row.split()?.1)).collect()
}

/// How many sessions of a kind the account has that were used after `used_after`.
pub(crate) async fn count(db: impl PgExecutor<'_>, user: UserId, kind: Kind, used_after: OffsetDateTime) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from sessions s where user_id = $1 and kind = $2 and last_used_at > $3
             and $4 = exists (select from api_keys k where k.session_id = s.id)"#,
        user.0,
        kind.name(),
        used_after,
        kind == Kind::ApiKey,
    );
    query("count sessions", count.fetch_one(db)).await
}

/// Records a use. The time never moves backwards, because the clocks of replicas differ.
pub(crate) async fn touch(db: impl PgExecutor<'_>, id: SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!("update sessions set last_used_at = $2 where id = $1 and last_used_at < $2", id.0, now);
    query("update sessions", update.execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete_by_token(db: impl PgExecutor<'_>, token_hash: &[u8; 32]) -> Result<Option<EndedSession>, StoreError> {
    let delete = sqlx::query!("delete from sessions where token_hash = $1 returning id, user_id, impersonator", token_hash.as_slice());
    let row = query("delete sessions", delete.fetch_optional(db)).await?;
    Ok(row.map(|row| EndedSession { id: SessionId(row.id), user_id: UserId(row.user_id), impersonator: row.impersonator }))
}

pub(crate) async fn delete_by_id(db: impl PgExecutor<'_>, id: SessionId) -> Result<Option<EndedSession>, StoreError> {
    let delete = sqlx::query!("delete from sessions where id = $1 returning id, user_id, impersonator", id.0);
    let row = query("delete sessions", delete.fetch_optional(db)).await?;
    Ok(row.map(|row| EndedSession { id: SessionId(row.id), user_id: UserId(row.user_id), impersonator: row.impersonator }))
}

/// Deletes a session of this account.
pub(crate) async fn delete_of_user(db: impl PgExecutor<'_>, user: UserId, id: SessionId) -> Result<Option<SessionId>, StoreError> {
    let delete = sqlx::query_scalar!("delete from sessions where id = $1 and user_id = $2 returning id", id.0, user.0);
    Ok(query("delete sessions", delete.fetch_optional(db)).await?.map(SessionId))
}

/// Deletes all sessions of an account, except one. A device that has an approval and no session yet gets none any more, and a sign-in that waits
/// for its second step gets none either.
pub(crate) async fn delete_all_of_user(
    db: impl PgExecutor<'_>,
    user: UserId,
    except: Option<SessionId>,
) -> Result<Vec<SessionId>, StoreError> {
    let except = except.map(|id| id.0);
    let delete = sqlx::query_scalar!(
        "with devices as (delete from device_sign_ins where user_id = $1),
              pending as (delete from pending_sign_ins where user_id = $1)
         delete from sessions where user_id = $1 and id is distinct from $2 returning id",
        user.0,
        except,
    );
    Ok(query("delete sessions", delete.fetch_all(db)).await?.into_iter().map(SessionId).collect())
}

/// Forgets what the sessions of an account have proved.
pub(crate) async fn forget_proofs(db: impl PgExecutor<'_>, user: UserId) -> Result<(), StoreError> {
    let update = sqlx::query!("update sessions set authenticated_at = 'epoch', amr = '{}' where user_id = $1", user.0);
    query("update sessions", update.execute(db)).await?;
    Ok(())
}

/// Deletes the rows past their latest end. A row that another transaction has locked is left for the next time.
pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<SessionId>, StoreError> {
    let delete = sqlx::query_scalar!(
        "delete from sessions where id in (select id from sessions where expires_at <= $1 for update skip locked) returning id",
        now
    );
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
    authenticated_at: OffsetDateTime,
    amr: Vec<String>,
    last_four: Option<String>,
    can_write: Option<bool>,
    projects: Option<Vec<Uuid>>,
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
        let projects = self.projects.map(|projects| projects.into_iter().map(ProjectId).collect());
        let key = self.last_four.zip(self.can_write);
        let key = key.map(|(last_four, can_write)| Key { grant: Grant { can_write, projects }, last_four });
        let session = Session {
            id: SessionId(self.id),
            user_id,
            kind: Kind::named(&self.kind, key.is_some())
                .ok_or_else(|| StoreError::Inconsistent(format!("a kind of session that this version does not know: {}", self.kind)))?,
            display_name: self.session_name,
            origin: Origin { device: self.device, network: self.network },
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            expires_at: self.expires_at,
            impersonator: self.impersonator,
            authenticated_at: self.authenticated_at,
            amr: self.amr,
            key,
        };
        Ok((user, session))
    }
}
