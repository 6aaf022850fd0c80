//! Messages. A page is one range of the index of visible messages, without sorting and without OFFSET. Its statement also reads how the
//! turns of its messages ended, so that a page takes one round trip.

use proto::id::{MessageId, ProjectId, TurnId, UserId};
use sqlx::{PgExecutor, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Connection, StoreError, role, unsigned};
use crate::{
    git::{Corruption, Oid},
    model::{
        message::{Author, ConversationEntry, LockedMessage, Message, MessageState, Reaction, TurnOutcome},
        page::Page,
        part::Part,
        project::Role,
        turn::TurnState,
    },
};

/// The columns of a message. All are absent in the one row of a member whose conversation is empty.
struct MessageRow {
    id: Option<Uuid>,
    turn_id: Option<Uuid>,
    author: Option<i16>,
    text: Option<String>,
    partial: Option<bool>,
    revision: Option<Vec<u8>>,
    user_id: Option<Uuid>,
    created_at: Option<OffsetDateTime>,
}

impl MessageRow {
    fn message(self) -> Result<Option<Message>, Corruption> {
        let (Some(id), Some(created_at)) = (self.id, self.created_at) else { return Ok(None) };
        Ok(Some(Message {
            id: MessageId(id),
            turn: TurnId(self.turn_id.unwrap_or_default()),
            author: if self.author == Some(Author::Agent as i16) { Author::Agent } else { Author::Person },
            text: self.text.unwrap_or_default(),
            parts: Vec::new(),
            partial: self.partial.unwrap_or_default(),
            revision: self.revision.map(|oid| Oid::from_bytes(&oid)).transpose()?,
            user: UserId(self.user_id.unwrap_or_default()),
            created_at,
            state: MessageState::default(),
        }))
    }
}

macro_rules! message_row {
    ($row:ident) => {
        MessageRow {
            id: $row.id,
            turn_id: $row.turn_id,
            author: $row.author,
            text: $row.text,
            partial: $row.partial,
            revision: $row.revision,
            user_id: $row.user_id,
            created_at: $row.created_at,
        }
    };
}

/// Takes what happened to a message out of a row.
macro_rules! message_state {
    ($row:ident) => {
        MessageState {
            edited_at: $row.edited_at,
            deleted_at: $row.deleted_at,
            helpful: unsigned($row.helpful.unwrap_or_default()),
            not_helpful: unsigned($row.not_helpful.unwrap_or_default()),
            reaction: $row.own.map(|is_helpful| Reaction { is_helpful, reason: $row.reason.unwrap_or_default() }),
        }
    };
}

/// A page with the role of the user; `None` without a role.
type PageWithRole = Option<(Role, Vec<ConversationEntry>)>;

/// A page of visible messages in the order of `$range`, with the first 20 paths in conflict of each turn. The limit of the turns, which
/// have one row each, keeps the planner from a join that would have to sort the page.
macro_rules! page {
    ($db:ident, $project:ident, $user:ident, $range:literal, $after:expr, $limit:expr) => {{
        let query = sqlx::query!(
            r#"SELECT m.role, g.id AS "id?", g.turn_id AS "turn_id?", g.role AS "author?", g.text AS "text?", g.partial AS "partial?",
                  g.parts AS "parts?: Json<Vec<Part>>",
                  g.revision AS "revision?", g.user_id AS "user_id?", g.created_at AS "created_at?", g.edited_at AS "edited_at?",
                  g.deleted_at AS "deleted_at?", g.helpful AS "helpful?", g.not_helpful AS "not_helpful?",
                  CASE WHEN g.helpful + g.not_helpful > 0 THEN (
                      SELECT o.helpful FROM reactions o WHERE o.project_id = $1 AND o.message_id = g.id AND o.user_id = $2) END AS own,
                  CASE WHEN g.helpful + g.not_helpful > 0 THEN (
                      SELECT o.reason FROM reactions o WHERE o.project_id = $1 AND o.message_id = g.id AND o.user_id = $2) END AS reason,
                  t.state AS "state?", t.is_resolved AS "is_resolved?", t.conflict_paths AS "conflict_paths?",
                  t.failure_reason AS "failure_reason?"
           FROM members m
           LEFT JOIN LATERAL (
               SELECT * FROM messages x WHERE x.project_id = m.project_id AND x.hidden_by IS NULL AND "#
                + $range
                + r#" LIMIT $4
           ) g ON true
           LEFT JOIN LATERAL (
               SELECT y.state, y.resolution IS NOT NULL AS is_resolved, y.conflict_paths[1:20] AS conflict_paths, y.failure_reason
               FROM turns y WHERE y.id = g.turn_id LIMIT 1
           ) t ON true
           WHERE m.project_id = $1 AND m.user_id = $2"#,
            $project.0,
            $user.0,
            $after,
            $limit,
        );
        let rows = chassis::postgres::query("select messages", query.fetch_all($db)).await?;
        let Some(role) = rows.first().map(|row| role(row.role)) else { return Ok(None) };
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let state = message_state!(row);
            let outcome = row.state.map(|state| TurnOutcome {
                state: TurnState::from_number(state),
                is_resolved: row.is_resolved.unwrap_or_default(),
                conflict_paths: row.conflict_paths.unwrap_or_default(),
                failure_reason: row.failure_reason.unwrap_or_default(),
            });
            let parts = row.parts.map(|Json(parts)| parts).unwrap_or_default();
            let entry = |message| ConversationEntry { message: Message { state, parts, ..message }, outcome };
            entries.extend(message_row!(row).message()?.map(entry));
        }
        Ok(Some((role, entries)))
    }};
}

