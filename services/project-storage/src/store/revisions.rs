//! The log of revisions, and the columns of a revision for statements that join it.

use proto::id::{ProjectId, TurnId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{MAIN, StoreError, signed, unsigned};
use crate::{
    git::{Corruption, DiffStat, Oid},
    model::{
        project::Role,
        revision::{Actor, Revision, Totals, Undoes},
        undo::OwnRevision,
    },
};

/// The log's columns in a LEFT JOIN, so each may be absent.
pub(super) struct LogRow {
    pub(super) name: Option<String>,
    pub(super) seq: Option<i32>,
    pub(super) oid: Option<Vec<u8>>,
    pub(super) tree: Option<Vec<u8>>,
    pub(super) parents: Option<Vec<Vec<u8>>>,
    pub(super) actor: Option<i16>,
    pub(super) log_user: Option<Uuid>,
    pub(super) log_turn: Option<Uuid>,
    pub(super) message: Option<String>,
    pub(super) added: Option<i32>,
    pub(super) modified: Option<i32>,
    pub(super) deleted: Option<i32>,
    pub(super) renamed: Option<i32>,
    pub(super) files: Option<i32>,
    pub(super) bytes: Option<i64>,
    pub(super) logged_at: Option<OffsetDateTime>,
    pub(super) undoes: Option<Vec<u8>>,
}

/// Takes the log's columns out of a joined row.
macro_rules! log_row {
    ($row:ident) => {
        $crate::store::revisions::LogRow {
            name: $row.name,
            seq: $row.seq,
            oid: $row.oid,
            tree: $row.tree,
            parents: $row.parents,
            actor: $row.actor,
            log_user: $row.log_user,
            log_turn: $row.log_turn,
            message: $row.message,
            added: $row.added,
            modified: $row.modified,
            deleted: $row.deleted,
            renamed: $row.renamed,
            files: $row.files,
            bytes: $row.bytes,
            logged_at: $row.logged_at,
            undoes: $row.undoes,
        }
    };
}
pub(super) use log_row;

impl LogRow {
    /// The revision, if the join found one.
    pub(super) fn revision(self) -> Result<Option<Revision>, Corruption> {
        let (Some(oid), Some(tree), Some(created_at)) = (self.oid, self.tree, self.logged_at) else { return Ok(None) };
        let on_main = self.name.as_deref() == Some(MAIN);
        let count = |n: Option<i32>| unsigned(n.unwrap_or(0));
        Ok(Some(Revision {
            id: Oid::from_bytes(&oid)?,
            number: if on_main { unsigned(self.seq.unwrap_or(0)) } else { 0 },
            tree: Oid::from_bytes(&tree)?,
            parents: self.parents.unwrap_or_default().iter().map(|p| Oid::from_bytes(p)).collect::<Result<_, _>>()?,
            message: self.message.unwrap_or_default(),
            actor: self.actor.map_or(Actor::Person, Actor::from_number),
            user: UserId(self.log_user.unwrap_or_default()),
            turn: self.log_turn.map(TurnId),
            created_at,
            stat: DiffStat {
                added: count(self.added),
                modified: count(self.modified),
                deleted: count(self.deleted),
                renamed: count(self.renamed),
            },
            totals: self.files.zip(self.bytes).map(|(files, bytes)| Totals { files: unsigned(files), bytes: bytes.unsigned_abs() }),
            undoes: self.undoes.map(|oid| Oid::from_bytes(&oid)).transpose()?,
        }))
    }
}

/// A revision by its id, if it is in the project's log, which of a fork begins with its ancestors', or on a branch that has not expired.
pub(crate) async fn find(db: impl PgExecutor<'_>, project: ProjectId, id: Oid) -> Result<Option<Revision>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?", l.actor AS "actor?",
                  l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                  l.added AS "added?", l.modified AS "modified?",
                  l.deleted AS "deleted?", l.renamed AS "renamed?", l.files AS "files?", l.bytes AS "bytes?", l.created_at AS "logged_at?", l.undoes AS "undoes?"
           FROM log_segments($1) s
           JOIN ref_log l ON l.project_id = s.log_id AND l.oid = $2
           WHERE l.name = $3 AND l.seq > s.after_number AND l.seq <= s.number
              OR l.name <> $3 AND l.project_id = $1
                 AND EXISTS (SELECT 1 FROM refs r WHERE r.project_id = $1 AND r.name = l.name AND r.expires_at > now())
           ORDER BY l.name = $3 DESC
           LIMIT 1"#,
        project.0,
        id.as_bytes(),
        MAIN,
    );
    let row = chassis::postgres::query("select ref_log", query.fetch_optional(db)).await?;
    Ok(row.map(|row| log_row!(row).revision()).transpose()?.flatten())
}

