//! The sweep of objects that nothing reaches, and that it takes nothing else.

use std::time::Duration;

use chassis::{identity::Caller, task, testing::eventually};
use project_storage::testing::{StoreId, blob, blob_id, sweep_one};
use proto::project_storage::{DeleteProjectRequest, ListRevisionsRequest, RestoreRevisionRequest, Take};
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    conflicts::Conflict,
    files::{pattern, upload},
    harness::{Cluster, Person, answer, rename, write},
    reverts::of,
};

const LIMIT: Duration = Duration::from_secs(60);

async fn sweep(cluster: &Cluster) {
    while sweep_one(&cluster.database.pool, Duration::ZERO, &CancellationToken::new()).await.expect("swept") {}
    assert_eq!(cluster.count("SELECT (SELECT count(*) FROM store_sweeps) + (SELECT count(*) FROM sweep_marks)").await, 0);
}

async fn store_of(cluster: &Cluster, project: &str) -> StoreId {
    let id: Uuid = project.parse().expect("an id");
    let store = sqlx::query_scalar("SELECT store_id FROM projects WHERE id = $1").bind(id).fetch_one(&cluster.database.pool).await;
    StoreId(store.expect("a store"))
}

async fn request(cluster: &Cluster, store: StoreId) {
    let insert = sqlx::query("INSERT INTO sweep_requests (store_id) VALUES ($1)").bind(store.0);
    insert.execute(&cluster.database.pool).await.expect("requested");
}

/// Writes a content that no revision has, if the store does not have it, and asks for a sweep.
async fn orphan(cluster: &Cluster, store: StoreId, content: &[u8]) {
    let object = blob(blob_id(content).expect("an id"), content);
    let sql = "INSERT INTO objects (store_id, oid, tag, size, data) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let insert =
        sqlx::query(sql).bind(store.0).bind(object.oid.as_bytes().to_vec()).bind(object.tag).bind(object.size).bind(object.data.to_vec());
    insert.execute(&cluster.database.pool).await.expect("inserted");
    request(cluster, store).await;
}

/// Loads every revision of a project at a replica that has nothing in its cache. Returns how many there are.
async fn load_all(cluster: &Cluster, person: &Person, project: &str) -> usize {
    let (uri, _stop) = cluster.replica().await;
    let person = Person { client: cluster.client_at(Caller::Gateway, &uri), ..person.clone() };
    let list = person.request(ListRevisionsRequest { project_id: project.into(), page_size: 200, ..Default::default() });
    let log = answer(person.client.clone().list_revisions(list).await).expect("a log").revisions;
    for revision in &log {
        let loaded = person.load_at(project, &revision.id).await.expect("complete");
        assert_eq!(Some(u32::try_from(loaded.files.len()).expect("few")), revision.file_count.or(Some(0)), "{}", revision.number);
    }
    log.len()
}

/// Objects of projects, without those of templates.
const OBJECTS: &str = "SELECT count(*) FROM objects WHERE store_id NOT IN (SELECT store_id FROM templates)";
/// What is counted and not stored.
const MISCOUNTED: &str = "SELECT ((SELECT sum(bytes) FROM stores) - (SELECT sum(octet_length(data)) FROM objects)
                          - (SELECT coalesce(sum(octet_length(data)), 0) FROM chunks))::bigint";

