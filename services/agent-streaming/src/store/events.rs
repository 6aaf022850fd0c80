//! The event log: fenced appends of many turns in one statement, and reads by cursor.

#[cfg(feature = "seeded-bugs")]
mod seeded_bugs;

use chassis::{postgres::query, seeded_bug};
use prost::Message as _;
use proto::{
    agent_streaming::turn_event::Kind,
    id::{MessageId, TurnId},
};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{StoreError, inconsistent};
use crate::turn::{Change, State, event};

/// The events that one turn appends in one statement, and the change of its row.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    pub(crate) turn: TurnId,
    pub(crate) epoch: i64,
    pub(crate) first_seq: u32,
    pub(crate) payloads: Vec<Vec<u8>>,
    pub(crate) change: Option<Change>,
}

impl Append {
    pub(crate) fn last_seq(&self) -> u32 {
        self.first_seq + u32::try_from(self.payloads.len()).unwrap_or(u32::MAX) - 1
    }
}

/// A batch as one array per column.
#[derive(Default)]
struct Columns {
    turns: Vec<Uuid>,
    epochs: Vec<i64>,
    event_turns: Vec<Uuid>,
    event_epochs: Vec<i64>,
    event_seqs: Vec<i32>,
    payloads: Vec<Vec<u8>>,
}

impl Columns {
    fn of(appends: &[&Append]) -> Self {
        let mut columns = Self::default();
        for append in appends {
            columns.turns.push(append.turn.0);
            columns.epochs.push(append.epoch);
            for (seq, payload) in (append.first_seq..).zip(&append.payloads) {
                columns.event_turns.push(append.turn.0);
                columns.event_epochs.push(append.epoch);
                columns.event_seqs.push(i32::try_from(seq).unwrap_or(i32::MAX));
                columns.payloads.push(payload.clone());
            }
        }
        columns
    }

    /// The appends of a batch whose rows the statement has locked.
    fn written(&self, appends: &[&Append], locked: &[(Uuid, i64)]) -> Vec<TurnEpoch> {
        let of_batch = appends.iter().zip(self.turns.iter().zip(&self.epochs));
        let written = of_batch.filter(|(_, (turn, epoch))| locked.contains(&(**turn, **epoch)));
        written.map(|(append, _)| (append.turn, append.epoch)).collect()
    }
}

/// A turn and the epoch of its claim.
pub(crate) type TurnEpoch = (TurnId, i64);

/// Appends events that do not change the rows of their turns. Returns the turns that were written: the rows of the others are locked, or
/// their epochs have moved. Appending the same events again does nothing. A batch may contain one turn under several epochs; only the
/// newest one is written.
pub(crate) async fn append(db: &PgPool, appends: &[&Append]) -> Result<Vec<TurnEpoch>, StoreError> {
    let columns = Columns::of(appends);
    seeded_bug!(let columns = columns.of_current_epochs(db).await?);
    seeded_bug!(return columns.append_without_the_lock(db, appends).await?);
    // The row lock fences the write. With a join on the epoch alone, a statement that waits for a concurrent claim would still write.
    let append = sqlx::query!(
        "WITH locked AS MATERIALIZED (
            SELECT t.id, t.epoch FROM turns t JOIN unnest($1::uuid[], $2::bigint[]) AS w(id, epoch) ON w.id = t.id AND w.epoch = t.epoch
            ORDER BY t.id FOR SHARE OF t SKIP LOCKED
        ), written AS (
            INSERT INTO turn_events (turn_id, seq, payload)
            SELECT e.turn_id, e.seq, e.payload
            FROM unnest($3::uuid[], $4::bigint[], $5::integer[], $6::bytea[]) AS e(turn_id, epoch, seq, payload)
            JOIN locked l ON l.id = e.turn_id AND l.epoch = e.epoch
            ON CONFLICT DO NOTHING
        )
        SELECT id, epoch FROM locked",
        &columns.turns,
        &columns.epochs,
        &columns.event_turns,
        &columns.event_epochs,
        &columns.event_seqs,
        &columns.payloads,
    );
    Ok(columns.written(appends, &query("append events", append.map(|row| (row.id, row.epoch)).fetch_all(db)).await?))
}

/// The changes of a batch as one array per column. `None` leaves the value of the row unchanged.
#[derive(Default)]
struct ChangeColumns {
    states: Vec<Option<String>>,
    base_revisions: Vec<Option<String>>,
    /// Array literals, because PostgreSQL has no arrays of arrays with different lengths.
    histories: Vec<Option<String>>,
    revisions: Vec<Option<String>>,
    failure_reasons: Vec<Option<String>>,
    usages: Vec<Option<Vec<u8>>>,
    change_sets: Vec<Option<Vec<u8>>>,
    /// Array literals, as `histories`.
    files: Vec<Option<String>>,
    ends_due: Vec<Option<String>>,
    last_seqs: Vec<i32>,
    ended: Vec<bool>,
    released: Vec<bool>,
    progress: Vec<bool>,
}