/// The newest revisions that one person made in a project, the newest first. A fork has those of its ancestors up to the fork.
pub(crate) async fn own(db: impl PgExecutor<'_>, project: ProjectId, user: UserId, limit: i64) -> Result<Vec<OwnRevision>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT o.oid AS "oid!", o.undoes, o.redo AS "redo!" FROM log_segments($1) s CROSS JOIN LATERAL (
               SELECT * FROM ref_log l
               WHERE l.project_id = s.log_id AND l.user_id = $2 AND l.name = $3 AND l.seq > s.after_number AND l.seq <= s.number
               ORDER BY l.seq DESC LIMIT $4
           ) o
           ORDER BY o.seq DESC LIMIT $4"#,
        project.0,
        user.0,
        MAIN,
        limit,
    );
    let rows = chassis::postgres::query("select revisions of user", query.fetch_all(db)).await?;
    let own = rows.into_iter().map(|row| {
        let undone = row.undoes.map(|oid| Oid::from_bytes(&oid)).transpose()?;
        Ok(OwnRevision { id: Oid::from_bytes(&row.oid)?, undoes: undone.map(|revision| Undoes { revision, is_redo: row.redo }) })
    });
    own.collect()
}

/// The revision of the main branch that a turn made, or that resolved the turn's conflict.
pub(crate) async fn find_applied(db: impl PgExecutor<'_>, project: ProjectId, turn: TurnId) -> Result<Option<Revision>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?", l.actor AS "actor?",
                  l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                  l.added AS "added?", l.modified AS "modified?",
                  l.deleted AS "deleted?", l.renamed AS "renamed?", l.files AS "files?", l.bytes AS "bytes?", l.created_at AS "logged_at?", l.undoes AS "undoes?"
           FROM turns t
           JOIN ref_log l ON l.project_id = t.project_id AND l.oid = coalesce(t.resolution, t.revision) AND l.name = $3
           WHERE t.id = $2 AND t.project_id = $1
           LIMIT 1"#,
        project.0,
        turn.0,
        MAIN,
    );
    let row = chassis::postgres::query("select applied revision", query.fetch_optional(db)).await?;
    Ok(row.map(|row| log_row!(row).revision()).transpose()?.flatten())
}

/// The revisions before a number, the newest first, with the user's role; `None` without a role.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    user: UserId,
    before: u32,
    limit: i64,
) -> Result<Option<(Role, Vec<Revision>)>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT m.role, l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?",
                  l.actor AS "actor?", l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                  l.added AS "added?", l.modified AS "modified?",
                  l.deleted AS "deleted?", l.renamed AS "renamed?", l.files AS "files?", l.bytes AS "bytes?", l.created_at AS "logged_at?", l.undoes AS "undoes?"
           FROM members m
           LEFT JOIN LATERAL (
               SELECT g.* FROM log_segments(m.project_id) s CROSS JOIN LATERAL (
                   SELECT * FROM ref_log f
                   WHERE f.project_id = s.log_id AND f.name = $3 AND f.seq > s.after_number AND f.seq <= s.number AND f.seq < $4
                   ORDER BY f.seq DESC LIMIT $5
               ) g
               ORDER BY g.seq DESC LIMIT $5
           ) l ON true
           WHERE m.project_id = $1 AND m.user_id = $2"#,
        project.0,
        user.0,
        MAIN,
        signed(before),
        limit,
    );
    let rows = chassis::postgres::query("select ref_log", query.fetch_all(db)).await?;
    let Some(role) = rows.first().map(|row| super::role(row.role)) else { return Ok(None) };
    let mut revisions = Vec::with_capacity(rows.len());
    for row in rows {
        revisions.extend(log_row!(row).revision()?);
    }
    Ok(Some((role, revisions)))
}

