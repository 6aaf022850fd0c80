//! The audit log. The database refuses every statement that changes or deletes a row.

use chassis::postgres::query;
use proto::id::UserId;
use serde_json::Value;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::StoreError;
use crate::audit::{Event, StoredEvent};

pub(crate) async fn append(db: impl PgExecutor<'_>, event: &Event) -> Result<(), StoreError> {
    let (actor_kind, actor_id) = event.actor.parts();
    let insert = sqlx::query!(
        "insert into audit_events (id, created_at, kind, actor_kind, actor_id, user_id, network, trace_id, details)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        event.id,
        event.created_at,
        event.kind.name(),
        actor_kind,
        actor_id,
        event.user.map(|user| user.0),
        event.network,
        event.trace_id,
        Value::Object(event.details.clone()),
    );
    query("insert audit_events", insert.execute(db)).await?;
    Ok(())
}

/// A place in the log: the time and the id of an event.
pub(crate) type Position = (OffsetDateTime, Uuid);

/// The events about an account after a place and before a time, in the order of their time.
pub(crate) async fn page_of(
    db: impl PgExecutor<'_>,
    user: UserId,
    after: Position,
    until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<StoredEvent>, StoreError> {
    let select = sqlx::query_as!(
        StoredEvent,
        "select id, created_at, kind, actor_kind, actor_id, user_id, network, trace_id, details from audit_events
         where user_id = $1 and (created_at, id) > ($2, $3) and created_at < $4 order by created_at, id limit $5",
        user.0,
        after.0,
        after.1,
        until,
        limit,
    );
    query("list audit_events of account", select.fetch_all(db)).await
}

/// The events after a place and before a time, in the order of their time.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    after: Position,
    until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<StoredEvent>, StoreError> {
    let select = sqlx::query_as!(
        StoredEvent,
        "select id, created_at, kind, actor_kind, actor_id, user_id, network, trace_id, details from audit_events
         where (created_at, id) > ($1, $2) and created_at < $3 order by created_at, id limit $4",
        after.0,
        after.1,
        until,
        limit,
    );
    query("list audit_events", select.fetch_all(db)).await
}
