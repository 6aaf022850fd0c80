//! Sweeps of objects that nothing of their store reaches: their state, their marks, and the deletion.

use std::time::Duration;

use chassis::fault_time;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{
    git::{Link, Oid},
    model::project::StoreId,
};

/// How long a process has a sweep for itself after its last step.
const CLAIM: Duration = Duration::from_secs(300);
/// Revisions whose objects one statement marks.
const MAX_REVISIONS: i64 = 2000;
/// Objects that one step walks at most.
const MAX_WALKED: i64 = 500;
/// Bytes of the folders and commits that one step walks at most, if they are more than one.
const MAX_WALKED_BYTES: i64 = 512 * 1024;
/// Objects that one statement deletes at most.
const MAX_DELETED: i64 = 500;
/// Bytes, not compressed, of the objects that one statement deletes, without the last one.
const MAX_DELETED_BYTES: i64 = 16 * 1024 * 1024;

fn claim_seconds() -> f64 {
    fault_time::shortened("object-sweep-claim", CLAIM).as_secs_f64()
}

/// A sweep of one store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    pub(crate) id: Uuid,
    pub(crate) store: StoreId,
    /// Whether what the logs name is marked.
    pub(crate) logs_marked: bool,
}

/// Lets only one process at a time choose a sweep, until the end of the transaction.
pub(crate) async fn lock(tx: &mut Connection) -> Result<(), StoreError> {
    let lock = sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('sweeps of objects', 0))");
    chassis::postgres::query("lock sweeps", lock.execute(&mut *tx)).await?;
    Ok(())
}

/// The sweep that was begun.
pub(crate) enum Begun {
    /// There is none.
    Nothing,
    /// Another process works on it.
    Claimed,
    Resumed(Sweep),
}

/// Claims the sweep that was begun.
pub(crate) async fn resume(tx: &mut Connection) -> Result<Begun, StoreError> {
    let query = sqlx::query!(
        r#"WITH u AS (
               UPDATE store_sweeps SET claimed_until = clock_timestamp() + make_interval(secs => $1)
               WHERE claimed_until < clock_timestamp() RETURNING id
           )
           SELECT s.id, s.store_id, s.logs_marked, u.id IS NOT NULL AS "claimed!" FROM store_sweeps s LEFT JOIN u ON u.id = s.id
           ORDER BY s.id LIMIT 1"#,
        claim_seconds(),
    );
    let row = chassis::postgres::query("resume sweep", query.fetch_optional(&mut *tx)).await?;
    Ok(match row {
        None => Begun::Nothing,
        Some(row) if !row.claimed => Begun::Claimed,
        Some(row) => Begun::Resumed(Sweep { id: row.id, store: StoreId(row.store_id), logs_marked: row.logs_marked }),
    })
}

/// Begins the sweep of the store that has waited longest. All its requests must be older than `grace` seconds, so that no request reads
/// what has just become unreachable; and nobody may be writing objects before their revision.
pub(crate) async fn start(tx: &mut Connection, grace: f64) -> Result<Option<Sweep>, StoreError> {
    let id = Uuid::now_v7();
    let query = sqlx::query_scalar!(
        "WITH r AS (
             SELECT q.store_id FROM sweep_requests q
             WHERE q.requested_at <= clock_timestamp() - make_interval(secs => $2)
               AND NOT EXISTS (SELECT 1 FROM sweep_requests n
                               WHERE n.store_id = q.store_id AND n.requested_at > clock_timestamp() - make_interval(secs => $2))
               AND NOT EXISTS (SELECT 1 FROM pending_writes w WHERE w.store_id = q.store_id)
               AND EXISTS (SELECT 1 FROM projects p WHERE p.store_id = q.store_id)
             ORDER BY q.id LIMIT 1
         ), d AS (DELETE FROM sweep_requests q USING r WHERE q.store_id = r.store_id)
         INSERT INTO store_sweeps (id, store_id, claimed_until)
         SELECT $1, store_id, clock_timestamp() + make_interval(secs => $3) FROM r
         RETURNING store_id",
        id,
        grace,
        claim_seconds(),
    );
    let store = chassis::postgres::query("begin sweep", query.fetch_optional(&mut *tx)).await?;
    Ok(store.map(|store| Sweep { id, store: StoreId(store), logs_marked: false }))
}

