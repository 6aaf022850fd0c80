//! Sign-ins that are in progress at a provider, by the hashes of their secrets.

use chassis::postgres::query;
use proto::id::SessionId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;
use crate::provider::flow::Flow;

/// Returns false if the session has ended.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    state_hash: &[u8; 32],
    flow: &Flow,
    expires_at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "insert into provider_flows (state_hash, browser_hash, provider, session_id, return_to, invite_hash, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        state_hash.as_slice(),
        flow.browser_hash,
        flow.provider,
        flow.session_id.map(|id| id.0),
        flow.return_to,
        flow.invite_hash,
        expires_at,
    );
    match query("insert provider_flows", insert.execute(db)).await {
        Err(e) if e.violates_reference("provider_flows_session_id_fkey") => Ok(false),
        done => done.map(|_| true),
    }
}

/// Uses a state. Of any number of concurrent uses one gets the flow.
pub(crate) async fn take(db: impl PgExecutor<'_>, state_hash: &[u8; 32], now: OffsetDateTime) -> Result<Option<Flow>, StoreError> {
    let delete = sqlx::query!(
        r#"delete from provider_flows where state_hash = $1
           returning browser_hash, provider, session_id, return_to, invite_hash, expires_at > $2 as "is_live!""#,
        state_hash.as_slice(),
        now,
    );
    let row = query("take provider_flows", delete.fetch_optional(db)).await?;
    Ok(row.filter(|row| row.is_live).map(|row| Flow {
        browser_hash: row.browser_hash,
        provider: row.provider,
        session_id: row.session_id.map(SessionId),
        return_to: row.return_to,
        invite_hash: row.invite_hash,
    }))
}

pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from provider_flows where state_hash in (select state_hash from provider_flows where expires_at <= $1 for update skip locked)",
        now
    );
    Ok(query("delete expired provider_flows", delete.execute(db)).await?.rows_affected())
}
