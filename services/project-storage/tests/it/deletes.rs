//! Deleted projects: they look absent, can be restored for thirty days, and are purged then. Other services are told of it.

use std::time::Duration;

use chassis::{identity::Caller, testing::eventually};
use proto::{
    error::Fault,
    id::ProjectId,
    project_storage::{
        AcknowledgeDeletionsRequest, CreatePreviewRequest, DeleteProjectRequest, DeleteProjectResponse, Deletion, DeletionKind,
        GetProjectRequest, ListDeletionsRequest, ListProjectsRequest, Project, ReadPreviewFileRequest, SaveProjectRequest,
        UndeleteProjectRequest,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, commit, reason, write};

/// How long a replica may take to sweep.
const LIMIT: Duration = Duration::from_secs(60);

async fn delete(person: &Person, project: &str, purge: bool) -> Result<DeleteProjectResponse, Box<Fault>> {
    let request = DeleteProjectRequest { project_id: project.into(), purge, ..DeleteProjectRequest::default() };
    answer(person.client.clone().delete_project(person.request(request)).await)
}

async fn undelete(person: &Person, project: &str) -> Result<Project, Box<Fault>> {
    let request = person.request(UndeleteProjectRequest { project_id: project.into() });
    answer(person.client.clone().undelete_project(request).await).map(|undeleted| undeleted.project.expect("a project"))
}

async fn list(person: &Person, deleted: bool) -> Vec<Project> {
    let request = person.request(ListProjectsRequest { deleted, ..ListProjectsRequest::default() });
    answer(person.client.clone().list_projects(request).await).expect("a list").projects
}

async fn deletions(cluster: &Cluster) -> Vec<Deletion> {
    let request = tonic::Request::new(ListDeletionsRequest::default());
    answer(cluster.client(Caller::AgentStreaming).list_deletions(request).await).expect("a list").deletions
}

#[tokio::test]
async fn a_deleted_project_can_be_restored() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let save = SaveProjectRequest { draft_id: "shop".into(), changes: vec![write("a", "1")], ..SaveProjectRequest::default() };
    let project = ann.send(save.clone()).await.expect("saved").project.expect("a project");
    let members = "INSERT INTO members (project_id, user_id, role) SELECT id, $1, 2 FROM projects";
    sqlx::query(members).bind(bob.id.0).execute(&cluster.database.pool).await.expect("an editor");

    assert_eq!(reason(delete(&bob, &project.id, false).await), "ROLE_REQUIRED");
    let purge_time = delete(&ann, &project.id, false).await.expect("deleted").purge_time.expect("a time");
    for person in [&ann, &bob] {
        assert_eq!(reason(person.load(&project.id).await), "PROJECT_NOT_FOUND");
        assert_eq!(reason(person.save(&project.id, vec![write("a", "2")]).await), "PROJECT_NOT_FOUND");
        assert!(list(person, false).await.is_empty());
    }
    let [deleted] = list(&ann, true).await.try_into().expect("one project");
    assert_eq!((deleted.id.as_str(), deleted.purge_time, deleted.draft_id.as_str()), (project.id.as_str(), Some(purge_time), ""));
    assert_eq!(purge_time.seconds - deleted.delete_time.expect("a time").seconds, 30 * 24 * 3600);
    assert!(list(&bob, true).await.is_empty(), "only the owner can restore it");
    assert_eq!(reason(undelete(&bob, &project.id).await), "PROJECT_NOT_FOUND");
    assert!(deletions(&cluster).await.is_empty(), "nothing is deleted for ever");

    let restored = undelete(&ann, &project.id).await.expect("restored");
    assert_eq!((restored.draft_id.as_str(), restored.delete_time, restored.purge_time), ("shop", None, None));
    assert_eq!(restored.head_revision, project.head_revision);
    assert_eq!(undelete(&ann, &project.id).await.expect("a repeat").id, project.id);
    assert_eq!(reason(undelete(&bob, &project.id).await), "ROLE_REQUIRED");
    assert_eq!(bob.files(&project.id).await, ["a=1"]);
    assert!(list(&ann, true).await.is_empty());
}

#[tokio::test]
async fn the_draft_id_of_a_deleted_project_is_free() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let save = || SaveProjectRequest { draft_id: "shop".into(), changes: vec![write("a", "1")], ..SaveProjectRequest::default() };
    let old = ann.send(save()).await.expect("saved").project.expect("a project");
    delete(&ann, &old.id, false).await.expect("deleted");
    let new = ann.send(save()).await.expect("saved").project.expect("a project");
    assert_ne!(old.id, new.id);
    assert_eq!(undelete(&ann, &old.id).await.expect("restored").draft_id, "", "another project has it");
    delete(&ann, &old.id, false).await.expect("deleted");
    delete(&ann, &new.id, false).await.expect("deleted");
    assert_eq!(undelete(&ann, &new.id).await.expect("restored").draft_id, "shop");
}