#[tokio::test]
async fn what_a_project_has_ever_had_is_kept() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.edit(&project, vec![write("a/b/c.txt", "1\n"), write("d", "same")]).await;
    let second = ann.edit(&project, vec![write("a/b/c.txt", "2\n"), rename("d", "e/d")]).await;
    upload(&ann, &project, "e/large.bin", &pattern(600_000)).await.expect("uploaded");
    ann.edit(&project, vec![write("a/b/c.txt", "3\n")]).await;
    // A conflict that is open, and one that was resolved.
    let open = ann.revert(of(&project, &second)).await.expect("a conflict").conflict_id;
    let turn = Conflict::start(&cluster).await;
    turn.ann.take(&turn.project, &turn.turn.id, Take::Turn).await.expect("resolved");
    let late = Conflict::start(&cluster).await;
    sqlx::query("UPDATE refs SET expires_at = now() - interval '1 second' WHERE project_id = $1 AND expires_at IS NOT NULL")
        .bind(late.project.parse::<Uuid>().expect("an id"))
        .execute(&cluster.database.pool)
        .await
        .expect("expired");
    sqlx::query("DELETE FROM refs WHERE expires_at < now()").execute(&cluster.database.pool).await.expect("as the sweep of rows");
    assert_eq!(cluster.count("SELECT count(*) FROM sweep_requests").await, 1);

    let before = cluster.count(OBJECTS).await;
    for project in [&project, &turn.project, &late.project] {
        let store = store_of(&cluster, project).await;
        orphan(&cluster, store, b"nobody has this").await;
    }
    sweep(&cluster).await;
    assert_eq!(cluster.count(OBJECTS).await, before);
    assert_eq!(cluster.count(MISCOUNTED).await, 0);
    assert_eq!(load_all(&cluster, &ann, &project).await, 4);
    assert_eq!(load_all(&cluster, &turn.ann, &turn.project).await, 3);
    assert_eq!(load_all(&cluster, &late.ann, &late.project).await, 2);
    assert!(ann.conflict(&project, &open).await.expect("open").files.iter().any(|file| file.path == "a/b/c.txt"));
    // The commit of the turn is there after its branch.
    let commits = cluster.count("SELECT count(*) FROM turns t JOIN objects o ON o.oid = t.revision WHERE t.state = 4").await;
    assert_eq!(commits, 2);
    ann.take(&project, &open, Take::Turn).await.expect("resolved");
    let fork = ann.fork(&project, &first).await.expect("forked");
    sweep(&cluster).await;
    assert_eq!((load_all(&cluster, &ann, &project).await, load_all(&cluster, &ann, &fork.id).await), (5, 1));
}

#[tokio::test]
async fn what_only_a_purged_project_had_is_deleted() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.edit(&project, vec![write("a", "1")]).await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    ann.edit(&fork, vec![write("b", "2")]).await;
    let before = cluster.count(OBJECTS).await;
    ann.edit(&project, vec![write("c", "3")]).await;
    upload(&ann, &project, "large.bin", &pattern(600_000)).await.expect("uploaded");
    let purge = ann.request(DeleteProjectRequest { project_id: project, purge: true, ..Default::default() });
    answer(ann.client.clone().delete_project(purge).await).expect("purged");
    // A request that is not old enough waits.
    assert!(!sweep_one(&cluster.database.pool, Duration::from_secs(3600), &CancellationToken::new()).await.expect("nothing to do"));
    assert!(cluster.count(OBJECTS).await > before);
    sweep(&cluster).await;
    assert_eq!(cluster.count(OBJECTS).await, before);
    assert_eq!(cluster.count("SELECT count(*) FROM chunks").await, 0);
    assert_eq!(cluster.count(MISCOUNTED).await, 0);
    assert_eq!(load_all(&cluster, &ann, &fork).await, 2);
}

#[tokio::test]
async fn a_store_that_is_written_to_is_passed_by() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.edit(&project, vec![write("a", "1")]).await;
    let store = store_of(&cluster, &project).await;
    orphan(&cluster, store, b"part of an upload").await;
    let before = cluster.count(OBJECTS).await;
    // Expired, but its renewal may be on the way.
    let lease = "INSERT INTO pending_writes (id, store_id, expires_at) VALUES (gen_random_uuid(), $1, now() - interval '1 second')";
    sqlx::query(lease).bind(store.0).execute(&cluster.database.pool).await.expect("a lease");
    sweep(&cluster).await;
    assert_eq!((cluster.count(OBJECTS).await, cluster.count("SELECT count(*) FROM sweep_requests").await), (before, 1));
    sqlx::query("DELETE FROM pending_writes").execute(&cluster.database.pool).await.expect("ended");
    sweep(&cluster).await;
    assert_eq!(cluster.count(OBJECTS).await, before - 1);
}

