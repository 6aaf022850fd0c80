//! The stores of the database as the rules about objects see them.

use std::{collections::BTreeMap, io::Read as _, time::Duration};

use anyhow::{Context as _, Result};
use flate2::read::ZlibDecoder;
use sqlx::{PgConnection, PgPool};
use test_support::canary::Stopwatch;
use tokio::time::sleep;

use super::check::{
    Violation,
    objects::{self, Object, Oid, Store},
};
use crate::deployment::Deployment;

const POLL: Duration = Duration::from_millis(100);
/// How a compressed content is marked.
const ZLIB: i16 = 1;
/// What a store must have, and what names it. Each row of a log is kept, also of a log whose project is gone.
const ROOTS: &str = "SELECT store_id::text, what, oid FROM (
        SELECT p.store_id, 'branch ' || r.name || ' of project ' || p.id AS what, r.oid FROM projects p JOIN refs r ON r.project_id = p.id
    UNION ALL
        SELECT l.store_id, 'revision ' || g.seq || ' of ' || g.name || ' in log ' || g.project_id, o.oid
        FROM (SELECT id AS log_id, store_id FROM projects UNION SELECT ancestor_id, store_id FROM lineage) l
        JOIN ref_log g ON g.project_id = l.log_id, unnest(ARRAY[g.oid, g.tree] || g.parents) AS o (oid)
    UNION ALL
        SELECT p.store_id, 'conflict ' || c.id, o.oid
        FROM projects p JOIN conflicts c ON c.project_id = p.id, unnest(ARRAY[c.base, c.base_tree, c.ours, c.theirs]) AS o (oid)
    UNION ALL
        SELECT p.store_id, 'merge of conflict ' || c.id, o.oid
        FROM projects p JOIN conflicts c ON c.project_id = p.id JOIN pending_merges m ON m.conflict_id = c.id,
             unnest(ARRAY[m.oid, m.tree]) AS o (oid)
    UNION ALL
        SELECT m.store_id, 'merge of revision ' || m.number || ' of ' || m.project_id, o.oid FROM merged m, unnest(ARRAY[m.oid, m.tree]) AS o (oid)
    UNION ALL
        SELECT p.store_id, 'conflicted turn ' || t.id, t.revision FROM projects p JOIN turns t ON t.project_id = p.id WHERE t.state = 4
    UNION ALL
        SELECT p.store_id, 'deployment ' || d.number || ' of ' || d.project_id, o.oid
        FROM projects p JOIN deployments d ON d.project_id = p.id, unnest(ARRAY[d.tree, d.hashed]) AS o (oid)
        UNION ALL
        SELECT t.store_id, 'template ' || t.id, v.tree FROM templates t JOIN template_versions v ON v.template_id = t.id
    ) r WHERE oid <> ''";

/// Checks that every store has what its projects and templates name.
///
/// # Errors
/// The database does not answer.
pub async fn check(deployment: &Deployment) -> Result<Vec<Violation>> {
    let stores = read(&deployment.pool("project-storage").await?).await?;
    Ok(stores.iter().flat_map(objects::check).collect())
}

/// Waits until no sweep is due, and checks that then every store has what it needs and nothing else.
///
/// # Errors
/// The database does not answer.
pub async fn check_swept(deployment: &Deployment, limit: Duration) -> Result<Vec<Violation>> {
    let pool = deployment.pool("project-storage").await?;
    let clock = Stopwatch::start();
    loop {
        let due: Vec<String> = sqlx::query_scalar(
            "SELECT store_id::text FROM (SELECT store_id FROM sweep_requests UNION SELECT store_id FROM store_sweeps
                UNION SELECT store_id FROM pending_writes) s
            WHERE EXISTS (SELECT 1 FROM projects p WHERE p.store_id = s.store_id)",
        )
        .fetch_all(&pool)
        .await?;
        if due.is_empty() {
            break;
        }
        if clock.elapsed() > limit {
            return Ok(vec![Violation { rule: "every sweep ends", turn: None, text: format!("the sweeps of the stores {due:?} are due") }]);
        }
        sleep(POLL).await;
    }
    let stores = read(&pool).await?;
    // A store without projects and templates is deleted as a whole.
    let used = stores.iter().filter(|store| !store.roots.is_empty());
    Ok(used.flat_map(|store| objects::check(store).into_iter().chain(objects::check_swept(store))).collect())
}

/// Reads all stores at one moment, because the sweeps go on.
async fn read(pool: &PgPool) -> Result<Vec<Store>> {
    let mut snapshot = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let mut stores: BTreeMap<String, Store> = BTreeMap::new();
    let roots: Vec<(String, String, Vec<u8>)> = sqlx::query_as(ROOTS).fetch_all(&mut *snapshot).await?;
    for (store, what, oid) in roots {
        stores.entry(store).or_default().roots.push((what, id(oid)?));
    }
    for (store, oid, object) in objects_of(&mut snapshot).await? {
        stores.entry(store).or_default().objects.insert(oid, object);
    }
    Ok(stores.into_iter().map(|(id, store)| Store { id, ..store }).collect())
}

type Row = (String, Vec<u8>, i16, Vec<u8>, i32);

/// All objects with the store of each, their contents checked against their ids.
async fn objects_of(snapshot: &mut PgConnection) -> Result<Vec<(String, Oid, Object)>> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT o.store_id::text, o.oid, o.tag, CASE WHEN o.tag >> 4 = 2 THEN (
                SELECT coalesce(string_agg(c.data, '' ORDER BY c.n), '') FROM chunks c
                WHERE c.store_id = o.store_id AND c.id = encode(o.data, 'hex')::uuid
            ) ELSE o.data END, o.size
        FROM objects o",
    )
    .fetch_all(snapshot)
    .await?;
    let object = |(store, oid, tag, data, size): Row| {
        let oid = id(oid)?;
        Ok((store, oid, object(&oid, tag, data, size)))
    };
    rows.into_iter().map(object).collect()
}

/// The lowest bits of `tag` are the kind of the object, the others say how its content is stored.
fn object(oid: &Oid, tag: i16, data: Vec<u8>, size: i32) -> Object {
    let content = if tag >> 4 == ZLIB {
        let mut content = Vec::new();
        match ZlibDecoder::new(data.as_slice()).read_to_end(&mut content) {
            Ok(_) => content,
            Err(error) => return Object::Damaged(format!("it cannot be decompressed: {error}")),
        }
    } else {
        data
    };
    if usize::try_from(size).ok() != Some(content.len()) {
        return Object::Damaged(format!("{} of {size} bytes are stored", content.len()));
    }
    objects::read_checked(oid, tag & 15, &content)
}

fn id(bytes: Vec<u8>) -> Result<Oid> {
    bytes.try_into().ok().context("an id of an object has 20 bytes")
}