/// Revisions in the order of time, the newest first.
pub(crate) struct TimeRange {
    /// The earliest time, included; `None` for any.
    pub(crate) start: Option<OffsetDateTime>,
    /// The latest time, excluded; `None` for any.
    pub(crate) end: Option<OffsetDateTime>,
    /// Only revisions before this one, by time and number.
    pub(crate) before: Option<(OffsetDateTime, u32)>,
}

/// A checked statement that reads revisions of the project's log, which of a fork begins with its ancestors'. The columns and the first two
/// parameters, project and branch, are the same in each. Each part of the log is one range of an index:
/// `$part` is the condition of the part, as a CASE where the planner must not take the index by number for it.
macro_rules! select_log {
    ($project:ident, $part:literal, $condition:literal, $order:literal, $($more:expr),*) => {
        sqlx::query!(
            r#"SELECT l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?",
                      l.actor AS "actor?", l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                      l.added AS "added?", l.modified AS "modified?",
                      l.deleted AS "deleted?", l.renamed AS "renamed?", l.files AS "files?", l.bytes AS "bytes?", l.created_at AS "logged_at?", l.undoes AS "undoes?"
               FROM log_segments($1) s CROSS JOIN LATERAL (
                   SELECT * FROM ref_log l
                   WHERE l.project_id = s.log_id AND l.name = $2 AND "#
                + $part
                + " AND "
                + $condition
                + " ORDER BY "
                + $order
                + ") l ORDER BY "
                + $order,
            $project.0,
            MAIN,
            $($more),*
        )
    };
}

/// Takes revisions out of the rows of such a statement.
macro_rules! revisions {
    ($rows:expr) => {{
        let mut revisions = Vec::new();
        for row in $rows {
            revisions.extend(log_row!(row).revision()?);
        }
        Ok(revisions)
    }};
}

/// The revisions before a number, the newest first.
pub(crate) async fn before(db: impl PgExecutor<'_>, project: ProjectId, number: u32, limit: i64) -> Result<Vec<Revision>, StoreError> {
    let query =
        select_log!(project, "l.seq > s.after_number AND l.seq <= s.number", "l.seq < $3", "l.seq DESC LIMIT $4", signed(number), limit);
    revisions!(chassis::postgres::query("select log by number", query.fetch_all(db)).await?)
}

/// The revisions of a time, the newest first.
pub(crate) async fn in_time(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    range: &TimeRange,
    limit: i64,
) -> Result<Vec<Revision>, StoreError> {
    let (time, number) = range.before.unzip();
    let query = select_log!(
        project,
        "CASE WHEN l.seq <= s.after_number THEN false ELSE l.seq <= s.number END",
        "l.created_at >= coalesce($3, '-infinity'::timestamptz) AND l.created_at < coalesce($4, 'infinity'::timestamptz)
         AND (l.created_at, l.seq) < (coalesce($5, 'infinity'::timestamptz), coalesce($6, 2147483647))",
        "l.created_at DESC, l.seq DESC LIMIT $7",
        range.start,
        range.end,
        time,
        number.map(signed),
        limit
    );
    revisions!(chassis::postgres::query("select log by time", query.fetch_all(db)).await?)
}

/// The revisions of a user in a time, the newest first.
pub(crate) async fn of_user(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    user: UserId,
    (range, limit): (&TimeRange, i64),
) -> Result<Vec<Revision>, StoreError> {
    let (time, number) = range.before.unzip();
    let query = select_log!(
        project,
        "CASE WHEN l.seq <= s.after_number THEN false ELSE l.seq <= s.number END",
        "l.user_id = $3
         AND l.created_at >= coalesce($4, '-infinity'::timestamptz) AND l.created_at < coalesce($5, 'infinity'::timestamptz)
         AND (l.created_at, l.seq) < (coalesce($6, 'infinity'::timestamptz), coalesce($7, 2147483647))",
        "l.created_at DESC, l.seq DESC LIMIT $8",
        user.0,
        range.start,
        range.end,
        time,
        number.map(signed),
        limit
    );
    revisions!(chassis::postgres::query("select log by user", query.fetch_all(db)).await?)
}

/// The trees of revisions by their numbers. Unknown numbers are left out.
pub(crate) async fn trees(db: impl PgExecutor<'_>, project: ProjectId, numbers: &[u32]) -> Result<Vec<(u32, Oid)>, StoreError> {
    let numbers: Vec<i32> = numbers.iter().copied().map(signed).collect();
    let query = sqlx::query!(
        "SELECT l.seq, l.tree FROM log_segments($1) s
         JOIN ref_log l ON l.project_id = s.log_id AND l.name = $2 AND l.seq = ANY($3) AND l.seq > s.after_number AND l.seq <= s.number",
        project.0,
        MAIN,
        &numbers,
    );
    let rows = chassis::postgres::query("select trees", query.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok((unsigned(row.seq), Oid::from_bytes(&row.tree)?))).collect()
}

/// The revisions after a number, the oldest first.
pub(crate) async fn after(db: impl PgExecutor<'_>, project: ProjectId, number: u32, limit: i64) -> Result<Vec<Revision>, StoreError> {
    let query = select_log!(project, "l.seq > s.after_number AND l.seq <= s.number", "l.seq > $3", "l.seq LIMIT $4", signed(number), limit);
    revisions!(chassis::postgres::query("select log after number", query.fetch_all(db)).await?)
}

/// The revisions of projects after a number each, the oldest first, at most `limit` of each project. Only the projects' own logs are read, so
/// the number of a fork must not be before its beginning.
pub(crate) async fn newer_of_projects(
    db: impl PgExecutor<'_>,
    cursors: &[(ProjectId, u32)],
    limit: i64,
) -> Result<Vec<(ProjectId, Vec<Revision>)>, StoreError> {
    let projects: Vec<Uuid> = cursors.iter().map(|(project, _)| project.0).collect();
    let numbers: Vec<i32> = cursors.iter().map(|(_, number)| signed(*number)).collect();
    let query = sqlx::query!(
        r#"SELECT c.project_id AS "project_id!", l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?",
                  l.actor AS "actor?", l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                  l.added AS "added?", l.modified AS "modified?",
                  l.deleted AS "deleted?", l.renamed AS "renamed?", l.files AS "files?", l.bytes AS "bytes?", l.created_at AS "logged_at?", l.undoes AS "undoes?"
           FROM unnest($1::uuid[], $2::integer[]) AS c (project_id, number)
           CROSS JOIN LATERAL (
               SELECT * FROM ref_log f WHERE f.project_id = c.project_id AND f.name = $3 AND f.seq > c.number ORDER BY f.seq LIMIT $4
           ) l
           ORDER BY c.project_id, l.seq"#,
        &projects,
        &numbers,
        MAIN,
        limit,
    );
    let rows = chassis::postgres::query("select new revisions", query.fetch_all(db)).await?;
    let mut found: Vec<(ProjectId, Vec<Revision>)> = Vec::new();
    for row in rows {
        let project = ProjectId(row.project_id);
        if found.last().is_none_or(|(last, _)| *last != project) {
            found.push((project, Vec::new()));
        }
        if let (Some((_, log)), Some(revision)) = (found.last_mut(), log_row!(row).revision()?) {
            log.push(revision);
        }
    }
    Ok(found)
}