/// A connection in a transaction of its own.
pub(crate) async fn transaction(cluster: &Cluster) -> PgConnection {
    let mut db = PgConnection::connect(&cluster.database.url).await.expect("a connection");
    sqlx::query("BEGIN").execute(&mut db).await.expect("begun");
    db
}

pub(crate) async fn end(mut db: PgConnection) {
    sqlx::query("COMMIT").execute(&mut db).await.expect("committed");
}

/// Waits until so many connections wait for a lock of this kind.
pub(crate) async fn waits(cluster: &Cluster, kind: &'static str, count: i64) {
    eventually(LIMIT, || async move {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = $1";
        let waiting: i64 = sqlx::query_scalar(sql).bind(kind).fetch_one(&cluster.database.pool).await.expect("a count");
        (waiting == count).then_some(())
    })
    .await;
}

/// A save finds a content that nothing reaches, and has not ended when the sweep comes: the sweep waits, and keeps the content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_waits_for_a_save_that_uses_an_orphan() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let store = store_of(&cluster, &project).await;
    orphan(&cluster, store, b"found again").await;
    let mut saving = transaction(&cluster).await;
    cluster.write_first_in(&mut saving, &ann, &project, &[("a", b"found again")]).await;
    let pool = cluster.database.pool.clone();
    let sweeping = task::spawn(async move { sweep_one(&pool, Duration::ZERO, &CancellationToken::new()).await });
    waits(&cluster, "advisory", 1).await;
    end(saving).await;
    assert!(sweeping.await.expect("ended").expect("swept"));
    sweep(&cluster).await;
    assert_eq!(load_all(&cluster, &ann, &project).await, 1);
    assert_eq!(cluster.count(OBJECTS).await, 3);
}

/// A save comes while a sweep deletes the content that it uses: the save waits, and writes the content again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_waits_for_a_sweep_that_deletes_what_it_uses() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let store = store_of(&cluster, &project).await;
    orphan(&cluster, store, b"found again").await;
    // The sweep has the lock, and waits for the row of the store.
    let mut holding = transaction(&cluster).await;
    sqlx::query("SELECT id FROM stores WHERE id = $1 FOR NO KEY UPDATE").bind(store.0).execute(&mut holding).await.expect("locked");
    let pool = cluster.database.pool.clone();
    let sweeping = task::spawn(async move { sweep_one(&pool, Duration::ZERO, &CancellationToken::new()).await });
    waits(&cluster, "transactionid", 1).await;
    let saving = task::spawn({
        let (ann, project) = (ann.clone(), project.clone());
        async move { ann.save(&project, vec![write("a", "found again")]).await }
    });
    waits(&cluster, "advisory", 1).await;
    end(holding).await;
    assert!(sweeping.await.expect("ended").expect("swept"));
    saving.await.expect("ended").expect("saved");
    assert_eq!(load_all(&cluster, &ann, &project).await, 1);
    assert_eq!(cluster.count(OBJECTS).await, 3);
}

/// The sweep of one store fails again and again: the others go on, and its own is repeated later.
#[tokio::test]
async fn a_store_that_fails_does_not_stop_the_others() {
    let cluster = Cluster::start().await;
    let (ann, pool) = (cluster.person(), &cluster.database.pool);
    let (bad, good) = (ann.create().await.id, ann.create().await.id);
    let (bad, good) = (store_of(&cluster, &bad).await, store_of(&cluster, &good).await);
    orphan(&cluster, bad, b"one").await;
    orphan(&cluster, good, b"two").await;
    for code in ["22012", "57014"] {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF OLD.store_id = '{}' THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END IF;
                 RETURN OLD;
             END $$",
            bad.0
        );
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect("a function");
        if code == "22012" {
            let sql = "CREATE TRIGGER fail BEFORE DELETE ON objects FOR EACH ROW EXECUTE FUNCTION fail()";
            sqlx::query(sql).execute(pool).await.expect("a trigger");
        } else {
            orphan(&cluster, good, b"two").await;
        }
        // One sweep of each.
        for _ in 0..2 {
            assert!(sweep_one(pool, Duration::ZERO, &CancellationToken::new()).await.expect("postponed or done"));
        }
        assert_eq!(cluster.count(OBJECTS).await, 1, "{code}");
        assert_eq!(cluster.count("SELECT count(*) FROM store_sweeps").await, 0, "{code}");
    }
    sqlx::query("DROP TRIGGER fail ON objects").execute(pool).await.expect("no trigger");
    sweep(&cluster).await;
    assert_eq!(cluster.count(OBJECTS).await, 0);
}

