//! Concurrent saves, at one replica and at two.

use std::collections::BTreeSet;

use chassis::identity::Caller;
use futures::future::join_all;
use proto::project_storage::{BeginTurnRequest, DeleteProjectRequest, ListRevisionsRequest, SaveProjectRequest};

use crate::harness::{Cluster, Person, answer, reason, with_token, write};

/// Eight concurrent savers at two replicas, each with files of its own: every file and every revision is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_save_is_lost() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let (uri, _stop) = cluster.replica().await;
    let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..ann.clone() };
    let saver = |n: usize| {
        let (person, project) = (if n < 4 { ann.clone() } else { elsewhere.clone() }, project.id.clone());
        async move {
            for round in 0..5 {
                person.save(&project, vec![write(&format!("s{n}/f{round}"), "1")]).await.expect("saved");
            }
        }
    };
    join_all((0..8).map(saver)).await;
    let files: BTreeSet<_> = ann.files(&project.id).await.into_iter().collect();
    let expected = (0..8).flat_map(|n| (0..5).map(move |round| format!("s{n}/f{round}=1"))).collect();
    assert_eq!(files, expected);
    let list = ann.request(ListRevisionsRequest { project_id: project.id, page_size: 200, ..Default::default() });
    let log = answer(ann.client.clone().list_revisions(list).await).expect("a log").revisions;
    assert_eq!(log.iter().map(|r| r.number).collect::<Vec<_>>(), (1..=40).rev().collect::<Vec<_>>());
    assert!(log.windows(2).all(|pair| pair[0].parent_ids == [pair[1].id.clone()]), "one chain");
}

/// Eight saves with the same base change the same file: one succeeds, and the others fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_saves_of_a_file_succeeds() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let base = ann.save(&project.id, vec![write("a", "0")]).await.expect("saved").revision.expect("a revision").id;
    let save = |n: usize| {
        let request = SaveProjectRequest {
            project_id: project.id.clone(),
            base_revision: base.clone(),
            changes: vec![write("a", &format!("by {n}")), write(&format!("own{n}"), "1")],
            ..Default::default()
        };
        let ann = ann.clone();
        async move { (n, ann.send(request).await) }
    };
    let results = join_all((0..8).map(save)).await;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(|(_, result)| result.is_ok());
    assert_eq!((won.len(), lost.len()), (1, 7));
    for (_, result) in lost {
        assert_eq!(reason(result), "STALE_REVISION");
    }
    assert_eq!(ann.files(&project.id).await, [format!("a=by {}", won[0].0), format!("own{}=1", won[0].0)]);
}

/// Concurrent saves and turns of one draft id create one project.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_becomes_one_project() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let save = |n: usize| {
        let changes = vec![write(&format!("f{n}"), "1")];
        let (ann, request) = (ann.clone(), SaveProjectRequest { draft_id: "draft".into(), changes, ..Default::default() });
        async move { ann.send(request).await.expect("saved").project.expect("a project").id }
    };
    let turn = |_| {
        let message = BeginTurnRequest {
            turn_id: proto::id::TurnId::generate().to_string(),
            draft_id: "draft".into(),
            prompt: "a clock".into(),
            ..Default::default()
        };
        let (mut agent, request) = (cluster.agent(), with_token(message, &ann.token));
        async move { answer(agent.begin_turn(request).await).expect("begun").project_id }
    };
    let (saved, begun) = tokio::join!(join_all((0..6).map(save)), join_all((0..6).map(turn)));
    let ids: BTreeSet<_> = saved.into_iter().chain(begun).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(ann.files(ids.first().expect("one")).await.len(), 6);
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 1);
    assert_eq!(cluster.rows_of_projects("stores").await, 1);
    assert_eq!(cluster.count("SELECT count(*) FROM messages").await, 6);
}

/// Concurrent repeats of a request make one save.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_served_once() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for (draft, request_id) in [("", "r1"), ("fresh", "r2")] {
        let project = ann.create().await;
        let request = SaveProjectRequest {
            project_id: if draft.is_empty() { project.id.clone() } else { String::new() },
            draft_id: draft.into(),
            changes: vec![crate::harness::create("a", "1")],
            request_id: request_id.into(),
            ..Default::default()
        };
        let results = join_all((0..8).map(|_| ann.send(request.clone()))).await;
        let revisions: BTreeSet<_> = results.into_iter().map(|r| r.expect("saved").revision.expect("a revision").id).collect();
        assert_eq!(revisions.len(), 1);
    }
    assert_eq!(cluster.count("SELECT count(*) FROM ref_log").await, 2);
}

/// Every save that runs beside a deletion returns, and a purge leaves no rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_concurrent_saves() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for purge in [true, false] {
        let project = ann.create().await;
        let saver = |n: usize| {
            let (ann, project) = (ann.clone(), project.id.clone());
            async move {
                let mut round = 0;
                loop {
                    round += 1;
                    match ann.save(&project, vec![write(&format!("s{n}"), &round.to_string())]).await {
                        Ok(_) => {}
                        Err(fault) => return fault.reason,
                    }
                }
            }
        };
        let delete = async {
            chassis::testing::eventually(std::time::Duration::from_secs(20), async || {
                (cluster.count("SELECT count(*) FROM ref_log").await > 10).then_some(())
            })
            .await;
            let request = DeleteProjectRequest { project_id: project.id.clone(), purge, ..Default::default() };
            answer(ann.client.clone().delete_project(ann.request(request)).await).expect("deleted");
        };
        let (reasons, ()) = tokio::join!(join_all((0..4).map(saver)), delete);
        assert_eq!(reasons, ["PROJECT_NOT_FOUND"; 4]);
        if purge {
            assert_eq!(cluster.rows_of_projects("objects").await, 0);
            assert_eq!(cluster.count("SELECT count(*) FROM ref_log").await, 0);
        }
    }
}