/// Renews the claim. Returns `false` if the sweep has ended.
pub(crate) async fn renew(db: impl PgExecutor<'_>, sweep: &Sweep) -> Result<bool, StoreError> {
    let query = sqlx::query!(
        "UPDATE store_sweeps SET claimed_until = clock_timestamp() + make_interval(secs => $2) WHERE id = $1",
        sweep.id,
        claim_seconds(),
    );
    Ok(chassis::postgres::query("renew sweep", query.execute(db)).await?.rows_affected() == 1)
}

/// Ends the claim, so that another process may continue at once.
pub(crate) async fn release(db: impl PgExecutor<'_>, sweep: &Sweep) -> Result<(), StoreError> {
    let query = sqlx::query!("UPDATE store_sweeps SET claimed_until = '-infinity' WHERE id = $1", sweep.id);
    chassis::postgres::query("release sweep", query.execute(db)).await?;
    Ok(())
}

/// The logs of the projects of a store and of their ancestors, those of purged ones included.
pub(crate) async fn logs(db: impl PgExecutor<'_>, store: StoreId) -> Result<Vec<Uuid>, StoreError> {
    let query = sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM projects WHERE store_id = $1 UNION SELECT ancestor_id FROM lineage WHERE store_id = $1"#,
        store.0
    );
    chassis::postgres::query("select logs of store", query.fetch_all(db)).await
}

/// A place in a log: the name of a branch, and a number.
pub(crate) type LogPlace = (String, i32);

/// Marks what the next revisions of a log name. Returns the place of the last one; `None` after the end of the log.
pub(crate) async fn mark_log(
    db: impl PgExecutor<'_>,
    sweep: &Sweep,
    log: Uuid,
    (name, seq): &LogPlace,
) -> Result<Option<LogPlace>, StoreError> {
    let query = sqlx::query!(
        "WITH page AS (
             SELECT name, seq, oid, tree, parents FROM ref_log
             WHERE project_id = $2 AND (name, seq) > ($3, $4) ORDER BY name, seq LIMIT $5
         ), m AS (
             INSERT INTO sweep_marks (sweep_id, oid, walked)
             SELECT DISTINCT $1::uuid, o.oid, false FROM page p, unnest(ARRAY[p.oid, p.tree] || p.parents) AS o (oid)
             ON CONFLICT DO NOTHING
         )
         SELECT name, seq FROM page ORDER BY name DESC, seq DESC LIMIT 1",
        sweep.id,
        log,
        name,
        seq,
        MAX_REVISIONS,
    );
    let last = chassis::postgres::query("mark log", query.fetch_optional(db)).await?;
    Ok(last.map(|last| (last.name, last.seq)))
}

/// Stores that everything that the logs name is marked.
pub(crate) async fn set_logs_marked(db: impl PgExecutor<'_>, sweep: &Sweep) -> Result<(), StoreError> {
    let query = sqlx::query!("UPDATE store_sweeps SET logs_marked = true WHERE id = $1", sweep.id);
    chassis::postgres::query("finish logs of sweep", query.execute(db)).await?;
    Ok(())
}

/// Marks everything else that the store keeps: the heads, the conflicts, and so on.
pub(crate) async fn mark_roots(db: impl PgExecutor<'_>, sweep: &Sweep) -> Result<(), StoreError> {
    let query = sqlx::query!(
        "INSERT INTO sweep_marks (sweep_id, oid, walked) SELECT DISTINCT $1::uuid, oid, false FROM store_roots($2) AS r (oid)
         ON CONFLICT DO NOTHING",
        sweep.id,
        sweep.store.0,
    );
    chassis::postgres::query("mark roots", query.execute(db)).await?;
    Ok(())
}

/// A marked object whose links are not marked yet. `None` if the store does not have it.
pub(crate) struct Unwalked {
    pub(crate) oid: Oid,
    pub(crate) row: Option<(i16, Vec<u8>)>,
}