#[tokio::test]
async fn a_turn_of_a_deleted_project_cannot_commit() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project.id, "a counter").await.expect("begun");
    delete(&ann, &project.id, false).await.expect("deleted");
    let late = || commit(&turn.agent, turn.result("", vec![write("a", "1")]));
    assert_eq!(reason(late().await), "PROJECT_NOT_FOUND");
    undelete(&ann, &project.id).await.expect("restored");
    late().await.expect("committed");
    assert_eq!(ann.files(&project.id).await, ["a=1"]);
}

#[tokio::test]
async fn a_preview_does_not_survive_a_deletion() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    ann.save(&project.id, vec![write("a", "1")]).await.expect("saved");
    let request = ann.request(CreatePreviewRequest { project_id: project.id.clone(), ..CreatePreviewRequest::default() });
    let capability = answer(ann.client.clone().create_preview(request).await).expect("a preview").capability;
    delete(&ann, &project.id, false).await.expect("deleted");
    undelete(&ann, &project.id).await.expect("restored");
    let read = tonic::Request::new(ReadPreviewFileRequest { capability, path: "a".into(), ..ReadPreviewFileRequest::default() });
    assert_eq!(reason(answer(cluster.client(Caller::Gateway).read_preview_file(read).await)), "PREVIEW_NOT_FOUND");
}

#[tokio::test]
async fn a_purged_project_is_gone_for_ever() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (live, deleted) = (ann.create().await, ann.create().await);
    for project in [&live, &deleted] {
        ann.save(&project.id, vec![write("a", "1")]).await.expect("saved");
    }
    delete(&ann, &deleted.id, false).await.expect("deleted");
    for project in [&live, &deleted] {
        assert_eq!(reason(delete(&bob, &project.id, true).await), "PROJECT_NOT_FOUND");
        assert_eq!(delete(&ann, &project.id, true).await.expect("purged").purge_time, None);
        assert_eq!(reason(delete(&ann, &project.id, true).await), "PROJECT_NOT_FOUND");
        assert_eq!(reason(undelete(&ann, &project.id).await), "PROJECT_NOT_FOUND");
    }
    let left = "SELECT (SELECT count(*) FROM projects)
        + (SELECT count(*) FROM stores WHERE id NOT IN (SELECT store_id FROM templates))
        + (SELECT count(*) FROM objects WHERE store_id NOT IN (SELECT store_id FROM templates))
        + (SELECT count(*) FROM refs) + (SELECT count(*) FROM ref_log) + (SELECT count(*) FROM members)
        + (SELECT count(*) FROM former_members)";
    assert_eq!(cluster.count(left).await, 0);

    let log = deletions(&cluster).await;
    let kinds: Vec<_> = log.iter().map(|deletion| (deletion.kind(), deletion.project_id.as_str())).collect();
    assert_eq!(kinds, [(DeletionKind::Project, live.id.as_str()), (DeletionKind::Project, deleted.id.as_str())]);
    let acknowledge = |ids: Vec<u64>| {
        let mut client = cluster.client(Caller::AgentStreaming);
        async move { answer(client.acknowledge_deletions(tonic::Request::new(AcknowledgeDeletionsRequest { ids })).await) }
    };
    acknowledge(vec![log[0].id, 1_000_000]).await.expect("acknowledged");
    assert_eq!(deletions(&cluster).await, log[1..]);
    acknowledge(vec![log[0].id, log[1].id]).await.expect("acknowledged");
    assert!(deletions(&cluster).await.is_empty());
    for ids in [vec![], vec![1; 201]] {
        assert_eq!(reason(acknowledge(ids).await), "INVALID_FIELD");
    }
}

/// A replica sweeps when it starts.
#[tokio::test]
async fn a_project_is_purged_thirty_days_after_its_deletion() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (old, recent) = (ann.create().await, ann.create().await);
    for (project, days) in [(&old, 31), (&recent, 29)] {
        delete(&ann, &project.id, false).await.expect("deleted");
        let id = project.id.parse::<ProjectId>().expect("an id").0;
        let update = "UPDATE projects SET deleted_at = now() - make_interval(days => $2) WHERE id = $1";
        sqlx::query(update).bind(id).bind(days).execute(&cluster.database.pool).await.expect("moved back");
    }
    let (_uri, _stop) = cluster.replica().await;
    let is_purged = || async { (list(&ann, true).await.len() == 1).then_some(()) };
    eventually(LIMIT, is_purged).await;
    assert_eq!(reason(undelete(&ann, &old.id).await), "PROJECT_NOT_FOUND");
    undelete(&ann, &recent.id).await.expect("restored");
    let request = ann.request(GetProjectRequest { project_id: recent.id.clone() });
    answer(ann.client.clone().get_project(request).await).expect("a project");
}
