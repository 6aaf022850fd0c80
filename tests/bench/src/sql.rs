//! The statements of project-storage, sent directly: the baselines of saves, loads and pages. They are copies, because a baseline that changed
//! with the service would hide a regression.

use anyhow::{Result, ensure};
use sqlx::{PgPool, postgres::PgRow};
use uuid::Uuid;

use crate::seed::{Head, MAIN, Objects};

/// The role of an editor.
const EDITOR: i16 = 2;

/// Saves in one statement.
pub(crate) async fn save(pool: &PgPool, head: &mut Head, objects: &Objects) -> Result<()> {
    let query = sqlx::query(
        "WITH r AS (
             UPDATE refs SET oid = $3, seq = seq + 1
             WHERE project_id = $1 AND name = $4 AND oid = $5
               AND EXISTS (SELECT 1 FROM members WHERE project_id = $1 AND user_id = $2 AND role >= $6)
             RETURNING seq, clock_timestamp() AS at
         ), o AS (
             INSERT INTO objects (store_id, oid, tag, size, data)
             SELECT $7, u.oid, u.tag, u.size, u.data
             FROM unnest($8::bytea[], $9::smallint[], $10::integer[], $11::bytea[]) AS u (oid, tag, size, data)
             WHERE EXISTS (SELECT 1 FROM r)
             ON CONFLICT DO NOTHING
         ), l AS (
             INSERT INTO ref_log (project_id, name, seq, oid, tree, parents, actor, user_id, turn_id, message,
                                  added, modified, deleted, renamed, created_at)
             SELECT $1, $4, r.seq, $3, $12, ARRAY[$5], 1, $2, NULL, '', 0, $13, 0, 0, r.at FROM r
         ), p AS (
             UPDATE projects SET updated_at = r.at FROM r WHERE id = $1
         )
         SELECT seq, at FROM r",
    );
    let row = query
        .bind(head.project)
        .bind(head.user)
        .bind(&objects.commit)
        .bind(MAIN)
        .bind(&head.oid)
        .bind(EDITOR)
        .bind(head.store)
        .bind(&objects.oids)
        .bind(&objects.tags)
        .bind(&objects.sizes)
        .bind(&objects.data)
        .bind(&objects.tree)
        .bind(i32::try_from(objects.oids.len())?)
        .fetch_optional(pool)
        .await?;
    ensure!(row.is_some(), "the head has changed");
    head.oid.clone_from(&objects.commit);
    Ok(())
}

/// Reads a project with its head for a member.
pub(crate) async fn find(pool: &PgPool, project: Uuid, user: Uuid) -> Result<PgRow> {
    let query = sqlx::query(
        "SELECT p.id, p.store_id, p.owner_id, p.draft_id, p.display_name, p.plan, p.created_at, p.updated_at,
                r.oid AS head, r.seq AS head_seq, m.role,
                l.name, l.seq, l.oid, l.tree, l.parents, l.actor, l.user_id, l.turn_id, l.message,
                ARRAY[l.added, l.modified, l.deleted, l.renamed], l.created_at
         FROM projects p
         JOIN members m ON m.project_id = p.id AND m.user_id = $2
         JOIN refs r ON r.project_id = p.id AND r.name = $3
         LEFT JOIN ref_log l ON l.project_id = p.id AND l.name = r.name AND l.seq = r.seq
         WHERE p.id = $1",
    );
    Ok(query.bind(project).bind(user).bind(MAIN).fetch_one(pool).await?)
}

/// Reads objects of a store.
pub(crate) async fn objects(pool: &PgPool, store: Uuid, oids: &[Vec<u8>]) -> Result<Vec<PgRow>> {
    let query = sqlx::query("SELECT oid, tag, size, data FROM objects WHERE store_id = $1 AND oid = ANY($2)");
    Ok(query.bind(store).bind(oids).fetch_all(pool).await?)
}

/// Reads a page of a conversation, newest first.
pub(crate) async fn messages(pool: &PgPool, project: Uuid, before: Uuid, limit: i64) -> Result<Vec<PgRow>> {
    let query = sqlx::query(
        "SELECT id, turn_id, role, text, partial, revision, user_id, created_at
         FROM messages WHERE project_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
    );
    Ok(query.bind(project).bind(before).bind(limit).fetch_all(pool).await?)
}
