//! Sign-ins of devices that wait for a decision or for their program.

use chassis::postgres::query;
use proto::id::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, users::plan_named};
use crate::user::User;

/// A sign-in that nobody has decided about.
pub(crate) struct WaitingSignIn {
    pub(crate) client_name: String,
    pub(crate) network: String,
    pub(crate) created_at: OffsetDateTime,
}

/// A sign-in as its program sees it.
pub(crate) struct FoundSignIn {
    pub(crate) id: Uuid,
    pub(crate) client_name: String,
    /// Who decided, and whether they approved.
    pub(crate) decision: Option<(User, bool)>,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) polled_at: Option<OffsetDateTime>,
    /// Seconds between two questions.
    pub(crate) wait: i32,
}

/// Adds a sign-in whose program waits for some seconds between two questions. Returns false if another one has one of its codes.
pub(crate) async fn insert(
    db: impl PgExecutor<'_>,
    (device, user): ([u8; 32], [u8; 32]),
    (client_name, network): (&str, &str),
    (now, expires_at): (OffsetDateTime, OffsetDateTime),
    wait: i32,
) -> Result<bool, StoreError> {
    let insert = sqlx::query!(
        "insert into device_sign_ins (id, device_hash, user_hash, client_name, network, created_at, expires_at, wait)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        Uuid::now_v7(),
        device.as_slice(),
        user.as_slice(),
        client_name,
        network,
        now,
        expires_at,
        wait,
    );
    Ok(query("insert device_sign_ins", insert.execute(db)).await?.rows_affected() > 0)
}

/// The sign-in with this user code, if nobody has decided about it.
pub(crate) async fn waiting(
    db: impl PgExecutor<'_>,
    user_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<WaitingSignIn>, StoreError> {
    let select = sqlx::query_as!(
        WaitingSignIn,
        "select client_name, network, created_at from device_sign_ins where user_hash = $1 and is_approved is null and expires_at > $2",
        user_hash.as_slice(),
        now,
    );
    query("select device_sign_ins", select.fetch_optional(db)).await
}

/// Records a decision. Returns the id of the sign-in; `None` if there is none to decide about.
pub(crate) async fn decide(
    db: impl PgExecutor<'_>,
    user_hash: &[u8; 32],
    (user, approve): (UserId, bool),
    now: OffsetDateTime,
) -> Result<Option<Uuid>, StoreError> {
    let update = sqlx::query_scalar!(
        "update device_sign_ins set user_id = $2, is_approved = $3
         where user_hash = $1 and is_approved is null and expires_at > $4 returning id",
        user_hash.as_slice(),
        user.0,
        approve,
        now,
    );
    query("update device_sign_ins", update.fetch_optional(db)).await
}

/// Who has decided about the sign-in with this device code.
pub(crate) async fn decided_by(db: impl PgExecutor<'_>, device_hash: &[u8; 32]) -> Result<Option<UserId>, StoreError> {
    let select = sqlx::query_scalar!("select user_id from device_sign_ins where device_hash = $1", device_hash.as_slice());
    Ok(query("select device_sign_ins", select.fetch_optional(db)).await?.flatten().map(UserId))
}

/// The sign-in with this device code, which may have expired. Nobody else uses it before the transaction ends.
pub(crate) async fn lock(db: impl PgExecutor<'_>, device_hash: &[u8; 32]) -> Result<Option<FoundSignIn>, StoreError> {
    let select = sqlx::query!(
        r#"select d.id, d.client_name, d.is_approved, d.expires_at, d.polled_at, d.wait, u.id as "user_id?", u.email as "email?",
                  u.display_name as "display_name?", u.plan as "plan?", u.created_at as "user_created_at?"
           from device_sign_ins d left join users u on u.id = d.user_id
           where d.device_hash = $1 for update of d"#,
        device_hash.as_slice(),
    );
    let Some(row) = query("select device_sign_ins", select.fetch_optional(db)).await? else { return Ok(None) };
    let user = match (row.user_id, row.email, row.display_name, row.plan, row.user_created_at) {
        (Some(id), Some(email), Some(display_name), Some(plan), Some(created_at)) => {
            Some(User { id: UserId(id), email, display_name, plan: plan_named(&plan)?, created_at })
        }
        _ => None,
    };
    let decision = user.zip(row.is_approved);
    let (id, client_name, expires_at, polled_at, wait) = (row.id, row.client_name, row.expires_at, row.polled_at, row.wait);
    Ok(Some(FoundSignIn { id, client_name, decision, expires_at, polled_at, wait }))
}

/// Records a question.
pub(crate) async fn set_polled(db: impl PgExecutor<'_>, id: Uuid, wait: i32, now: OffsetDateTime) -> Result<(), StoreError> {
    let update = sqlx::query!("update device_sign_ins set polled_at = $2, wait = $3 where id = $1", id, now, wait);
    query("update device_sign_ins", update.execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete(db: impl PgExecutor<'_>, id: Uuid) -> Result<(), StoreError> {
    query("delete device_sign_ins", sqlx::query!("delete from device_sign_ins where id = $1", id).execute(db)).await?;
    Ok(())
}

pub(crate) async fn delete_expired(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64, StoreError> {
    let delete = sqlx::query!(
        "delete from device_sign_ins where id in (select id from device_sign_ins where expires_at <= $1 for update skip locked)",
        now
    );
    Ok(query("delete expired device_sign_ins", delete.execute(db)).await?.rows_affected())
}
