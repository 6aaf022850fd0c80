//! Inserts and accepts turns, and reads those of a user.

use std::time::Duration;

use chassis::postgres::query;
use prost::Message as _;
use proto::{
    agent_streaming::{AgentSelected, Usage},
    id::{MessageId, ProjectId, TurnId, UserId},
    metadata::Metadata,
};
use sqlx::{PgExecutor, PgPool, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, inconsistent};
use crate::turn::{State, Turn, mode::Mode};

/// A row of `turns`.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) project_id: Option<Uuid>,
    pub(super) draft_id: Option<String>,
    pub(super) fingerprint: Vec<u8>,
    pub(super) prompt: String,
    pub(super) agent: String,
    pub(super) agent_rule: String,
    pub(super) model: String,
    pub(super) asked_revision: String,
    pub(super) reject_if_active: bool,
    pub(super) goes_first: bool,
    pub(super) client_message_id: String,
    pub(super) metadata: Json<Metadata>,
    pub(super) replaces_turn_id: Option<Uuid>,
    pub(super) follow_until: Option<OffsetDateTime>,
    pub(super) require_clean_files: bool,
    pub(super) pinned_paths: Vec<String>,
    pub(super) excluded_paths: Vec<String>,
    pub(super) mode: String,
    pub(super) plan: Option<String>,
    pub(super) tools: Option<Vec<String>>,
    pub(super) skills: Option<String>,
    pub(super) selection: Option<Vec<u8>>,
    pub(super) agent_version: Option<String>,
    pub(super) provider_key_id: Option<Uuid>,
    pub(super) state: String,
    pub(super) epoch: i64,
    pub(super) recoveries: i32,
    pub(super) base_revision: String,
    pub(super) history: Option<Vec<Uuid>>,
    pub(super) revision: String,
    pub(super) failure_reason: String,
    pub(super) last_seq: i32,
    pub(super) usage: Vec<u8>,
    pub(super) trace_id: String,
    pub(super) traceparent: String,
    pub(super) created_at: OffsetDateTime,
    pub(super) started_at: Option<OffsetDateTime>,
    pub(super) ended_at: Option<OffsetDateTime>,
}

impl TryFrom<Row> for Turn {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let selection = row.selection.map(|bytes| AgentSelected::decode(bytes.as_slice()));
        Ok(Self {
            id: TurnId(row.id),
            user_id: UserId(row.user_id),
            project_id: row.project_id.map(ProjectId),
            draft_id: row.draft_id,
            fingerprint: row.fingerprint,
            prompt: row.prompt,
            agent: row.agent,
            agent_rule: row.agent_rule,
            model: row.model,
            asked_revision: row.asked_revision,
            reject_if_active: row.reject_if_active,
            goes_first: row.goes_first,
            client_message_id: row.client_message_id,
            metadata: row.metadata.0,
            replaces: row.replaces_turn_id.map(TurnId),
            cancel_unfollowed: row.follow_until.is_some(),
            require_clean_files: row.require_clean_files,
            pinned: row.pinned_paths,
            excluded: row.excluded_paths,
            mode: Mode::parse(&row.mode).ok_or_else(|| inconsistent("turns.mode"))?,
            plan: row.plan,
            tools: row.tools,
            skills: row.skills,
            selection: selection.transpose().map_err(|_| inconsistent("turns.selection"))?,
            agent_version: row.agent_version,
            provider_key: row.provider_key_id,
            state: State::parse(&row.state).ok_or_else(|| inconsistent("turns.state"))?,
            epoch: row.epoch,
            recoveries: u32::try_from(row.recoveries).map_err(|_| inconsistent("turns.recoveries"))?,
            base_revision: row.base_revision,
            history: row.history.map(|ids| ids.into_iter().map(MessageId).collect()),
            revision: row.revision,
            failure_reason: row.failure_reason,
            last_seq: u32::try_from(row.last_seq).map_err(|_| inconsistent("turns.last_seq"))?,
            usage: Usage::decode(row.usage.as_slice()).map_err(|_| inconsistent("turns.usage"))?,
            trace_id: row.trace_id,
            traceparent: row.traceparent,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        })
    }
}

