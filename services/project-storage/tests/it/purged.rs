//! Reads of a project that is purged between the look-up of the project and the read of its files.

use std::time::Duration;

use chassis::task;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use proto::{
    error::Fault,
    project_storage::{
        BlameFileRequest, CommitOutcome, DiffRevisionsRequest, DownloadFileRequest, ExportProjectRequest, GetConflictRequest,
        GetFileRequest, ListFileRevisionsRequest, ListFilesRequest, LoadProjectRequest, ReadFilesRequest, ResolveConflictRequest,
        RevertRevisionRequest, SaveProjectRequest, SearchFilesRequest,
    },
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    garbage::{end, transaction, waits},
    harness::{Cluster, Person, Turn, answer, commit, delete, reason, without_user, write},
};

type Outcome = Result<(), Box<Fault>>;
type Read = fn(Person, String) -> BoxFuture<'static, Outcome>;

/// A read with one request and one answer.
macro_rules! read {
    ($rpc:ident, $request:ident { $($field:ident: $value:expr),* }) => {
        (|person: Person, project: String| {
            async move {
                let request = $request { project_id: project, $($field: $value.into(),)* ..Default::default() };
                answer(person.client.clone().$rpc(person.request(request)).await).map(drop)
            }
            .boxed()
        }) as Read
    };
}

/// A read whose answer is a stream. The error comes before the stream or in it.
macro_rules! stream {
    ($rpc:ident, $request:ident { $($field:ident: $value:expr),* }) => {
        (|person: Person, project: String| {
            async move {
                let request = $request { project_id: project, $($field: $value.into(),)* ..Default::default() };
                let mut parts = answer(person.client.clone().$rpc(person.request(request)).await)?;
                while let Some(part) = parts.next().await {
                    part.map_err(|status| Box::new(Fault::from_status(&status)))?;
                }
                Ok(())
            }
            .boxed()
        }) as Read
    };
}

const READS: &[(&str, Read)] = &[
    ("load", |person, project| async move { person.load(&project).await.map(drop) }.boxed()),
    ("list", read!(list_files, ListFilesRequest {})),
    ("get", read!(get_file, GetFileRequest { path: "a" })),
    ("diff", read!(diff_revisions, DiffRevisionsRequest {})),
    ("search", read!(search_files, SearchFilesRequest { query: "one" })),
    ("history of a file", read!(list_file_revisions, ListFileRevisionsRequest { path: "a" })),
    ("blame", read!(blame_file, BlameFileRequest { path: "a" })),
    ("export", stream!(export_project, ExportProjectRequest {})),
    ("read", stream!(read_files, ReadFilesRequest {})),
    ("download", stream!(download_file, DownloadFileRequest { path: "a" })),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_is_purged_during_a_read_is_not_found() {
    let cluster = Cluster::start().await;
    for (name, read) in READS {
        let ann = cluster.person();
        let project = ann.create().await.id;
        // The replica has nothing of the project in its cache.
        cluster.write_first(&ann, &project, &[("a", b"one\ntwo\n")]).await;
        let id: Uuid = project.parse().expect("an id");
        let mut purge = transaction(&cluster).await;
        sqlx::query("LOCK TABLE objects IN ACCESS EXCLUSIVE MODE").execute(&mut purge).await.expect("locked");
        let reading = task::spawn(read(ann.clone(), project.clone()));
        waits(&cluster, "relation", 1).await;
        // As a purge does.
        let store: Uuid =
            sqlx::query_scalar("SELECT store_id FROM projects WHERE id = $1").bind(id).fetch_one(&mut purge).await.expect(name);
        for (sql, id) in [
            ("DELETE FROM projects WHERE id = $1", id),
            ("DELETE FROM stores WHERE id = $1", store),
            ("DELETE FROM objects WHERE store_id = $1", store),
        ] {
            sqlx::query(sql).bind(id).execute(&mut purge).await.expect("deleted");
        }
        end(purge).await;
        assert_eq!(reason(reading.await.expect("ended")), "PROJECT_NOT_FOUND", "{name}");
    }
}

/// What is damaged stays an error of the service.
#[tokio::test]
async fn a_missing_object_of_a_project_that_exists_is_an_error() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    cluster.write_first(&ann, &project, &[("a", b"one\n")]).await;
    let deleted = sqlx::query("DELETE FROM objects WHERE tag & 15 = 3 AND store_id NOT IN (SELECT store_id FROM templates)");
    deleted.execute(&cluster.database.pool).await.expect("deleted");
    for (name, read) in READS.iter().filter(|(name, _)| ["load", "get", "download"].contains(name)) {
        assert_eq!(reason(read(ann.clone(), project.clone()).await), "INTERNAL", "{name}");
    }
}

/// The time limit of a request that waits for a slot.
const LIMIT: Duration = Duration::from_secs(2);

/// A load of another person's project that waits for the database and has a slot.
struct Working {
    holding: PgConnection,
    loading: tokio::task::JoinHandle<Outcome>,
}

impl Working {
    async fn start(cluster: &Cluster) -> Self {
        let bob = cluster.person();
        let project = bob.create().await.id;
        cluster.write_first(&bob, &project, &[("a", b"1")]).await;
        let mut holding = transaction(cluster).await;
        sqlx::query("LOCK TABLE objects IN ACCESS EXCLUSIVE MODE").execute(&mut holding).await.expect("locked");
        let mut request = bob.request(LoadProjectRequest { project_id: project, ..Default::default() });
        request.set_timeout(Duration::from_secs(120));
        let mut client = bob.client;
        let loading = task::spawn(async move { answer(client.load_project(request).await).map(drop) });
        waits(cluster, "relation", 1).await;
        Self { holding, loading }
    }