/// Messages before a key, the newest first.
pub(crate) async fn newest(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    user: UserId,
    page: Page<MessageId>,
) -> Result<PageWithRole, StoreError> {
    page!(db, project, user, "x.id < $3 ORDER BY x.id DESC", page.after.map_or(Uuid::max(), |id| id.0), page.size)
}

/// Messages after a key, the oldest first.
pub(crate) async fn oldest(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    user: UserId,
    page: Page<MessageId>,
) -> Result<PageWithRole, StoreError> {
    page!(db, project, user, "x.id > $3 ORDER BY x.id", page.after.map_or(Uuid::nil(), |id| id.0), page.size)
}

/// One visible message.
pub(crate) async fn one(db: impl PgExecutor<'_>, project: ProjectId, user: UserId, id: MessageId) -> Result<PageWithRole, StoreError> {
    page!(db, project, user, "x.id = $3", id.0, 1)
}

/// The messages of a project in the columns that a turn reads. A message that was edited since the turn `$turn` began has its old text.
macro_rules! of_turn {
    ($db:ident, $turn:literal, $range:literal, $($value:expr),*) => {{
        let query = sqlx::query!(
            r#"SELECT m.id AS "id?", m.turn_id AS "turn_id?", m.role AS "author?", m.partial AS "partial?", m.revision, m.user_id AS "user_id?",
                  m.created_at AS "created_at?",
                  coalesce((SELECT v.text FROM message_versions v
                            WHERE v.project_id = m.project_id AND v.message_id = m.id
                              AND v.replaced_at > (SELECT t.created_at FROM turns t WHERE t.id = "# + $turn + r#")
                            ORDER BY v.replaced_at LIMIT 1), m.text) AS "text?"
           FROM messages m WHERE m.project_id = $1 AND m.deleted_at IS NULL AND m.id < $2 AND "# + $range,
            $($value),*
        );
        let rows = chassis::postgres::query("select messages", query.fetch_all($db)).await?;
        let messages: Vec<_> = rows.into_iter().map(|row| message_row!(row).message()).collect::<Result<_, _>>()?;
        Ok(messages.into_iter().flatten().collect())
    }};
}

/// The newest messages before one of the same project, the newest first, as a turn reads them.
pub(crate) async fn before(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    id: MessageId,
    turn: TurnId,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    of_turn!(db, "$4", "m.hidden_by IS NULL ORDER BY m.id DESC LIMIT $3", project.0, id.0, limit, turn.0)
}

/// The messages with these ids that are before one of the same project, hidden or not, the newest first, as a turn reads them.
pub(crate) async fn by_ids_before(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    id: MessageId,
    turn: TurnId,
    ids: &[MessageId],
) -> Result<Vec<Message>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    of_turn!(db, "$4", "m.id = ANY($3) ORDER BY m.id DESC", project.0, id.0, &ids, turn.0)
}

