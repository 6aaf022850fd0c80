//! What accounts and projects use.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;

use super::StoreError;
use crate::model::project::StoreId;

/// What an account uses of its quotas.
pub(crate) struct AccountUsage {
    /// Deleted ones included.
    pub(crate) projects: u32,
    pub(crate) deleted_projects: u32,
    pub(crate) stored_bytes: u64,
}

/// What the projects of this owner use.
pub(crate) async fn of_account(db: impl PgExecutor<'_>, owner: UserId) -> Result<AccountUsage, StoreError> {
    let select = sqlx::query!(
        r#"SELECT count(*) AS "projects!", count(*) FILTER (WHERE deleted_at IS NOT NULL) AS "deleted!",
               account_bytes($1) AS "bytes!"
           FROM projects WHERE owner_id = $1"#,
        owner.0,
    );
    let row = query("select account usage", select.fetch_one(db)).await?;
    Ok(AccountUsage {
        projects: u32::try_from(row.projects).unwrap_or(u32::MAX),
        deleted_projects: u32::try_from(row.deleted).unwrap_or(u32::MAX),
        stored_bytes: row.bytes.unsigned_abs(),
    })
}

/// The bytes of a store's objects that count for the account of an owner.
pub(crate) async fn of_store(db: impl PgExecutor<'_>, store: StoreId, owner: UserId) -> Result<u64, StoreError> {
    let select = sqlx::query_scalar!(r#"SELECT account_bytes($2, $1) AS "bytes!""#, store.0, owner.0);
    Ok(query("select store usage", select.fetch_one(db)).await?.unsigned_abs())
}