/// Selects all columns of turns, with the newest seq of their logs. `$tail` is the rest of the statement.
macro_rules! select_turn {
    ($tail:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            Row,
            r#"SELECT t.id, t.user_id, t.project_id, t.draft_id, t.fingerprint, t.prompt, t.agent, t.agent_rule, t.model,
                t.asked_revision, t.reject_if_active, t.goes_first, t.client_message_id, t.metadata AS "metadata: Json<Metadata>", t.replaces_turn_id, t.follow_until, t.require_clean_files, t.pinned_paths, t.excluded_paths, t.mode, t.plan, t.tools, t.skills, t.selection, t.agent_version, t.provider_key_id,
                t.state, t.epoch, t.recoveries, t.base_revision, t.history, t.revision, t.failure_reason,
                greatest(t.last_seq, (SELECT e.seq FROM turn_events e WHERE e.turn_id = t.id ORDER BY e.seq DESC LIMIT 1)) AS "last_seq!",
                t.usage, t.trace_id, t.traceparent, t.created_at, t.started_at, t.ended_at
            FROM turns t "# + $tail,
            $($argument),*
        )
    };
}

/// A turn of the user.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: TurnId, user: UserId) -> Result<Option<Turn>, StoreError> {
    let row = select_turn!("WHERE t.id = $1 AND t.user_id = $2", id.0, user.0).fetch_optional(db);
    query("select turn", row).await?.map(Turn::try_from).transpose()
}

/// A turn of any user.
pub(crate) async fn find_of_anyone(db: impl PgExecutor<'_>, id: TurnId) -> Result<Option<Turn>, StoreError> {
    let row = select_turn!("WHERE t.id = $1", id.0).fetch_optional(db);
    query("select turn", row).await?.map(Turn::try_from).transpose()
}

/// The turn of the user's idempotency key.
pub(crate) async fn find_by_key(db: impl PgExecutor<'_>, user: UserId, key: &str) -> Result<Option<Turn>, StoreError> {
    let row = select_turn!("WHERE t.user_id = $1 AND t.idempotency_key = $2", user.0, key).fetch_optional(db);
    query("select turn by key", row).await?.map(Turn::try_from).transpose()
}

/// The user's oldest open turn on the project or draft id.
pub(crate) async fn find_active(
    db: &PgPool,
    user: UserId,
    project: Option<ProjectId>,
    draft: Option<&str>,
) -> Result<Option<TurnId>, StoreError> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM turns
        WHERE ended_at IS NULL AND project_id IS NOT NULL AND user_id = $1 AND (project_id = $2 OR draft_id = $3) ORDER BY id LIMIT 1",
        user.0,
        project.map(|id| id.0),
        draft,
    );
    Ok(query("select active turn", id.fetch_optional(db)).await?.map(TurnId))
}

/// What each turn used that the user started at a time or later.
pub(crate) async fn usages_since(db: &PgPool, user: UserId, since: OffsetDateTime) -> Result<Vec<Usage>, StoreError> {
    let usages = sqlx::query_scalar!("SELECT usage FROM turns WHERE user_id = $1 AND created_at >= $2", user.0, since);
    let usages = query("select usage of turns", usages.fetch_all(db)).await?;
    usages.iter().map(|usage| Usage::decode(usage.as_slice()).map_err(|_| inconsistent("turns.usage"))).collect()
}

/// The number of open turns by state.
pub(crate) async fn count_open(db: &PgPool) -> Result<Vec<(State, u64)>, StoreError> {
    let rows = sqlx::query!(r#"SELECT state, count(*) AS "count!" FROM turns WHERE ended_at IS NULL GROUP BY state"#).fetch_all(db);
    let rows = query("count open turns", rows).await?;
    rows.into_iter()
        .map(|row| Ok((State::parse(&row.state).ok_or_else(|| inconsistent("turns.state"))?, row.count.unsigned_abs())))
        .collect()
}

/// The open turn of the project, other than `of`, that the queue waits for: the one with the slot, else the oldest.
pub(crate) async fn find_blocking(db: &PgPool, project: ProjectId, of: TurnId) -> Result<Option<TurnId>, StoreError> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM turns
        WHERE ended_at IS NULL AND project_id = $1 AND id <> $2 ORDER BY (state IN ('running', 'committing')) DESC, id LIMIT 1",
        project.0,
        of.0,
    );
    Ok(query("select turn in front", id.fetch_optional(db)).await?.map(TurnId))
}

/// The newest project of the user's draft id, if a turn was begun with that draft id.
pub(crate) async fn project_of_draft(db: &PgPool, user: UserId, draft: &str) -> Result<Option<ProjectId>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"SELECT project_id AS "project_id!" FROM turns WHERE user_id = $1 AND draft_id = $2 AND project_id IS NOT NULL
        ORDER BY id DESC LIMIT 1"#,
        user.0,
        draft,
    );
    Ok(query("select project of draft", id.fetch_optional(db)).await?.map(ProjectId))
}

