//! Making, finding, renaming and removing projects; whose they are.

use chassis::identity::Caller;
use proto::{
    error::ErrorCode,
    id::ProjectId,
    project_storage::{
        CreatePreviewRequest, CreateProjectRequest, DeleteProjectRequest, GetFileRequest, GetProjectRequest, ListFilesRequest,
        ListMessagesRequest, ListProjectsRequest, ListRevisionsRequest, UpdateProjectRequest,
    },
};

use crate::harness::{Cluster, Person, answer, reason, write};

#[tokio::test]
async fn a_project_is_made_once_per_draft() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let make = |name: &str, draft: &str| {
        let request = ann.request(CreateProjectRequest { display_name: name.into(), draft_id: draft.into(), ..Default::default() });
        let mut client = ann.client.clone();
        async move { answer(client.create_project(request).await).map(|r| r.project.expect("a project")) }
    };
    let first = make("  A shop ", "d-1").await.expect("made");
    assert_eq!((first.display_name.as_str(), first.draft_id.as_str(), first.owner_id.clone()), ("A shop", "d-1", ann.id.to_string()));
    assert_eq!((first.head_revision.as_str(), first.head_number, first.etag.len()), ("", 0, 34));
    assert_eq!(first.limits.expect("limits").file_bytes, 51_200);
    assert_eq!(make("Another", "d-1").await.expect("found"), first);
    assert_eq!(make("", "").await.expect("made").display_name, "Untitled");
    assert_ne!(make("", "").await.expect("made").id, make("", "").await.expect("made").id);
    // Draft ids are per owner.
    let bob = cluster.person();
    let request = bob.request(CreateProjectRequest { draft_id: "d-1".into(), ..Default::default() });
    assert_ne!(answer(bob.client.clone().create_project(request).await).expect("made").project.expect("a project").id, first.id);
    // A refused request names its fields.
    let fault = make(&"x".repeat(121), "a b").await.expect_err("refused");
    let fields: Vec<_> = fault.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!((fault.reason.as_str(), fields), ("INVALID_FIELD", vec!["display_name", "draft_id"]));
    assert!(make(&"ü".repeat(120), "").await.is_ok());
    for name in ["a\0b", "a\nb", "a\u{1b}[2J", "a\u{85}b", "a\u{2029}b", "a\u{202e}b", "\u{2066}b", "b\u{61c}"] {
        let fault = make(name, "").await.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "display_name"), "{name:?}");
    }
}

#[tokio::test]
async fn a_project_can_be_renamed_and_removed() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let other = ann.create().await;
    ann.save(&project.id, vec![write("a", "1")]).await.expect("saved");
    ann.save(&other.id, vec![write("a", "1")]).await.expect("saved");
    let rename = |name: &str| {
        let request = ann.request(UpdateProjectRequest { project_id: project.id.clone(), display_name: name.into(), ..Default::default() });
        let mut client = ann.client.clone();
        async move { answer(client.update_project(request).await).map(|r| r.project.expect("a project").display_name) }
    };
    assert_eq!(rename("Shop").await.expect("renamed"), "Shop");
    for name in [" ", "a\nb", "a\u{202e}b"] {
        assert_eq!(reason(rename(name).await), "INVALID_FIELD", "{name:?}");
    }

    let remove = || answer_delete(&ann, &project.id);
    remove().await.expect("removed");
    assert_eq!(reason(remove().await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(ann.load(&project.id).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(ann.save(&project.id, vec![write("b", "1")]).await), "PROJECT_NOT_FOUND");
    assert_eq!(ann.files(&other.id).await, ["a=1"], "another project with the same content stays");
    // Blob, tree and commit of the other project, and no more.
    assert_eq!(cluster.count("SELECT count(*) FROM objects").await, 3);
    assert_eq!(cluster.count("SELECT count(*) FROM stores").await, 1);
    assert_eq!(cluster.count("SELECT count(*) FROM ref_log").await, 1);
}

async fn answer_delete(person: &Person, project: &str) -> Result<(), Box<proto::error::Fault>> {
    let request = person.request(DeleteProjectRequest { project_id: project.into(), ..Default::default() });
    answer(person.client.clone().delete_project(request).await).map(drop)
}

/// Every RPC on a project, by somebody without a right: what it answers is what it answers for no project at all.
#[tokio::test]
async fn another_persons_project_looks_absent() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await;
    ann.save(&project.id, vec![write("a", "secret")]).await.expect("saved");
    for id in [project.id.clone(), ProjectId::generate().to_string()] {
        let mut client = bob.client.clone();
        let p = || id.clone();
        let faults = [
            answer(client.get_project(bob.request(GetProjectRequest { project_id: p() })).await).map(drop),
            answer(
                client
                    .update_project(bob.request(UpdateProjectRequest { project_id: p(), display_name: "x".into(), ..Default::default() }))
                    .await,
            )
            .map(drop),
            answer_delete(&bob, &id).await,
            bob.save(&id, vec![write("a", "2")]).await.map(drop),
            bob.load(&id).await.map(drop),
            answer(client.list_files(bob.request(ListFilesRequest { project_id: p(), ..Default::default() })).await).map(drop),
            answer(client.get_file(bob.request(GetFileRequest { project_id: p(), path: "a".into(), ..Default::default() })).await)
                .map(drop),
            answer(client.list_revisions(bob.request(ListRevisionsRequest { project_id: p(), ..Default::default() })).await).map(drop),
            answer(client.list_messages(bob.request(ListMessagesRequest { project_id: p(), ..Default::default() })).await).map(drop),
            answer(client.create_preview(bob.request(CreatePreviewRequest { project_id: p(), ..Default::default() })).await).map(drop),
        ];
        for (n, fault) in faults.into_iter().enumerate() {
            let fault = fault.expect_err("refused");
            assert_eq!(
                (fault.code, fault.reason.as_str(), fault.message.as_str()),
                (ErrorCode::NotFound, "PROJECT_NOT_FOUND", "no such project"),
                "{n}"
            );
        }
    }
    let list = answer(bob.client.clone().list_projects(bob.request(ListProjectsRequest::default())).await).expect("a list");
    assert!(list.projects.is_empty());
}

