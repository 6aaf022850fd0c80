//! Service accounts of persons.

use chassis::postgres::query;
use proto::{
    auth::Plan,
    id::{SessionId, UserId},
};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::user::ServiceAccount;

/// Adds a service account. The keys of its address are texts that no address has.
pub(crate) async fn insert(db: impl PgExecutor<'_>, owner: UserId, account: &ServiceAccount, plan: Plan) -> Result<(), StoreError> {
    let key = format!("SERVICE {}", account.id);
    let insert = sqlx::query!(
        "insert into users (id, email, email_key, email_identity, display_name, plan, created_at, owner_id)
         values ($1, '', $2, $2, $3, $4, $5, $6)",
        account.id.0,
        key,
        account.display_name,
        plan.name(),
        account.created_at,
        owner.0,
    );
    query("insert service account", insert.execute(db)).await?;
    Ok(())
}

/// How many service accounts a person has.
pub(crate) async fn count(db: impl PgExecutor<'_>, owner: UserId) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from users where owner_id = $1"#, owner.0);
    query("count service accounts", count.fetch_one(db)).await
}

/// The service accounts of a person in the order of their creation.
pub(crate) async fn of_owner(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<ServiceAccount>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select id, display_name, created_at, disabled_at from users where owner_id = $1 order by created_at, id",
        owner.0
    );
    Ok(query("list service accounts", select.fetch_all(db)).await?.into_iter().map(Row::account).collect())
}

/// A service account of this person.
pub(crate) async fn find(db: impl PgExecutor<'_>, owner: UserId, id: UserId) -> Result<Option<ServiceAccount>, StoreError> {
    let select =
        sqlx::query_as!(Row, "select id, display_name, created_at, disabled_at from users where id = $1 and owner_id = $2", id.0, owner.0);
    Ok(query("select service account", select.fetch_optional(db)).await?.map(Row::account))
}

/// The account that has keys: the person's, or a service account of the person. `None` if there is no such service account.
pub(crate) async fn holder(db: impl PgExecutor<'_>, person: UserId, service_account: Option<UserId>) -> Result<Option<UserId>, StoreError> {
    let Some(id) = service_account else { return Ok(Some(person)) };
    Ok(find(db, person, id).await?.map(|account| account.id))
}

/// Renames a service account of this person, and returns it.
pub(crate) async fn rename(db: impl PgExecutor<'_>, owner: UserId, id: UserId, name: &str) -> Result<Option<ServiceAccount>, StoreError> {
    let update = sqlx::query_as!(
        Row,
        "update users set display_name = $3 where id = $1 and owner_id = $2 returning id, display_name, created_at, disabled_at",
        id.0,
        owner.0,
        name,
    );
    Ok(query("rename service account", update.fetch_optional(db)).await?.map(Row::account))
}

/// The ids of the service accounts of a person. Nobody else changes them before the transaction ends.
pub(crate) async fn lock(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<UserId>, StoreError> {
    let select = sqlx::query_scalar!("select id from users where owner_id = $1 order by id for update", owner.0);
    Ok(query("lock service accounts", select.fetch_all(db)).await?.into_iter().map(UserId).collect())
}

/// Deletes the keys of all service accounts of a person.
pub(crate) async fn delete_sessions(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<SessionId>, StoreError> {
    let delete =
        sqlx::query_scalar!("delete from sessions s using users u where s.user_id = u.id and u.owner_id = $1 returning s.id", owner.0);
    Ok(query("delete sessions of service accounts", delete.fetch_all(db)).await?.into_iter().map(SessionId).collect())
}

struct Row {
    id: Uuid,
    display_name: String,
    created_at: OffsetDateTime,
    disabled_at: Option<OffsetDateTime>,
}

impl Row {
    fn account(self) -> ServiceAccount {
        let Self { id, display_name, created_at, disabled_at } = self;
        ServiceAccount { id: UserId(id), display_name, created_at, disabled_at }
    }
}