/// Locks a message.
pub(crate) async fn lock_one(db: &mut Connection, project: ProjectId, id: MessageId) -> Result<Option<LockedMessage>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT role, user_id, turn_id, hidden_by IS NOT NULL AS "is_hidden!", deleted_at IS NOT NULL AS "is_deleted!"
         FROM messages WHERE project_id = $1 AND id = $2 FOR UPDATE"#,
        project.0,
        id.0,
    );
    let row = chassis::postgres::query("lock message", query.fetch_optional(&mut *db)).await?;
    Ok(row.map(|row| LockedMessage {
        author: if row.role == Author::Agent as i16 { Author::Agent } else { Author::Person },
        user: UserId(row.user_id),
        turn: TurnId(row.turn_id),
        is_hidden: row.is_hidden,
        is_deleted: row.is_deleted,
    }))
}

/// Deletes the old texts of a message that no open turn can read.
pub(crate) async fn forget_versions(db: &mut Connection, project: ProjectId, id: MessageId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "DELETE FROM message_versions v WHERE v.project_id = $1 AND v.message_id = $2
           AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.project_id = $1 AND t.state = 1 AND t.created_at < v.replaced_at)",
        project.0,
        id.0,
    );
    chassis::postgres::query("forget message versions", query.execute(&mut *db)).await?;
    Ok(())
}

/// Keeps the text of a message that is about to get another one, if a turn of the project is open.
pub(crate) async fn keep_version(db: &mut Connection, project: ProjectId, id: MessageId, new: &str) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "INSERT INTO message_versions (project_id, message_id, replaced_at, text)
         SELECT project_id, id, clock_timestamp(), text FROM messages
         WHERE project_id = $1 AND id = $2 AND text <> $3 AND EXISTS (SELECT 1 FROM turns WHERE project_id = $1 AND state = 1)",
        project.0,
        id.0,
        new,
    );
    chassis::postgres::query("keep message version", query.execute(&mut *db)).await?;
    Ok(())
}

/// Gives a message another text. Returns `false` if it has the text already.
pub(crate) async fn edit(db: &mut Connection, project: ProjectId, id: MessageId, text: &str) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "UPDATE messages SET text = $3, edited_at = clock_timestamp() WHERE project_id = $1 AND id = $2 AND text <> $3",
        project.0,
        id.0,
        text,
    );
    Ok(chassis::postgres::query("edit message", query.execute(&mut *db)).await?.rows_affected() == 1)
}

/// Deletes the text of a message, with what belongs to it. The row stays.
pub(crate) async fn delete(db: &mut Connection, project: ProjectId, id: MessageId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "WITH r AS (DELETE FROM reactions WHERE project_id = $1 AND message_id = $2),
              v AS (DELETE FROM message_versions WHERE project_id = $1 AND message_id = $2)
         UPDATE messages SET text = '', parts = NULL, helpful = 0, not_helpful = 0, deleted_at = clock_timestamp()
         WHERE project_id = $1 AND id = $2",
        project.0,
        id.0,
    );
    chassis::postgres::query("delete message", query.execute(&mut *db)).await?;
    Ok(())
}

/// Locks the project's conversation until the end of the transaction. Every transaction that hides or shows messages takes this lock,
/// before it locks a turn: of two that replace the same turn, the second has to see that the question is hidden.
pub(crate) async fn lock(db: &mut Connection, project: ProjectId) -> Result<(), StoreError> {
    let query = sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('conversation ' || $1::uuid::text, 0))", project.0);
    chassis::postgres::query("lock conversation", query.execute(&mut *db)).await?;
    Ok(())
}

/// Hides a question and all later questions of the project, with their answers. A later answer to an earlier question stays visible.
pub(crate) async fn hide_since(db: &mut Connection, project: ProjectId, first: MessageId, by: TurnId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "UPDATE messages m SET hidden_by = $3 FROM turns t
         WHERE m.project_id = $1 AND m.hidden_by IS NULL AND m.id >= $2 AND t.id = m.turn_id AND t.message_id >= $2",
        project.0,
        first.0,
        by.0,
    );
    chassis::postgres::query("hide messages", query.execute(&mut *db)).await?;
    Ok(())
}

/// Hides the question of a turn and shows what the turn had hidden. If another turn has replaced the question since, that turn hides
/// these messages from now on.
pub(crate) async fn withdraw(db: &mut Connection, turn: TurnId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "UPDATE messages m SET hidden_by = CASE WHEN m.id = q.id THEN t.id ELSE q.hidden_by END
         FROM turns t JOIN messages q ON q.project_id = t.project_id AND q.id = t.message_id
         WHERE t.id = $1 AND m.project_id = t.project_id AND (m.hidden_by = t.id OR m.id = q.id)",
        turn.0,
    );
    chassis::postgres::query("withdraw messages", query.execute(&mut *db)).await?;
    Ok(())
}