/// A member with a lower role is told that the role is missing, not that the project is.
#[tokio::test]
async fn a_role_is_checked_each_time() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await;
    ann.save(&project.id, vec![write("a", "1")]).await.expect("saved");
    let role = |role: i16| {
        sqlx::query(
            "INSERT INTO members (project_id, user_id, role) SELECT id, $1, $2 FROM projects ON CONFLICT (project_id, user_id) DO UPDATE SET role = $2",
        )
        .bind(bob.id.0)
        .bind(role)
        .execute(&cluster.database.pool)
    };
    role(1).await.expect("a viewer");
    assert_eq!(bob.files(&project.id).await, ["a=1"]);
    assert_eq!(reason(bob.save(&project.id, vec![write("a", "2")]).await), "ROLE_REQUIRED");
    assert_eq!(reason(answer_delete(&bob, &project.id).await), "ROLE_REQUIRED");
    role(2).await.expect("an editor");
    bob.save(&project.id, vec![write("a", "2")]).await.expect("saved");
    assert_eq!(reason(answer_delete(&bob, &project.id).await), "ROLE_REQUIRED");
    sqlx::query("DELETE FROM members WHERE user_id = $1").bind(bob.id.0).execute(&cluster.database.pool).await.expect("gone");
    assert_eq!(reason(bob.load(&project.id).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn an_id_opens_nothing_outside_its_project() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (mine, theirs) = (ann.create().await, bob.create().await);
    let saved = bob.save(&theirs.id, vec![write("a", "secret")]).await.expect("saved").revision.expect("a revision");
    ann.save(&mine.id, vec![write("a", "1")]).await.expect("saved");
    assert_eq!(reason(ann.load_at(&mine.id, &saved.id).await), "REVISION_NOT_FOUND");
    assert_eq!(reason(ann.load_at(&mine.id, "not a revision").await), "INVALID_FIELD");
    let file = |revision: &str, path: &str| {
        let request = ann.request(GetFileRequest { project_id: mine.id.clone(), path: path.into(), revision: revision.into() });
        let mut client = cluster.client(Caller::Gateway);
        async move { answer(client.get_file(request).await) }
    };
    assert_eq!(reason(file(&saved.id, "a").await), "REVISION_NOT_FOUND");
    assert_eq!(reason(file("", "b").await), "FILE_NOT_FOUND");
    assert_eq!(reason(file("", "../a").await), "INVALID_PATH");
    assert_eq!(file("", "a").await.expect("a file").file.expect("a file").size_bytes, 1);
}
