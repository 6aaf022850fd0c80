//! Creating, finding, renaming and deleting projects, and who may do it.

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
async fn a_project_is_created_once_per_draft_id() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let create = |name: &str, draft: &str| {
        let request = ann.request(CreateProjectRequest { display_name: name.into(), draft_id: draft.into(), ..Default::default() });
        let mut client = ann.client.clone();
        async move { answer(client.create_project(request).await).map(|r| r.project.expect("a project")) }
    };
    let first = create("  A shop ", "d-1").await.expect("created");
    assert_eq!((first.display_name.as_str(), first.draft_id.as_str(), first.owner_id.clone()), ("A shop", "d-1", ann.id.to_string()));
    assert_eq!((first.head_revision.as_str(), first.head_number, first.etag.len()), ("", 0, 34));
    assert_eq!(first.limits.expect("limits").file_bytes, 51_200);
    assert_eq!(create("Another", "d-1").await.expect("found"), first);
    assert_eq!(create("", "").await.expect("created").display_name, "Untitled");
    assert_ne!(create("", "").await.expect("created").id, create("", "").await.expect("created").id);
    // Each owner has draft ids of their own.
    let bob = cluster.person();
    let request = bob.request(CreateProjectRequest { draft_id: "d-1".into(), ..Default::default() });
    assert_ne!(answer(bob.client.clone().create_project(request).await).expect("created").project.expect("a project").id, first.id);
    // The error names all invalid fields.
    let fault = create(&"x".repeat(121), "a b").await.expect_err("an error");
    let fields: Vec<_> = fault.violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!((fault.reason.as_str(), fields), ("INVALID_FIELD", vec!["display_name", "draft_id"]));
    assert!(create(&"ü".repeat(120), "").await.is_ok());
    for name in ["a\0b", "a\nb", "a\u{1b}[2J", "a\u{85}b", "a\u{2029}b", "a\u{202e}b", "\u{2066}b", "b\u{61c}"] {
        let fault = create(name, "").await.expect_err("an error");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "display_name"), "{name:?}");
    }
}

#[tokio::test]
async fn a_project_can_be_renamed_and_deleted() {
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

    let delete = || delete_project(&ann, &project.id);
    delete().await.expect("deleted");
    assert_eq!(reason(delete().await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(ann.load(&project.id).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(ann.save(&project.id, vec![write("b", "1")]).await), "PROJECT_NOT_FOUND");
    assert_eq!(ann.files(&other.id).await, ["a=1"], "another project with the same content stays");
    let purge = ann.request(DeleteProjectRequest { project_id: project.id.clone(), purge: true, ..Default::default() });
    answer(ann.client.clone().delete_project(purge).await).expect("purged");
    // Only the blob, the tree and the commit of the other project are left.
    assert_eq!(cluster.count("SELECT count(*) FROM objects").await, 3);
    assert_eq!(cluster.count("SELECT count(*) FROM stores").await, 1);
    assert_eq!(cluster.count("SELECT count(*) FROM ref_log").await, 1);
}

async fn delete_project(person: &Person, project: &str) -> Result<(), Box<proto::error::Fault>> {
    let request = person.request(DeleteProjectRequest { project_id: project.into(), ..Default::default() });
    answer(person.client.clone().delete_project(request).await).map(drop)
}

/// Every RPC on a project without a role returns the same error as for a project that does not exist.
#[tokio::test]
async fn a_project_of_another_user_looks_absent() {
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
            delete_project(&bob, &id).await,
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
            let fault = fault.expect_err("an error");
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

/// A member whose role is too low gets ROLE_REQUIRED, not PROJECT_NOT_FOUND.
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
    assert_eq!(reason(delete_project(&bob, &project.id).await), "ROLE_REQUIRED");
    role(2).await.expect("an editor");
    bob.save(&project.id, vec![write("a", "2")]).await.expect("saved");
    assert_eq!(reason(delete_project(&bob, &project.id).await), "ROLE_REQUIRED");
    sqlx::query("DELETE FROM members WHERE user_id = $1").bind(bob.id.0).execute(&cluster.database.pool).await.expect("removed");
    assert_eq!(reason(bob.load(&project.id).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn a_revision_is_found_in_its_own_project_only() {
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