impl ChangeColumns {
    fn of(appends: &[&Append]) -> Self {
        let mut columns = Self::default();
        for append in appends {
            let change = append.change.clone().unwrap_or_default();
            columns.ended.push(change.state.is_some_and(State::has_ended));
            columns.released.push(change.releases());
            columns.progress.push(change.progress);
            columns.last_seqs.push(i32::try_from(append.last_seq()).unwrap_or(i32::MAX));
            columns.states.push(change.state.map(|state| state.as_str().to_owned()));
            let started = change.started.map(|started| (started.base_revision, array(&started.history))).unzip();
            columns.base_revisions.push(started.0);
            columns.histories.push(started.1);
            columns.revisions.push(change.revision);
            columns.failure_reasons.push(change.failure_reason.map(|reason| reason.as_str().to_owned()));
            columns.usages.push(change.usage.map(|usage| usage.encode_to_vec()));
            columns.change_sets.push(change.change_set.map(|set| set.to_vec()));
            columns.files.push(change.files.map(|files| texts(&files)));
            columns.ends_due.push(change.end_due.map(|end| end.as_str().to_owned()));
        }
        columns
    }
}

/// An array literal of ids.
fn array(ids: &[MessageId]) -> String {
    let ids: Vec<_> = ids.iter().map(MessageId::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

/// An array literal of texts.
fn texts(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    format!("{{{}}}", quoted.join(","))
}

/// Appends events and changes the rows of their turns, in one statement. The rest is as in [`append`].
pub(crate) async fn append_with_changes(db: &PgPool, appends: &[&Append]) -> Result<Vec<TurnEpoch>, StoreError> {
    let (columns, changes) = (Columns::of(appends), ChangeColumns::of(appends));
    seeded_bug!(let columns = columns.of_current_epochs(db).await?);
    let append = sqlx::query!(
        "WITH changed AS (
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::bytea[],
                $12::text[], $13::integer[], $14::boolean[], $15::boolean[], $16::boolean[], $17::text[], $19::text[])
            AS c(id, epoch, state, base_revision, revision, failure_reason, usage, change_set, end_due, last_seq, ended, released, progress, history,
                files)
        ), locked AS MATERIALIZED (
            SELECT id, epoch FROM turns t JOIN changed c USING (id, epoch) ORDER BY id FOR NO KEY UPDATE OF t SKIP LOCKED
        ), written AS (
            INSERT INTO turn_events (turn_id, seq, payload) SELECT id, seq, payload FROM locked
            JOIN unnest($3::uuid[], $18::bigint[], $4::integer[], $5::bytea[]) AS e(id, epoch, seq, payload) USING (id, epoch)
            ON CONFLICT DO NOTHING
        ), kept AS (
            INSERT INTO turn_change_sets (turn_id, request)
            SELECT id, change_set FROM changed JOIN locked USING (id, epoch) WHERE change_set IS NOT NULL ON CONFLICT DO NOTHING
        ), dropped AS (
            DELETE FROM turn_change_sets s USING changed c JOIN locked l USING (id, epoch) WHERE s.turn_id = id AND c.ended
        ), forgotten AS (
            DELETE FROM prompt_parts p USING changed c JOIN locked l USING (id, epoch) WHERE p.turn_id = l.id AND c.ended
        ), updated AS (
            UPDATE turns t SET
                state = coalesce(c.state, t.state),
                base_revision = coalesce(c.base_revision, t.base_revision),
                started_at = CASE WHEN c.base_revision IS NULL THEN t.started_at ELSE coalesce(t.started_at, clock_timestamp()) END,
                history = CASE WHEN c.ended THEN NULL ELSE coalesce(c.history::uuid[], t.history) END,
                plan = CASE WHEN c.ended THEN NULL ELSE t.plan END,
                revision = coalesce(c.revision, t.revision), files = coalesce(c.files::text[], t.files),
                failure_reason = coalesce(c.failure_reason, t.failure_reason), usage = coalesce(c.usage, t.usage),
                end_due = coalesce(c.end_due, t.end_due), last_seq = c.last_seq,
                recoveries = CASE WHEN c.progress THEN 0 ELSE t.recoveries END,
                ended_at = CASE WHEN c.ended THEN coalesce(t.ended_at, clock_timestamp()) END,
                lease_expires_at = CASE WHEN c.released THEN NULL ELSE t.lease_expires_at END
            FROM changed c JOIN locked l USING (id, epoch) WHERE t.id = c.id
        )
        SELECT id, epoch FROM locked",
        &columns.turns,
        &columns.epochs,
        &columns.event_turns,
        &columns.event_seqs,
        &columns.payloads,
        &changes.states as &[Option<String>],
        &changes.base_revisions as &[Option<String>],
        &changes.revisions as &[Option<String>],
        &changes.failure_reasons as &[Option<String>],
        &changes.usages as &[Option<Vec<u8>>],
        &changes.change_sets as &[Option<Vec<u8>>],
        &changes.ends_due as &[Option<String>],
        &changes.last_seqs,
        &changes.ended,
        &changes.released,
        &changes.progress,
        &changes.histories as &[Option<String>],
        &columns.event_epochs,
        &changes.files as &[Option<String>],
    );
    Ok(columns.written(appends, &query("append events and change turns", append.map(|row| (row.id, row.epoch)).fetch_all(db)).await?))
}