/// Every second deletion fails. A sweep counts failures in a row, so it ends.
#[tokio::test]
async fn a_sweep_with_many_separate_failures_ends() {
    let cluster = Cluster::start().await;
    let (ann, pool) = (cluster.person(), &cluster.database.pool);
    let store = store_of(&cluster, &ann.create().await.id).await;
    orphan(&cluster, store, b"one").await;
    // Six batches.
    let more = "INSERT INTO objects (store_id, oid, tag, size, data)
                SELECT store_id, substring(sha256(n::text::bytea) FOR 20), tag, size, data FROM objects, generate_series(1, 2600) n
                WHERE store_id = $1";
    sqlx::query(more).bind(store.0).execute(pool).await.expect("objects");
    for sql in [
        "CREATE SEQUENCE attempts",
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('attempts') % 2 = 1 THEN RAISE EXCEPTION 'refused' USING ERRCODE = '57014'; END IF;
             RETURN NULL;
         END $$",
        "CREATE TRIGGER fail BEFORE DELETE ON objects FOR EACH STATEMENT EXECUTE FUNCTION fail()",
    ] {
        sqlx::query(sql).execute(pool).await.expect("a trigger");
    }
    assert!(sweep_one(pool, Duration::ZERO, &CancellationToken::new()).await.expect("swept"));
    assert_eq!(cluster.count(OBJECTS).await, 0);
}

/// A process that stops gives its sweep back at once, and another one continues.
#[tokio::test]
async fn a_process_that_stops_leaves_its_sweep_to_others() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.edit(&project, vec![write("a/b", "1")]).await;
    orphan(&cluster, store_of(&cluster, &project).await, b"one").await;
    let before = cluster.count(OBJECTS).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    assert!(!sweep_one(&cluster.database.pool, Duration::ZERO, &stopped).await.expect("left"));
    assert_eq!(cluster.count("SELECT count(*) FROM store_sweeps WHERE claimed_until < now()").await, 1, "begun and not claimed");
    assert_eq!(cluster.count(OBJECTS).await, before);
    sweep(&cluster).await;
    assert_eq!(cluster.count(OBJECTS).await, before - 1);
}

/// Another process continues a sweep that was left in the middle, with everything that was saved meanwhile.
#[tokio::test]
async fn a_sweep_is_continued() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.edit(&project, vec![write("a/b", "1")]).await;
    let store = store_of(&cluster, &project).await;
    for content in [&b"one"[..], b"two"] {
        orphan(&cluster, store, content).await;
    }
    // As a process leaves it that ended after the logs: with marks that are not walked, and with its claim.
    let begin = "WITH s AS (INSERT INTO store_sweeps (id, store_id, claimed_until, logs_marked)
                            VALUES (gen_random_uuid(), $1, now() + interval '1 hour', true) RETURNING id)
                 INSERT INTO sweep_marks SELECT s.id, l.oid, false FROM s, ref_log l";
    sqlx::query(begin).bind(store.0).execute(&cluster.database.pool).await.expect("begun");
    let before = cluster.count(OBJECTS).await;
    assert!(!sweep_one(&cluster.database.pool, Duration::ZERO, &CancellationToken::new()).await.expect("nothing to do"), "it is claimed");
    assert_eq!(cluster.count(OBJECTS).await, before);
    ann.edit(&project, vec![write("a/c", "two")]).await;
    sqlx::query("UPDATE store_sweeps SET claimed_until = now()").execute(&cluster.database.pool).await.expect("expired");
    sweep(&cluster).await;
    assert_eq!(load_all(&cluster, &ann, &project).await, 2);
    assert_eq!(cluster.count(OBJECTS).await, 8, "two commits, two folders of each, and two contents");
}