/// Some marked objects that are not walked.
pub(crate) async fn unwalked(db: impl PgExecutor<'_>, sweep: &Sweep) -> Result<Vec<Unwalked>, StoreError> {
    let query = sqlx::query!(
        r#"SELECT f.oid AS "oid!", f.tag AS "tag?", f.data AS "data?"
           FROM (
               SELECT w.oid, o.tag, o.data, w.place, sum(coalesce(o.size, 0)) OVER (ORDER BY w.place) AS total
               FROM (
                   SELECT q.oid, row_number() OVER (ORDER BY q.oid) AS place
                   FROM (SELECT oid FROM sweep_marks WHERE sweep_id = $1 AND NOT walked ORDER BY oid LIMIT $3) q
               ) w
               LEFT JOIN objects o ON o.store_id = $2 AND o.oid = w.oid AND o.tag & 15 IN (1, 2)
           ) f
           WHERE f.place = 1 OR f.total <= $4"#,
        sweep.id,
        sweep.store.0,
        MAX_WALKED,
        MAX_WALKED_BYTES,
    );
    let rows = chassis::postgres::query("select unwalked objects", query.fetch_all(db)).await?;
    rows.into_iter().map(|row| Ok(Unwalked { oid: Oid::from_bytes(&row.oid)?, row: row.tag.zip(row.data) })).collect()
}

/// Marks what objects name, and stores that these are walked, in one statement: no crash comes between the two.
pub(crate) async fn set_walked(db: impl PgExecutor<'_>, sweep: &Sweep, walked: &[Oid], links: &[Link]) -> Result<(), StoreError> {
    let walked: Vec<&[u8]> = walked.iter().map(Oid::as_bytes).collect();
    let oids: Vec<&[u8]> = links.iter().map(|link| link.oid.as_bytes()).collect();
    let are_files: Vec<bool> = links.iter().map(|link| link.is_file).collect();
    let query = sqlx::query!(
        "WITH m AS (
             INSERT INTO sweep_marks (sweep_id, oid, walked)
             SELECT $1, u.oid, u.walked FROM unnest($3::bytea[], $4::boolean[]) AS u (oid, walked)
             ON CONFLICT DO NOTHING
         )
         UPDATE sweep_marks SET walked = true WHERE sweep_id = $1 AND oid = ANY($2)",
        sweep.id,
        walked.as_slice() as _,
        oids.as_slice() as _,
        &are_files,
    );
    chassis::postgres::query("mark objects", query.execute(db)).await?;
    Ok(())
}

/// Some objects of the store after an id, in order, that are not marked; at least one, if there is one. Their bytes have a limit, because
/// the store is locked while they are deleted.
pub(crate) async fn unmarked(db: impl PgExecutor<'_>, sweep: &Sweep, after: Option<Oid>) -> Result<Vec<Oid>, StoreError> {
    let query = sqlx::query_scalar!(
        "SELECT u.oid FROM (
             SELECT f.oid, (sum(f.size) OVER (ORDER BY f.oid))::bigint - f.size AS before FROM (
                 SELECT o.oid, o.size::bigint AS size FROM objects o
                 WHERE o.store_id = $2 AND o.oid > $3 AND NOT EXISTS (SELECT 1 FROM sweep_marks m WHERE m.sweep_id = $1 AND m.oid = o.oid)
                 ORDER BY o.oid LIMIT $4
             ) f
         ) u WHERE u.before < $5 ORDER BY u.oid",
        sweep.id,
        sweep.store.0,
        after.as_ref().map_or(&[][..], |oid| oid.as_bytes()),
        MAX_DELETED,
        MAX_DELETED_BYTES,
    );
    let rows = chassis::postgres::query("select unmarked objects", query.fetch_all(db)).await?;
    Ok(rows.iter().map(|oid| Oid::from_bytes(oid)).collect::<Result<_, _>>()?)
}

/// Whether a sweep may delete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoreLock {
    Locked,
    /// The sweep has ended, or the store is gone.
    Ended,
    /// Somebody writes objects before their revision.
    InUse,
}