/// A row of `turn_events`.
#[derive(Debug, Clone)]
pub(crate) struct StoredEvent {
    pub(crate) turn: TurnId,
    pub(crate) seq: u32,
    pub(crate) payload: Vec<u8>,
}

/// At most `limit` events of one turn after a cursor.
pub(crate) async fn read(db: impl PgExecutor<'_>, turn: TurnId, after: u32, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
    let rows = sqlx::query!(
        "SELECT seq, payload FROM turn_events WHERE turn_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        turn.0,
        i32::try_from(after).unwrap_or(i32::MAX),
        i64::from(limit),
    );
    let rows = query("select events", rows.fetch_all(db)).await?;
    rows.into_iter().map(|row| stored(turn.0, row.seq, row.payload)).collect()
}

/// Reads the log of one turn page by page. `each` gets the seq and the content of every event that this version can decode.
pub(crate) async fn read_all(db: &PgPool, turn: TurnId, each: impl FnMut(u32, &Kind)) -> Result<(), StoreError> {
    read_after(db, turn, 0, each).await
}

/// As [`read_all`], without the events up to a cursor.
pub(crate) async fn read_after(db: &PgPool, turn: TurnId, mut cursor: u32, mut each: impl FnMut(u32, &Kind)) -> Result<(), StoreError> {
    const PAGE: u32 = 500;
    loop {
        let page = read(db, turn, cursor, PAGE).await?;
        for row in &page {
            if let Some(kind) = event::decode(turn, row.seq, &row.payload).kind {
                each(row.seq, &kind);
            }
        }
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => cursor = last.seq,
            _ => return Ok(()),
        }
    }
}

/// The events of many turns, each after its own cursor. `limit` is per turn.
pub(crate) async fn read_many(db: &PgPool, cursors: &[(TurnId, u32)], limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
    let turns: Vec<Uuid> = cursors.iter().map(|(turn, _)| turn.0).collect();
    let after: Vec<i32> = cursors.iter().map(|(_, seq)| i32::try_from(*seq).unwrap_or(i32::MAX)).collect();
    let rows = sqlx::query!(
        r#"SELECT f.turn AS "turn!", e.seq, e.payload FROM unnest($1::uuid[], $2::integer[]) AS f(turn, after)
        CROSS JOIN LATERAL (
            SELECT seq, payload FROM turn_events WHERE turn_id = f.turn AND seq > f.after ORDER BY seq LIMIT $3
        ) e
        ORDER BY f.turn, e.seq"#,
        &turns,
        &after,
        i64::from(limit),
    );
    let rows = query("select events of turns", rows.fetch_all(db)).await?;
    rows.into_iter().map(|row| stored(row.turn, row.seq, row.payload)).collect()
}

/// The seq of the newest event, or 0.
pub(crate) async fn last_seq(db: impl PgExecutor<'_>, turn: TurnId) -> Result<u32, StoreError> {
    let seq = sqlx::query_scalar!("SELECT seq FROM turn_events WHERE turn_id = $1 ORDER BY seq DESC LIMIT 1", turn.0);
    let seq = query("select last event", seq.fetch_optional(db)).await?.unwrap_or(0);
    u32::try_from(seq).map_err(|_| inconsistent("turn_events.seq"))
}

/// The sealed change set of a committing turn: an encoded `CommitTurnRequest`.
pub(crate) async fn change_set(db: &PgPool, turn: TurnId) -> Result<Option<Vec<u8>>, StoreError> {
    let set = sqlx::query_scalar!("SELECT request FROM turn_change_sets WHERE turn_id = $1", turn.0);
    query("select change set", set.fetch_optional(db)).await
}

fn stored(turn: Uuid, seq: i32, payload: Vec<u8>) -> Result<StoredEvent, StoreError> {
    let seq = u32::try_from(seq).map_err(|_| inconsistent("turn_events.seq"))?;
    Ok(StoredEvent { turn: TurnId(turn), seq, payload })
}