#[tokio::test]
async fn what_a_fork_of_a_stranger_leaves_is_no_burden() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_BYTES", "1000000")]).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    ann.edit(&project, vec![write("a", "1")]).await;
    cluster.join(&bob, 1).await;
    let fork = bob.fork(&project, "").await.expect("forked").id;
    upload(&bob, &fork, "a", &pattern(500_000)).await.expect("fits");
    // Ann's account does not count it, and Bob's does.
    upload(&ann, &project, "b", &pattern(800_000)).await.expect("fits");
    let refused = upload(&bob, &fork, "b", &pattern(600_000)).await.expect_err("his account is full");
    assert_eq!(refused.reason, "ACCOUNT_TOO_LARGE");
    // What an upload has left that ended without a revision is his until the sweep.
    let left = "UPDATE store_shares SET unused = bytes";
    sqlx::query(left).execute(&cluster.database.pool).await.expect("as after the end of a lease");
    let purge = bob.request(DeleteProjectRequest { project_id: fork, purge: true, ..Default::default() });
    answer(bob.client.clone().delete_project(purge).await).expect("purged");
    sweep(&cluster).await;
    assert_eq!(cluster.count("SELECT bytes FROM store_shares").await, 0);
    assert_eq!(cluster.count(MISCOUNTED).await, 0);
    assert_eq!(load_all(&cluster, &ann, &project).await, 2);
}

/// Saves, uploads, restores, forks and purges of one family run beside sweeps without a pause, at two replicas, with contents that come and
/// go. Every revision is complete, and what is counted is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeps_beside_everything_take_nothing_that_is_used() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.edit(&project, vec![write("a", "0"), write("d/b", "0")]).await;
    let store = store_of(&cluster, &project).await;
    let (uri, _stop) = cluster.replica().await;
    let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..ann.clone() };

    let saves = async {
        for round in 0..25 {
            // The contents of orphans, and of the forks that are purged.
            let person = if round % 2 == 0 { &ann } else { &elsewhere };
            let changes =
                vec![write("a", &format!("shared {}", round % 5)), write(&format!("d/{}", round % 3), &format!("fork {}", round % 4))];
            person.save(&project, changes).await.expect("saved");
        }
    };
    let forks = async {
        for round in 0..12 {
            let fork = elsewhere.fork(&project, "").await.expect("forked").id;
            elsewhere.edit(&fork, vec![write("own", &format!("fork {}", round % 4)), write("d/x", &format!("shared {}", round % 5))]).await;
            let purge = ann.request(DeleteProjectRequest { project_id: fork, purge: true, ..Default::default() });
            answer(ann.client.clone().delete_project(purge).await).expect("purged");
        }
    };
    let uploads = async {
        for round in 0..8_usize {
            upload(&elsewhere, &project, "large.bin", &pattern(300_000 + round % 2)).await.expect("uploaded");
            let request = RestoreRevisionRequest { project_id: project.clone(), revision: first.clone(), ..Default::default() };
            answer(ann.client.clone().restore_revision(ann.request(request)).await).expect("restored");
        }
    };
    let sweeps = async {
        for round in 0..60 {
            orphan(&cluster, store, format!("shared {}", round % 5).as_bytes()).await;
            sweep_one(&cluster.database.pool, Duration::ZERO, &CancellationToken::new()).await.expect("swept");
        }
    };
    tokio::join!(saves, forks, uploads, sweeps);
    request(&cluster, store).await;
    sweep(&cluster).await;
    assert!(load_all(&cluster, &ann, &project).await > 25);
    assert_eq!(cluster.count(MISCOUNTED).await, 0);
    // Nothing is left but what the log reaches: a second sweep finds nothing.
    let before = cluster.count(OBJECTS).await;
    request(&cluster, store).await;
    sweep(&cluster).await;
    assert_eq!(cluster.count(OBJECTS).await, before);
}