/// Selects turns of a user on a project.
#[derive(Debug, Clone)]
pub(crate) struct TurnFilter {
    pub(crate) user: UserId,
    pub(crate) project: ProjectId,
    pub(crate) open_only: bool,
    /// Empty selects every turn.
    pub(crate) client_message_id: String,
    /// Entries that a turn must have.
    pub(crate) metadata: Metadata,
    /// The last turn of the previous page.
    pub(crate) before: Option<TurnId>,
}

impl TurnFilter {
    /// Whether every turn with the first entry matches.
    pub(crate) fn is_one_entry(&self) -> bool {
        self.metadata.len() == 1 && !self.open_only && self.client_message_id.is_empty()
    }
}

/// A page of turns, the newest first, whatever their metadata.
pub(crate) async fn list(db: &PgPool, filter: &TurnFilter, limit: i64) -> Result<Vec<Turn>, StoreError> {
    let rows = select_turn!(
        "WHERE t.project_id = $1 AND t.user_id = $2 AND (NOT $3 OR t.ended_at IS NULL) AND ($4 = '' OR t.client_message_id = $4)
            AND ($5::uuid IS NULL OR t.id < $5) ORDER BY t.id DESC LIMIT $6",
        filter.project.0,
        filter.user.0,
        filter.open_only,
        filter.client_message_id,
        filter.before.map(|id| id.0),
        limit
    );
    query("select turns", rows.fetch_all(db)).await?.into_iter().map(Turn::try_from).collect()
}

/// The turns that have an entry, the newest first: one range of the index of the entries, whatever the rest of the filter is.
pub(crate) async fn list_by_entry(
    db: &PgPool,
    filter: &TurnFilter,
    (key, value): (&String, &String),
    limit: i64,
) -> Result<Vec<TurnId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT turn_id FROM turn_metadata WHERE project_id = $1 AND user_id = $2 AND key = $3 AND value = $4 AND turn_id < $5
        ORDER BY turn_id DESC LIMIT $6",
        filter.project.0,
        filter.user.0,
        key,
        value,
        filter.before.map_or(Uuid::max(), |id| id.0),
        limit
    );
    Ok(query("select turns by entry", ids.fetch_all(db)).await?.into_iter().map(TurnId).collect())
}

/// Those of some turns that match a filter, the newest first.
pub(crate) async fn list_matching(db: &PgPool, ids: &[TurnId], filter: &TurnFilter, limit: i64) -> Result<Vec<Turn>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = select_turn!(
        "WHERE t.id = ANY($1) AND t.user_id = $2 AND t.metadata @> $3 AND (NOT $4 OR t.ended_at IS NULL)
            AND ($5 = '' OR t.client_message_id = $5) ORDER BY t.id DESC LIMIT $6",
        &ids,
        filter.user.0,
        Json(&filter.metadata) as _,
        filter.open_only,
        filter.client_message_id,
        limit
    );
    query("select turns by metadata", rows.fetch_all(db)).await?.into_iter().map(Turn::try_from).collect()
}

/// Inserts a turn that is not begun yet. Returns the time of its creation, or `None` if the user has a turn with the same key.
pub(crate) async fn insert(db: &PgPool, turn: &Turn, key: Option<&str>) -> Result<Option<OffsetDateTime>, StoreError> {
    let insert = sqlx::query_scalar!(
        "INSERT INTO turns (id, user_id, draft_id, idempotency_key, fingerprint, prompt, agent, agent_rule, model, asked_revision,
            reject_if_active, trace_id, traceparent, goes_first, client_message_id, metadata, replaces_turn_id, follow_until, require_clean_files,
            selection, agent_version, pinned_paths, excluded_paths, mode, plan, tools, skills, usage, provider_key_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
            CASE WHEN $18 THEN clock_timestamp() + interval '1 day' END, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29)
        ON CONFLICT DO NOTHING RETURNING created_at",
        turn.id.0,
        turn.user_id.0,
        turn.draft_id,
        key,
        turn.fingerprint,
        turn.prompt,
        turn.agent,
        turn.agent_rule,
        turn.model,
        turn.asked_revision,
        turn.reject_if_active,
        turn.trace_id,
        turn.traceparent,
        turn.goes_first,
        turn.client_message_id,
        Json(&turn.metadata) as _,
        turn.replaces.map(|id| id.0),
        turn.cancel_unfollowed,
        turn.require_clean_files,
        turn.selection.as_ref().map(AgentSelected::encode_to_vec),
        turn.agent_version,
        &turn.pinned,
        &turn.excluded,
        turn.mode.as_str(),
        turn.plan,
        turn.tools.as_deref(),
        turn.skills,
        turn.usage.encode_to_vec(),
        turn.provider_key,
    );
    query("insert turn", insert.fetch_optional(db)).await
}

