//! Exchanges with authenticators that are in progress, by the hashes of their tokens.

use chassis::postgres::query;
use proto::id::SessionId;
use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::StoreError;
use crate::ceremony::{Ceremony, Purpose, Starter};

/// The foreign keys of the session and of the sign-in.
const STARTERS: [&str; 2] = ["passkey_ceremonies_session_id_fkey", "passkey_ceremonies_sign_in_hash_fkey"];

/// Returns false if the session or the sign-in has ended.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    token_hash: &[u8; 32],
    ceremony: &Ceremony,
    expires_at: OffsetDateTime,
) -> Result<bool, StoreError> {
    let (session_id, sign_in_hash) = match &ceremony.starter {
        Starter::Nothing => (None, None),
        Starter::Session(id) => (Some(id.0), None),
        Starter::SignIn(hash) => (None, Some(hash.as_slice())),
    };
    let insert = sqlx::query!(
        "insert into passkey_ceremonies (token_hash, purpose, state, session_id, sign_in_hash, expires_at)
         select $1, $2, $3, $4::uuid, $5::bytea, $6::timestamptz
         where ($4::uuid is null or exists (select from sessions where id = $4))
           and ($5::bytea is null or exists (select from pending_sign_ins where token_hash = $5))",
        token_hash.as_slice(),
        ceremony.purpose.name(),
        ceremony.state,
        session_id,
        sign_in_hash,
        expires_at,
    );
    match query("insert passkey_ceremonies", insert.execute(db)).await {
        // It ends at this moment.
        Err(e) if STARTERS.iter().any(|key| e.violates_reference(key)) => Ok(false),
        done => Ok(done?.rows_affected() == 1),
    }
}

/// Uses a token. Of any number of concurrent uses one gets the state. `None` also if it has expired, or if only a later release knows its
/// purpose.
pub(crate) async fn take(db: impl PgExecutor<'_>, token_hash: &[u8; 32], now: OffsetDateTime) -> Result<Option<Ceremony>, StoreError> {
    let delete = sqlx::query!(
        r#"delete from passkey_ceremonies where token_hash = $1
           returning purpose, state, session_id, sign_in_hash, expires_at > $2 as "is_live!""#,
        token_hash.as_slice(),
        now,
    );
    let row = query("take passkey_ceremonies", delete.fetch_optional(db)).await?;
    Ok(row.filter(|row| row.is_live).and_then(|row| {
        let starter = match (row.session_id, row.sign_in_hash) {
            (Some(id), _) => Starter::Session(SessionId(id)),
            (None, Some(hash)) => Starter::SignIn(hash.try_into().ok()?),
            (None, None) => Starter::Nothing,
        };
        Some(Ceremony { purpose: Purpose::named(&row.purpose)?, starter, state: row.state })
    }))
}

pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from passkey_ceremonies where token_hash in
             (select token_hash from passkey_ceremonies where expires_at <= $1 for update skip locked)",
        now
    );
    Ok(query("delete expired passkey_ceremonies", delete.execute(db)).await?.rows_affected())
}
