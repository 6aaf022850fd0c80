//! The log of deleted accounts, which the services that keep data of people follow.

use chassis::{identity::Caller, postgres::query};
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::deletion::Deletion;

/// Deletes an account with all that refers to it. Returns false if there is none.
pub(crate) async fn delete_user(db: impl PgExecutor<'_>, id: UserId) -> Result<bool, StoreError> {
    let delete = sqlx::query!("delete from users where id = $1", id.0);
    Ok(query("delete account", delete.execute(db)).await?.rows_affected() == 1)
}

/// Adds an entry that each of some followers has to acknowledge. The entry of an account takes the place of one that is only about its keys.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    (user, only_keys): (UserId, bool),
    followers: &[Caller],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let followers: Vec<String> = followers.iter().map(|follower| follower.name().to_owned()).collect();
    let insert = sqlx::query!(
        "insert into account_deletions (user_id, created_at, waiting_for, only_keys) values ($1, $2, $3, $4)
         on conflict on constraint account_deletions_user_id_key do update
         set created_at = excluded.created_at, waiting_for = excluded.waiting_for, only_keys = excluded.only_keys",
        user.0,
        now,
        &followers,
        only_keys,
    );
    query("insert account deletion", insert.execute(db)).await?;
    Ok(())
}

struct Row {
    id: i64,
    user_id: Uuid,
    created_at: OffsetDateTime,
    only_keys: bool,
}

/// The entries after an id that a service has not acknowledged, by id.
pub(crate) async fn waiting(db: impl PgExecutor<'_>, follower: Caller, after: i64, limit: i64) -> Result<Vec<Deletion>, StoreError> {
    let select = sqlx::query_as!(
        Row,
        "select id, user_id, created_at, only_keys from account_deletions where id > $1 and $2 = any(waiting_for) order by id limit $3",
        after,
        follower.name(),
        limit,
    );
    let rows = query("list account deletions", select.fetch_all(db)).await?;
    let deletion = |row: Row| Deletion { id: row.id, user: UserId(row.user_id), created_at: row.created_at, only_keys: row.only_keys };
    Ok(rows.into_iter().map(deletion).collect())
}

/// Stores that a service has acknowledged entries from before a time, unless it is the last service of an entry.
pub(crate) async fn acknowledge(db: impl PgExecutor<'_>, follower: Caller, ids: &[i64], before: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!(
        "update account_deletions d set waiting_for = array_remove(d.waiting_for, $1)
         from (select id from account_deletions where id = any($2) and created_at < $3 and $1 = any(waiting_for) order by id for update) e
         where d.id = e.id and array_remove(d.waiting_for, $1) <> '{}'",
        follower.name(),
        ids,
        before,
    );
    query("acknowledge account deletions", update.execute(db)).await?;
    Ok(())
}

/// Deletes the entries from before a time that only this service has not acknowledged. Returns the accounts that were deleted.
pub(crate) async fn finish(
    db: impl PgExecutor<'_>,
    follower: Caller,
    ids: &[i64],
    before: OffsetDateTime,
) -> Result<Vec<UserId>, StoreError> {
    let delete = sqlx::query!(
        "delete from account_deletions where id = any($2) and created_at < $3 and waiting_for = array[$1::text] returning user_id, only_keys",
        follower.name(),
        ids,
        before,
    );
    let rows = query("finish account deletions", delete.fetch_all(db)).await?;
    Ok(rows.into_iter().filter(|row| !row.only_keys).map(|row| UserId(row.user_id)).collect())
}