/// Deletes a turn that was refused, unless it was accepted, claimed or ended in the meantime.
pub(crate) async fn delete_unbegun(db: &PgPool, id: TurnId) -> Result<bool, StoreError> {
    let delete = sqlx::query!("DELETE FROM turns WHERE id = $1 AND state = 'accepted' AND project_id IS NULL AND epoch = 0", id.0);
    Ok(query("delete turn", delete.execute(db)).await?.rows_affected() == 1)
}

/// The outcome of [`accept`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptOutcome {
    Accepted,
    /// Another turn of the project is open, and this one must not wait.
    Busy,
    /// Another request or a worker has accepted or ended the turn in the meantime.
    Changed,
}

/// The parameters of [`accept`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptTurn<'a> {
    pub(crate) turn: TurnId,
    pub(crate) project: ProjectId,
    /// The first events with their seqs, from 1 on.
    pub(crate) events: &'a [(u32, Vec<u8>)],
    /// The turn takes the project's slot in this statement. Otherwise a worker takes the slot later.
    pub(crate) takes_slot: bool,
    /// Accept the turn only if no other turn of the project is open.
    pub(crate) only_if_free: bool,
    /// How long a turn with `ON_DISCONNECT_CANCEL` waits for its first follower.
    pub(crate) grace: Duration,
}

/// Stores the project of a begun turn, its first events and the entries of its metadata.
pub(crate) async fn accept(db: impl PgExecutor<'_>, turn: AcceptTurn<'_>) -> Result<AcceptOutcome, StoreError> {
    let (seqs, payloads) = columns(turn.events);
    let accept = sqlx::query!(
        r#"WITH accepted AS (
            UPDATE turns t SET project_id = $2, state = CASE WHEN $5 THEN 'running' ELSE 'accepted' END,
                last_seq = cardinality($3::integer[]),
                follow_until = CASE WHEN follow_until IS NOT NULL THEN clock_timestamp() + $7::float8 * interval '1 second' END
            WHERE id = $1 AND state = 'accepted' AND project_id IS NULL AND epoch = 0
                AND NOT ($6 AND EXISTS (SELECT 1 FROM turns o WHERE o.project_id = $2 AND o.ended_at IS NULL))
            RETURNING id, user_id, metadata
        ), entries AS (
            INSERT INTO turn_metadata (turn_id, key, value, project_id, user_id)
            SELECT a.id, m.key, m.value, $2, a.user_id FROM accepted a CROSS JOIN jsonb_each_text(a.metadata) AS m
        ), written AS (
            INSERT INTO turn_events (turn_id, seq, payload)
            SELECT a.id, e.seq, e.payload FROM accepted a CROSS JOIN unnest($3::integer[], $4::bytea[]) AS e(seq, payload)
        )
        SELECT EXISTS (SELECT 1 FROM accepted) AS "accepted!",
            EXISTS (SELECT 1 FROM turns t WHERE t.id = $1 AND t.state = 'accepted' AND t.project_id IS NULL AND t.epoch = 0) AS "open!""#,
        turn.turn.0,
        turn.project.0,
        &seqs,
        &payloads,
        turn.takes_slot,
        turn.only_if_free,
        turn.grace.as_secs_f64(),
    );
    match query("accept turn", accept.fetch_one(db)).await {
        Ok(row) if row.accepted => Ok(AcceptOutcome::Accepted),
        Ok(row) if row.open && turn.only_if_free => Ok(AcceptOutcome::Busy),
        Ok(_) => Ok(AcceptOutcome::Changed),
        Err(error) if error.violates("turns_slot_key") => Ok(AcceptOutcome::Busy),
        Err(error) => Err(error),
    }
}

/// Splits events into one array per column.
pub(super) fn columns(events: &[(u32, Vec<u8>)]) -> (Vec<i32>, Vec<Vec<u8>>) {
    // No log reaches two billion events.
    events.iter().map(|(seq, payload)| (i32::try_from(*seq).unwrap_or(i32::MAX), payload.clone())).unzip()
}
