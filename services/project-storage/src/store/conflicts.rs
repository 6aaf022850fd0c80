//! Conflicts, their branches, and how they were resolved.

use proto::id::{ConflictId, ProjectId, UserId};
use sqlx::PgExecutor;

use super::{Connection, StoreError, key_columns, revisions::log_row, unsigned};
use crate::{
    git::{Corruption, Oid},
    model::{
        conflict::{ConflictKind, ConflictSummary, OpenConflict},
        project::ListKey,
        revision::Undoes,
    },
};

/// A conflict of a project.
pub(crate) enum ConflictState {
    Open(Box<OpenConflict>),
    Resolved {
        revision: Oid,
        /// SHA-256 of the user and the request that resolved it.
        key: Vec<u8>,
    },
}

/// The branch of a conflict.
pub(super) fn branch_name(id: ConflictId) -> String {
    format!("refs/conflicts/{id}")
}

/// The branch of a turn that conflicted under a release that did not have the table of conflicts.
fn old_branch_name(id: ConflictId) -> String {
    format!("refs/turns/{id}")
}

fn oid(column: Option<Vec<u8>>) -> Result<Option<Oid>, Corruption> {
    column.map(|oid| Oid::from_bytes(&oid)).transpose()
}

/// A conflict of a project; `None` if there is none, or its branch has expired.
pub(crate) async fn find(db: impl PgExecutor<'_>, project: ProjectId, id: ConflictId) -> Result<Option<ConflictState>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT c.kind, c.base, c.base_tree, c.user_id, c.undoes AS resolution_undoes, c.redo, c.resolution, c.resolution_key,
                  r.expires_at AS "expires_at?",
                  l.name AS "name?", l.seq AS "seq?", l.oid AS "oid?", l.tree AS "tree?", l.parents AS "parents?", l.actor AS "actor?",
                  l.user_id AS "log_user?", l.turn_id AS "log_turn?", l.message AS "message?",
                  l.added AS "added?", l.modified AS "modified?",
                  l.deleted AS "deleted?", l.renamed AS "renamed?", l.files AS "files?", l.bytes AS "bytes?", l.created_at AS "logged_at?", l.undoes AS "undoes?"
           FROM conflicts c
           LEFT JOIN refs r ON r.project_id = c.project_id AND r.name IN ($3, $4) AND r.expires_at > now()
           LEFT JOIN ref_log l ON l.project_id = r.project_id AND l.name = r.name AND l.seq = r.seq
           WHERE c.id = $2 AND c.project_id = $1"#,
        project.0,
        id.0,
        branch_name(id),
        old_branch_name(id),
    );
    let Some(row) = chassis::postgres::query("select conflict", query.fetch_optional(db)).await? else { return Ok(None) };
    if let Some((revision, key)) = row.resolution.zip(row.resolution_key) {
        return Ok(Some(ConflictState::Resolved { revision: Oid::from_bytes(&revision)?, key }));
    }
    let (kind, user, expires_at) = (ConflictKind::from_number(row.kind), UserId(row.user_id), row.expires_at);
    let base = oid(row.base)?.zip(oid(row.base_tree)?);
    let undoes = oid(row.resolution_undoes)?.map(|revision| Undoes { revision, is_redo: row.redo });
    let Some((theirs, expires_at)) = log_row!(row).revision()?.zip(expires_at) else { return Ok(None) };
    Ok(Some(ConflictState::Open(Box::new(OpenConflict { kind, base, theirs, user, expires_at, undoes }))))
}

/// What the two sides of an open conflict began with: the commit and its tree, by the commit of the other side. The outer `None` is no such
/// conflict, the inner one a project without files.
pub(crate) async fn base_of(db: impl PgExecutor<'_>, project: ProjectId, theirs: Oid) -> Result<Option<Option<(Oid, Oid)>>, StoreError> {
    let query = sqlx::query!(
        "SELECT base, base_tree FROM conflicts
         WHERE project_id = $1 AND theirs = $2 AND resolution IS NULL AND expires_at > now()
         ORDER BY created_at DESC LIMIT 1",
        project.0,
        theirs.as_bytes(),
    );
    let row = chassis::postgres::query("select base of conflict", query.fetch_optional(db)).await?;
    Ok(row.map(|row| Ok::<_, Corruption>(oid(row.base)?.zip(oid(row.base_tree)?))).transpose()?)
}

/// What an earlier request with the same idempotency key left: its fingerprint, and the paths in conflict.
pub(crate) struct RecordedConflict {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) paths: Vec<String>,
}

/// A conflict that was made by a request with an idempotency key, also after its end.
pub(crate) async fn find_recorded(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    id: ConflictId,
) -> Result<Option<RecordedConflict>, StoreError> {
    let query = sqlx::query!("SELECT fingerprint, paths FROM conflicts WHERE id = $2 AND project_id = $1", project.0, id.0);
    let row = chassis::postgres::query("select request of conflict", query.fetch_optional(db)).await?;
    Ok(row.map(|row| RecordedConflict { fingerprint: row.fingerprint.unwrap_or_default(), paths: row.paths }))
}

/// The open conflicts of a project after a key, the newest first, each with its first 20 paths.
pub(crate) async fn page(
    db: impl PgExecutor<'_>,
    project: ProjectId,
    after: Option<ListKey>,
    limit: i64,
) -> Result<Vec<ConflictSummary>, StoreError> {
    let (before, id) = key_columns(after);
    let query = sqlx::query!(
        r#"SELECT id, kind, base, ours, theirs, paths[1:20] AS "paths!", cardinality(paths) AS "path_count!", user_id, created_at,
                  expires_at
           FROM conflicts
           WHERE project_id = $1 AND resolution IS NULL AND expires_at > now()
             AND (created_at, id) < ($2, $3)
           ORDER BY created_at DESC, id DESC LIMIT $4"#,
        project.0,
        before,
        id,
        limit,
    );
    let rows = chassis::postgres::query("select conflicts", query.fetch_all(db)).await?;
    let conflicts = rows.into_iter().map(|row| {
        Ok(ConflictSummary {
            id: ConflictId(row.id),
            kind: ConflictKind::from_number(row.kind),
            base: oid(row.base)?,
            ours: oid(row.ours)?,
            theirs: Oid::from_bytes(&row.theirs)?,
            paths: row.paths,
            path_count: unsigned(row.path_count),
            user: UserId(row.user_id),
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    });
    conflicts.collect()
}

/// Records how a conflict was resolved, and deletes its branch. Returns `false` if the branch was gone already, or has expired. The row of
/// a turn gets the same, for its conversation.
pub(crate) async fn resolve(
    db: &mut Connection,
    project: ProjectId,
    id: ConflictId,
    revision: Oid,
    key: &[u8],
) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"WITH b AS (
               DELETE FROM refs WHERE project_id = $1 AND name IN ($3, $4) AND expires_at > now() RETURNING project_id
           ), c AS (
               UPDATE conflicts SET resolution = $5, resolution_key = $6 FROM b
               WHERE conflicts.id = $2 AND conflicts.project_id = b.project_id AND conflicts.resolution IS NULL
               RETURNING conflicts.id
           ), t AS (
               UPDATE turns SET resolution = $5, resolution_key = $6 FROM c WHERE turns.id = c.id
           )
           SELECT count(*) AS "resolved!" FROM c"#,
        project.0,
        id.0,
        branch_name(id),
        old_branch_name(id),
        revision.as_bytes(),
        key,
    );
    Ok(chassis::postgres::query("resolve conflict", query.fetch_one(&mut *db)).await? == 1)
}
