//! Messages. A page is one range of the index of visible messages, without sorting and without OFFSET.

use proto::id::{MessageId, ProjectId, TurnId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Connection, StoreError, role};
use crate::{
    git::{Corruption, Oid},
    model::{
        message::{Author, Message},
        page::Page,
        project::Role,
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
            partial: self.partial.unwrap_or_default(),
            revision: self.revision.map(|oid| Oid::from_bytes(&oid)).transpose()?,
            user: UserId(self.user_id.unwrap_or_default()),
            created_at,
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

/// A page with the role of the user; `None` without a role.
type PageWithRole = Option<(Role, Vec<Message>)>;

/// A page of visible messages in the order of `$range`.
macro_rules! page {
    ($db:ident, $project:ident, $user:ident, $range:literal, $after:expr, $limit:expr) => {{
        let query = sqlx::query!(
            r#"SELECT m.role, g.id AS "id?", g.turn_id AS "turn_id?", g.role AS "author?", g.text AS "text?", g.partial AS "partial?",
                  g.revision AS "revision?", g.user_id AS "user_id?", g.created_at AS "created_at?"
           FROM members m
           LEFT JOIN LATERAL (
               SELECT * FROM messages x WHERE x.project_id = m.project_id AND x.hidden_by IS NULL AND "#
                + $range
                + r#" LIMIT $4
           ) g ON true
           WHERE m.project_id = $1 AND m.user_id = $2"#,
            $project.0,
            $user.0,
            $after,
            $limit,
        );
        let rows = chassis::postgres::query("select messages", query.fetch_all($db)).await?;
        let Some(role) = rows.first().map(|row| role(row.role)) else { return Ok(None) };
        let messages: Vec<_> = rows.into_iter().map(|row| message_row!(row).message()).collect::<Result<_, _>>()?;
        Ok(Some((role, messages.into_iter().flatten().collect())))
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

/// The newest messages before one of the same project, the newest first.
pub(crate) async fn before(db: impl PgExecutor<'_>, project: ProjectId, id: MessageId, limit: i64) -> Result<Vec<Message>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT id AS "id?", turn_id AS "turn_id?", role AS "author?", text AS "text?", partial AS "partial?", revision,
                  user_id AS "user_id?", created_at AS "created_at?"
           FROM messages WHERE project_id = $1 AND hidden_by IS NULL AND id < $2 ORDER BY id DESC LIMIT $3"#,
        project.0,
        id.0,
        limit,
    );
    let rows = chassis::postgres::query("select messages", query.fetch_all(db)).await?;
    let messages: Vec<_> = rows.into_iter().map(|row| message_row!(row).message()).collect::<Result<_, _>>()?;
    Ok(messages.into_iter().flatten().collect())
}

/// The messages with these ids that are before one of the same project, hidden or not, the newest first.
pub(crate) async fn by_ids_before(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    id: MessageId,
    ids: &[MessageId],
) -> Result<Vec<Message>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let query = sqlx::query!(
        r#"SELECT id AS "id?", turn_id AS "turn_id?", role AS "author?", text AS "text?", partial AS "partial?", revision,
                  user_id AS "user_id?", created_at AS "created_at?"
           FROM messages WHERE project_id = $1 AND id < $2 AND id = ANY($3) ORDER BY id DESC"#,
        project.0,
        id.0,
        &ids,
    );
    let rows = chassis::postgres::query("select messages", query.fetch_all(db)).await?;
    let messages: Vec<_> = rows.into_iter().map(|row| message_row!(row).message()).collect::<Result<_, _>>()?;
    Ok(messages.into_iter().flatten().collect())
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
        "INSERT INTO messages (project_id, id, turn_id, role, text, partial, revision, user_id, created_at, hidden_by)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, (
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
    );
    chassis::postgres::query("insert message", query.execute(&mut *db)).await?;
    Ok(())
}
