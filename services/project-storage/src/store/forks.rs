//! Forks: projects that continue the log of another project of the same store.

use proto::{
    id::{ProjectId, UserId},
    metadata::Metadata,
};
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use super::{
    Connection, MAIN, StoreError,
    projects::{is_draft_taken, lock_account, project_row},
    signed, unsigned,
};
use crate::model::{
    project::{Project, Role},
    revision::Revision,
};

/// How many ancestors a project has.
pub(crate) async fn depth(db: impl PgExecutor<'_>, project: ProjectId) -> Result<u32, StoreError> {
    let query = sqlx::query_scalar!(r#"SELECT coalesce(max(depth), 0)::integer AS "depth!" FROM lineage WHERE project_id = $1"#, project.0);
    Ok(unsigned(chassis::postgres::query("select lineage", query.fetch_one(db)).await?))
}

/// Whether a fork was inserted.
pub(crate) enum ForkResult {
    Inserted,
    /// The owner may not read the parent any more.
    ParentGone,
    DraftTaken,
    AccountFull,
}

/// Inserts a fork with its owner, if the owner may read the parent and has fewer than `max` projects. The head of the fork is the revision
/// of the parent, and its own log begins with a copy of that row; without a revision the fork has no files. Locks the parent, so that a
/// deletion of it sees the fork.
pub(crate) async fn insert(
    db: &mut Connection,
    fork: &Project,
    (parent, revision): (ProjectId, Option<&Revision>),
    max: u32,
) -> Result<ForkResult, StoreError> {
    lock_account(db, fork.owner).await?;
    let oid = revision.as_ref().map_or(&[][..], |revision| revision.id.as_bytes());
    let query = sqlx::query_scalar!(
        r#"WITH q AS (
               SELECT o.id, o.store_id, o.owner_id FROM projects o
               WHERE o.id = $8 AND o.deleted_at IS NULL AND EXISTS (SELECT 1 FROM members m WHERE m.project_id = o.id AND m.user_id = $3)
               FOR KEY SHARE
           ), p AS (
               INSERT INTO projects (id, store_id, owner_id, draft_id, display_name, plan, created_at, updated_at, edited_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $7, $7 FROM q
               WHERE q.store_id = $2 AND (SELECT count(*) FROM projects WHERE owner_id = $3) < $9
               ON CONFLICT (owner_id, draft_id) DO NOTHING
               RETURNING id
           ), s AS (
               UPDATE stores SET owner_id = q.owner_id FROM q, p
               WHERE stores.id = $2 AND stores.owner_id IS NULL AND q.owner_id <> $3
           ), m AS (INSERT INTO members (project_id, user_id, role) SELECT id, $3, $10 FROM p),
           r AS (INSERT INTO refs (project_id, name, oid, seq) SELECT id, $11, $12, $13 FROM p),
           l AS (
               INSERT INTO ref_log (project_id, name, seq, oid, tree, parents, actor, user_id, turn_id, message,
                                    added, modified, deleted, renamed, created_at, undoes, redo, files, bytes)
               SELECT p.id, $11, l.seq, l.oid, l.tree, l.parents, l.actor, l.user_id, l.turn_id, l.message,
                      l.added, l.modified, l.deleted, l.renamed, l.created_at, l.undoes, l.redo, l.files, l.bytes
               FROM p, log_segments($8) s
               JOIN ref_log l ON l.project_id = s.log_id AND l.name = $11 AND l.seq = $13
               WHERE l.seq > s.after_number AND l.seq <= s.number
           ), a AS (
               INSERT INTO lineage (project_id, depth, ancestor_id, store_id, after_number, number, revision)
               SELECT p.id, 1, $8, $2, least($13, (SELECT coalesce(max(number), 0) FROM lineage WHERE project_id = $8)), $13, $12::bytea
               FROM p
               UNION ALL
               SELECT p.id, a.depth + 1, a.ancestor_id, $2, least($13, a.after_number), least($13, a.number), NULL
               FROM p, lineage a WHERE a.project_id = $8
           )
           SELECT id FROM p"#,
        fork.id.0,
        fork.store.0,
        fork.owner.0,
        fork.draft,
        fork.name,
        fork.plan as i16,
        fork.created_at,
        parent.0,
        i64::from(max),
        Role::Owner as i16,
        MAIN,
        oid,
        signed(revision.as_ref().map_or(0, |revision| revision.number)),
    );
    if chassis::postgres::query("insert fork", query.fetch_optional(&mut *db)).await?.is_some() {
        return Ok(ForkResult::Inserted);
    }
    if !is_readable(db, parent, fork.owner).await? {
        return Ok(ForkResult::ParentGone);
    }
    Ok(if is_draft_taken(db, fork).await? { ForkResult::DraftTaken } else { ForkResult::AccountFull })
}

async fn is_readable(db: &mut Connection, project: ProjectId, user: UserId) -> Result<bool, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM members WHERE project_id = $1 AND user_id = $2) AS "readable!""#,
        project.0,
        user.0
    );
    chassis::postgres::query("select member", query.fetch_one(&mut *db)).await
}

/// The direct forks of a project before an id, the newest first, and whether the user may read each. At most so many of them.
pub(crate) async fn ids(
    db: impl PgExecutor<'_>,
    parent: ProjectId,
    user: UserId,
    before: Option<ProjectId>,
    limit: i64,
) -> Result<Vec<(ProjectId, bool)>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT a.project_id, m.role IS NOT NULL AS "readable!"
           FROM (
               SELECT project_id FROM lineage WHERE ancestor_id = $1 AND depth = 1 AND project_id < $3
               ORDER BY project_id DESC LIMIT $4
           ) a
           LEFT JOIN members m ON m.project_id = a.project_id AND m.user_id = $2
           ORDER BY a.project_id DESC"#,
        parent.0,
        user.0,
        before.map_or(Uuid::max(), |id| id.0),
        limit,
    );
    let rows = chassis::postgres::query("select forks", query.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| (ProjectId(row.project_id), row.readable)).collect())
}

/// Projects by their ids, the newest first, without those that the user may not read.
pub(crate) async fn projects(db: impl PgExecutor<'_>, user: UserId, ids: &[ProjectId]) -> Result<Vec<Project>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT p.id, p.store_id, p.owner_id, p.draft_id, p.display_name, p.plan, p.created_at, p.updated_at, p.edited_at, p.deleted_at,
                  p.metadata AS "metadata: Json<Metadata>",
                  r.oid AS head, r.seq AS head_seq, r.lock_version,
                  f.number AS "fork_number?", f.revision AS "fork_revision?", n.project_id AS "fork_parent?"
           FROM projects p
           JOIN members m ON m.project_id = p.id AND m.user_id = $2
           JOIN refs r ON r.project_id = p.id AND r.name = $3
           LEFT JOIN lineage f ON f.project_id = p.id AND f.depth = 1
           LEFT JOIN members n ON n.project_id = f.ancestor_id AND n.user_id = $2
           WHERE p.id = ANY($1)
           ORDER BY p.id DESC"#,
        &ids.iter().map(|id| id.0).collect::<Vec<_>>(),
        user.0,
        MAIN,
    );
    let rows = chassis::postgres::query("select projects of forks", query.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| project_row!(row).project()).collect::<Result<_, _>>()?)
}
