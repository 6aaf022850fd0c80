//! What revisions contain of the logs of a family of projects: through their own logs, their ancestors', and merges.

use std::collections::BTreeMap;

use proto::id::{ConflictId, ProjectId};
use sqlx::PgExecutor;

use super::{Connection, MAIN, StoreError, signed, unsigned};
use crate::{
    git::Oid,
    model::{
        lineage::{LogNumbers, Point},
        project::StoreId,
    },
};

/// Which parts of logs a revision contains.
pub(crate) async fn log_numbers(db: impl PgExecutor<'_>, point: Point) -> Result<LogNumbers, StoreError> {
    let query = sqlx::query!(
        r#"WITH s AS (
               SELECT log_id, after_number, least(number, $2) AS up_to FROM log_segments($1) WHERE after_number < $2
           ), c AS (
               SELECT log_id, up_to FROM s
               UNION ALL
               SELECT m.log_id, m.up_to FROM s
               JOIN merged m ON m.project_id = s.log_id AND m.number > s.after_number AND m.number <= s.up_to
           )
           SELECT log_id AS "log_id!", max(up_to) AS "up_to!" FROM c GROUP BY log_id"#,
        point.log.0,
        signed(point.number),
    );
    let rows = chassis::postgres::query("select contents of revision", query.fetch_all(db)).await?;
    Ok(rows.into_iter().map(|row| (ProjectId(row.log_id), unsigned(row.up_to))).collect::<BTreeMap<_, _>>())
}

/// The commit at a point and its tree, from the log, or from a merge that has kept it.
pub(crate) async fn commit_at(db: impl PgExecutor<'_>, store: StoreId, point: Point) -> Result<Option<(Oid, Oid)>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT oid AS "oid!", tree AS "tree!" FROM ref_log WHERE project_id = $1 AND name = $2 AND seq = $3
           UNION ALL
           SELECT oid, tree FROM merged WHERE store_id = $4 AND log_id = $1 AND up_to = $3
           LIMIT 1"#,
        point.log.0,
        MAIN,
        signed(point.number),
        store.0,
    );
    let row = chassis::postgres::query("select merge base", query.fetch_optional(db)).await?;
    row.map(|row| Ok((Oid::from_bytes(&row.oid)?, Oid::from_bytes(&row.tree)?))).transpose()
}

/// Records what a revision of a project contains since a merge.
pub(crate) async fn insert_merged(db: &mut Connection, store: StoreId, revision: Point, new: &LogNumbers) -> Result<(), StoreError> {
    let (logs, numbers) = columns(new);
    let query = sqlx::query!(
        "INSERT INTO merged (project_id, number, log_id, up_to, oid, tree, store_id)
         SELECT $1, $2, u.log_id, u.up_to, b.oid, b.tree, $3
         FROM unnest($4::uuid[], $5::integer[]) AS u (log_id, up_to)
         CROSS JOIN LATERAL (
             SELECT l.oid, l.tree FROM ref_log l WHERE l.project_id = u.log_id AND l.name = $6 AND l.seq = u.up_to
             UNION ALL
             SELECT m.oid, m.tree FROM merged m WHERE m.store_id = $3 AND m.log_id = u.log_id AND m.up_to = u.up_to
             LIMIT 1
         ) b
         ON CONFLICT DO NOTHING",
        revision.log.0,
        signed(revision.number),
        store.0,
        &logs,
        &numbers,
        MAIN,
    );
    chassis::postgres::query("insert merged", query.execute(&mut *db)).await?;
    Ok(())
}

/// Keeps with a conflict what the revision that resolves it will contain.
pub(crate) async fn insert_pending(db: &mut Connection, store: StoreId, conflict: ConflictId, new: &LogNumbers) -> Result<(), StoreError> {
    let (logs, numbers) = columns(new);
    let query = sqlx::query!(
        "INSERT INTO pending_merges (conflict_id, log_id, up_to, oid, tree)
         SELECT $1, u.log_id, u.up_to, b.oid, b.tree
         FROM unnest($3::uuid[], $4::integer[]) AS u (log_id, up_to)
         CROSS JOIN LATERAL (
             SELECT l.oid, l.tree FROM ref_log l WHERE l.project_id = u.log_id AND l.name = $5 AND l.seq = u.up_to
             UNION ALL
             SELECT m.oid, m.tree FROM merged m WHERE m.store_id = $2 AND m.log_id = u.log_id AND m.up_to = u.up_to
             LIMIT 1
         ) b",
        conflict.0,
        store.0,
        &logs,
        &numbers,
        MAIN,
    );
    chassis::postgres::query("insert pending merge", query.execute(&mut *db)).await?;
    Ok(())
}

/// Records that a revision has resolved the conflict of a merge.
pub(crate) async fn resolve(db: &mut Connection, store: StoreId, revision: Point, conflict: ConflictId) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "INSERT INTO merged (project_id, number, log_id, up_to, oid, tree, store_id)
         SELECT $1, $2, log_id, up_to, oid, tree, $3 FROM pending_merges WHERE conflict_id = $4",
        revision.log.0,
        signed(revision.number),
        store.0,
        conflict.0,
    );
    chassis::postgres::query("resolve merge", query.execute(&mut *db)).await?;
    Ok(())
}

fn columns(contents: &LogNumbers) -> (Vec<uuid::Uuid>, Vec<i32>) {
    contents.iter().map(|(log, number)| (log.0, signed(*number))).unzip()
}
