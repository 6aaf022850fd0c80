//! Secrets of second factors that another cluster secret has sealed.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::StoreError;

/// A page after an id of the secrets that do not begin with `head`, sorted by id: each with its id, its account and its sealed value.
pub(crate) async fn otherwise(
    db: impl PgExecutor<'_>,
    head: &[u8],
    after: Uuid,
    limit: i64,
) -> Result<Vec<(Uuid, UserId, Vec<u8>)>, StoreError> {
    let select = sqlx::query!(
        "select id, user_id, sealed_secret from totp_secrets
         where id > $2 and substring(sealed_secret from 1 for octet_length($1::bytea)) <> $1::bytea order by id limit $3",
        head,
        after,
        limit,
    );
    let rows = query("select totp_secrets to seal", select.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| (row.id, UserId(row.user_id), row.sealed_secret)).collect())
}

/// Replaces a sealed secret, unless it was changed in the meantime.
pub(crate) async fn replace(db: impl PgExecutor<'_>, id: Uuid, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
    let update = sqlx::query!("update totp_secrets set sealed_secret = $3 where id = $1 and sealed_secret = $2", id, old, new);
    query("seal totp_secrets again", update.execute(db)).await?;
    Ok(())
}