/// Locks the store until the end of the transaction: no save writes to it, and no lease begins.
pub(crate) async fn lock_store(tx: &mut Connection, sweep: &Sweep) -> Result<StoreLock, StoreError> {
    // A save takes this lock shared, before it inserts its objects.
    let saves = sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('store ' || $1::uuid::text, 0))", sweep.store.0);
    chassis::postgres::query("lock saves of store", saves.execute(&mut *tx)).await?;
    // Before any object, as a purge does. A new lease locks the row as well.
    let row = sqlx::query!("SELECT id FROM stores WHERE id = $1 FOR UPDATE", sweep.store.0);
    chassis::postgres::query("lock store", row.fetch_optional(&mut *tx)).await?;
    let state = sqlx::query_scalar!("SELECT id FROM store_sweeps WHERE id = $1 AND logs_marked FOR UPDATE", sweep.id);
    if chassis::postgres::query("lock sweep", state.fetch_optional(&mut *tx)).await?.is_none() {
        return Ok(StoreLock::Ended);
    }
    // An expired lease counts as well: its renewal may be on the way.
    let leases = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM pending_writes WHERE store_id = $1) AS "in_use!""#, sweep.store.0);
    let in_use = chassis::postgres::query("select leases of store", leases.fetch_one(&mut *tx)).await?;
    Ok(if in_use { StoreLock::InUse } else { StoreLock::Locked })
}

/// Deletes those of some objects that are not marked. Returns how many there were. The store must be locked, and every mark walked.
pub(crate) async fn delete(tx: &mut Connection, sweep: &Sweep, oids: &[Oid]) -> Result<u64, StoreError> {
    let oids: Vec<&[u8]> = oids.iter().map(Oid::as_bytes).collect();
    let query = sqlx::query_scalar!(
        r#"WITH d AS (
               DELETE FROM objects o
               WHERE o.store_id = $2 AND o.oid = ANY($3)
                 AND NOT EXISTS (SELECT 1 FROM sweep_marks m WHERE m.sweep_id = $1 AND m.oid = o.oid)
                 AND NOT EXISTS (SELECT 1 FROM sweep_marks m WHERE m.sweep_id = $1 AND NOT m.walked)
               RETURNING CASE WHEN o.tag >> 4 = 2 THEN o.size ELSE octet_length(o.data) END AS bytes
           ), s AS (
               UPDATE store_sweeps SET bytes = bytes + coalesce((SELECT sum(bytes) FROM d), 0) WHERE id = $1
           )
           SELECT count(*) AS "count!" FROM d"#,
        sweep.id,
        sweep.store.0,
        oids.as_slice() as _,
    );
    let count = chassis::postgres::query("delete unmarked objects", query.fetch_one(&mut *tx)).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Ends a sweep. What it has deleted is taken from the shares of those who wrote it without a revision. Returns the deleted bytes; `None`
/// if it has ended before.
pub(crate) async fn end(db: impl PgExecutor<'_>, sweep: &Sweep) -> Result<Option<i64>, StoreError> {
    let query = sqlx::query_scalar!(
        r#"WITH e AS (
               DELETE FROM store_sweeps WHERE id = $1 RETURNING bytes
           ), t AS (
               SELECT least(1, e.bytes / n.unused) AS part FROM e, (SELECT sum(unused) AS unused FROM store_shares WHERE store_id = $2) n
               WHERE n.unused > 0
           ), s AS (
               UPDATE store_shares SET bytes = greatest(0, bytes - floor(unused * t.part)::bigint),
                                       unused = unused - floor(unused * t.part)::bigint
               FROM t WHERE store_id = $2 AND unused > 0
           )
           SELECT bytes FROM e"#,
        sweep.id,
        sweep.store.0,
    );
    chassis::postgres::query("end sweep", query.fetch_optional(db)).await
}

/// Asks for a sweep of a store again.
pub(crate) async fn request(db: impl PgExecutor<'_>, store: StoreId) -> Result<(), StoreError> {
    let query = sqlx::query!("INSERT INTO sweep_requests (store_id) SELECT id FROM stores WHERE id = $1", store.0);
    chassis::postgres::query("request sweep", query.execute(db)).await?;
    Ok(())
}

/// Deletes some marks of sweeps that have ended. Returns how many there were.
pub(crate) async fn delete_marks(db: impl PgExecutor<'_>) -> Result<u64, StoreError> {
    let query = sqlx::query!(
        "DELETE FROM sweep_marks WHERE ctid = ANY(ARRAY(
             SELECT m.ctid FROM sweep_marks m WHERE NOT EXISTS (SELECT 1 FROM store_sweeps s WHERE s.id = m.sweep_id) LIMIT 5000))",
    );
    Ok(chassis::postgres::query("delete marks", query.execute(db)).await?.rows_affected())
}