/// Adds a message. An answer to a hidden question is hidden as well.
pub(crate) async fn insert(db: &mut Connection, project: ProjectId, message: &Message) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "INSERT INTO messages (project_id, id, turn_id, role, text, partial, revision, user_id, created_at, parts, hidden_by)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (
             SELECT q.hidden_by FROM turns t JOIN messages q ON q.project_id = t.project_id AND q.id = t.message_id
             WHERE t.id = $3 AND t.project_id = $1)",
        project.0,
        message.id.0,
        message.turn.0,
        message.author as i16,
        message.text,
        message.partial,
        message.revision.as_ref().map(Oid::as_bytes),
        message.user.0,
        message.created_at,
        (!message.parts.is_empty()).then(|| Json(&message.parts)) as _,
    );
    chassis::postgres::query("insert message", query.execute(&mut *db)).await?;
    Ok(())
}

/// What begins and ends a word that was found in an excerpt. Texts are shown without them.
pub(crate) const HIT_START: char = '\u{2}';
pub(crate) const HIT_END: char = '\u{3}';
/// Messages that one statement compares.
const BATCH: i64 = 200;
/// Bytes of the messages that one statement compares, besides one message.
const BATCH_BYTES: i64 = 1024 * 1024;

/// A part of a conversation that was searched.
pub(crate) struct Batch {
    /// The messages in which the query was found, without their texts, each with an excerpt.
    pub(crate) found: Vec<(Message, String)>,
    /// The last message that was compared; `None` if there was none.
    pub(crate) last: Option<MessageId>,
    /// It was the last one of the project.
    pub(crate) is_end: bool,
}

/// Compares the next messages of a project with a query, the newest first. Nothing is found for a user without a role.
pub(crate) async fn search(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    user: UserId,
    words: &str,
    after: Option<MessageId>,
) -> Result<Batch, StoreError> {
    let query = sqlx::query!(
        r#"SELECT g.id AS "id!", g.found AS "found!", h.is_hit AS "is_hit!", g.turn_id AS "turn_id?", g.role AS "author?", ''::text AS "text?",
                  g.partial AS "partial?", g.revision AS "revision?", g.user_id AS "user_id?", g.created_at AS "created_at?",
                  CASE WHEN h.is_hit THEN ts_headline('simple', translate(left(g.text, 65536), E'\x02\x03', ''), q.q, $7) END AS excerpt
           FROM members m
           CROSS JOIN websearch_to_tsquery('simple', $4) AS q (q)
           CROSS JOIN LATERAL (
               SELECT x.*, count(*) OVER () AS found, sum(least(octet_length(x.text), 65536)) OVER (ORDER BY x.id DESC) AS bytes
               FROM (SELECT * FROM messages y
                     WHERE y.project_id = m.project_id AND y.hidden_by IS NULL AND y.id < $3 ORDER BY y.id DESC LIMIT $5) x
           ) g
           CROSS JOIN LATERAL (
               SELECT g.deleted_at IS NULL AND to_tsvector('simple', left(g.text, 65536)) @@ q.q AS is_hit OFFSET 0
           ) h
           WHERE m.project_id = $1 AND m.user_id = $2 AND g.bytes - least(octet_length(g.text), 65536) < $6
           ORDER BY g.id DESC"#,
        project.0,
        user.0,
        after.map_or(Uuid::max(), |id| id.0),
        words,
        BATCH,
        BATCH_BYTES,
        format!(
            "StartSel=\"{HIT_START}\", StopSel=\"{HIT_END}\", MaxFragments=3, MaxWords=30, MinWords=10, ShortWord=0, FragmentDelimiter=\" … \""
        ),
    );
    let rows = chassis::postgres::query("search messages", query.fetch_all(db)).await?;
    let compared = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let is_end = rows.first().is_none_or(|row| row.found < BATCH && row.found == compared);
    let last = rows.last().map(|row| MessageId(row.id));
    let mut found = Vec::new();
    for row in rows.into_iter().filter(|row| row.is_hit) {
        let (id, excerpt) = (Some(row.id), row.excerpt);
        let message = MessageRow {
            id,
            turn_id: row.turn_id,
            author: row.author,
            text: row.text,
            partial: row.partial,
            revision: row.revision,
            user_id: row.user_id,
            created_at: row.created_at,
        };
        found.extend(message.message()?.map(|message| (message, excerpt.unwrap_or_default())));
    }
    Ok(Batch { found, last, is_end })
}