    async fn end(self) {
        end(self.holding).await;
        self.loading.await.expect("ended").expect("loaded");
    }
}

/// Whether the reason is that there is no slot. The wait for one and the request end at about the same time.
fn is_refusal(reason: &str) -> bool {
    ["OVERLOADED", "TIMEOUT"].contains(&reason)
}

/// A stream that has begun, and a stream that begins, while the only slot for work is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_refused_before_it_begins_or_completes() {
    let cluster = Cluster::with_settings(&[("BACKLOT_LOADS_IN_WORK", "1")]).await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let contents: Vec<(String, Vec<u8>)> = (0..400_u32).map(|n| (format!("f{n:03}"), n.to_string().repeat(20_000).into_bytes())).collect();
    let files: Vec<(&str, &[u8])> = contents.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    cluster.write_first(&ann, &project, &files).await;

    let all = || ReadFilesRequest { project_id: project.clone(), ..Default::default() };
    let mut parts = answer(ann.client.clone().read_files(ann.stream_request(all())).await).expect("opened");
    parts.next().await.expect("a message").expect("the beginning");

    let working = Working::start(&cluster).await;
    let reading = task::spawn(async move {
        let mut files = 0;
        while let Some(part) = parts.next().await {
            files += usize::from(part.map_err(|status| Box::new(Fault::from_status(&status)))?.file.is_some());
        }
        Ok::<_, Box<Fault>>(files)
    });
    let export = ExportProjectRequest { project_id: project.clone(), ..Default::default() };
    let mut refused = (ann.request(all()), ann.request(export));
    refused.0.set_timeout(LIMIT);
    refused.1.set_timeout(LIMIT);
    let (read, exported) = (ann.client.clone().read_files(refused.0).await, ann.client.clone().export_project(refused.1).await);
    assert!(is_refusal(&answer(read).map(drop).expect_err("no slot").reason));
    assert!(is_refusal(&answer(exported).map(drop).expect_err("no slot").reason));
    working.end().await;
    assert_eq!(reading.await.expect("ended").expect("complete"), 400);
}

/// A save and the commit of a turn take a slot if the head has moved. Without a merge, this save would be refused and this turn would end, and
/// neither would write objects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_and_a_turn_are_merged_with_a_slot() {
    let cluster = Cluster::with_settings(&[("BACKLOT_LOADS_IN_WORK", "1")]).await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.edit(&project, vec![write("a", "1"), write("b", "1")]).await;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "go").await.expect("begun");
    ann.edit(&project, vec![write("a", "2"), delete("b")]).await;
    let save = || SaveProjectRequest {
        project_id: project.clone(),
        base_revision: base.clone(),
        changes: vec![write("a", "3")],
        ..Default::default()
    };
    let result = turn.result(&base, vec![delete("b")]);
    let working = Working::start(&cluster).await;
    let mut request = ann.request(save());
    request.set_timeout(LIMIT);
    assert!(is_refusal(&reason(answer(ann.client.clone().save_project(request).await))));
    let mut request = without_user(result.clone());
    request.set_timeout(LIMIT);
    assert!(is_refusal(&reason(answer(turn.agent.clone().commit_turn(request).await))));
    working.end().await;
    assert_eq!(reason(ann.send(save()).await), "STALE_REVISION");
    assert_eq!(commit(&turn.agent, result).await.expect("committed").outcome(), CommitOutcome::Unchanged);
}

/// The merge of a conflict is work as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_merged_with_a_slot() {
    let cluster = Cluster::with_settings(&[("BACKLOT_LOADS_IN_WORK", "1")]).await;
    let conflict = crate::conflicts::Conflict::start(&cluster).await;
    let edited = conflict.ann.edit(&conflict.project, vec![write("k", "1")]).await;
    let revert = || RevertRevisionRequest { project_id: conflict.project.clone(), revision: edited.clone(), ..Default::default() };
    let head = conflict.ann.revert(revert()).await.expect("reverted").revision.expect("a revision").id;
    let unresolved = || ResolveConflictRequest { base_revision: head.clone(), ..conflict.request(Vec::new()) };
    conflict.ann.conflict(&conflict.project, &conflict.turn.id).await.expect("it is in the cache now");
    let working = Working::start(&cluster).await;
    let get = GetConflictRequest { project_id: conflict.project.clone(), turn_id: conflict.turn.id.clone() };
    let mut request = conflict.ann.request(get);
    request.set_timeout(LIMIT);
    assert!(is_refusal(&reason(answer(conflict.ann.client.clone().get_conflict(request).await))));
    // Without a merge, the missing choices would be refused.
    let mut request = conflict.ann.request(unresolved());
    request.set_timeout(LIMIT);
    assert!(is_refusal(&reason(answer(conflict.ann.client.clone().resolve_conflict(request).await))));
    // Without a merge, this revert would find that the change is reverted already.
    let mut request = conflict.ann.request(revert());
    request.set_timeout(LIMIT);
    assert!(is_refusal(&reason(answer(conflict.ann.client.clone().revert_revision(request).await))));
    working.end().await;
    assert_eq!(conflict.resolve(unresolved()).await.expect_err("no choices").reason, "INVALID_FIELD");
    conflict.ann.conflict(&conflict.project, &conflict.turn.id).await.expect("a slot is free");
}
