//! Creating, finding, renaming and deleting projects, and who may do it.

use std::collections::BTreeMap;

use chassis::identity::Caller;
use proto::{
    error::{ErrorCode, Fault},
    id::ProjectId,
    project_storage::{
        CreatePreviewRequest, CreateProjectRequest, DeleteProjectRequest, GetFileRequest, GetProjectRequest, ListFilesRequest,
        ListMessagesRequest, ListProjectsRequest, ListRevisionsRequest, Project, UpdateProjectRequest,
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

fn entries(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Person {
    async fn create_named(&self, name: &str, metadata: &[(&str, &str)]) -> Project {
        let request = CreateProjectRequest { display_name: name.into(), metadata: entries(metadata), ..Default::default() };
        answer(self.client.clone().create_project(self.request(request)).await).expect("created").project.expect("a project")
    }

    async fn update(&self, request: UpdateProjectRequest) -> Result<Project, Box<Fault>> {
        answer(self.client.clone().update_project(self.request(request)).await).map(|updated| updated.project.expect("a project"))
    }

    /// The names on all pages of a list.
    async fn listed(&self, mut request: ListProjectsRequest) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let page = answer(self.client.clone().list_projects(self.request(request.clone())).await).expect("a page");
            names.extend(page.projects.into_iter().map(|project| project.display_name));
            if page.next_page_token.is_empty() {
                return names;
            }
            request.page_token = page.next_page_token;
        }
    }
}

#[tokio::test]
async fn metadata_is_stored_changed_and_part_of_the_etag() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create_named("A", &[("customer", "17"), ("tier", "gold")]).await;
    assert_eq!(project.metadata, entries(&[("customer", "17"), ("tier", "gold")]));
    let update = |metadata: &[(&str, &str)], if_match: &str| UpdateProjectRequest {
        project_id: project.id.clone(),
        metadata: entries(metadata),
        if_match: if_match.into(),
        ..Default::default()
    };
    let changed = ann.update(update(&[("tier", ""), ("region", "eu")], &project.etag)).await.expect("updated");
    assert_eq!((changed.display_name.as_str(), changed.metadata.clone()), ("A", entries(&[("customer", "17"), ("region", "eu")])));
    assert_ne!(changed.etag, project.etag);
    // A repeat is recognised before its condition is checked; another update with the old ETag is refused.
    assert_eq!(ann.update(update(&[("tier", ""), ("region", "eu")], &project.etag)).await.expect("a repeat").etag, changed.etag);
    assert_eq!(reason(ann.update(update(&[("region", "us")], &project.etag)).await), "ETAG_MISMATCH");
    let rename = UpdateProjectRequest { project_id: project.id.clone(), display_name: "B".into(), ..Default::default() };
    assert_eq!(ann.update(rename).await.expect("renamed").metadata, changed.metadata, "a rename keeps it");

    let names: Vec<String> = (0..15).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let fault = ann.update(update(&many, "")).await.expect_err("too many");
    assert_eq!((fault.violations[0].field.as_str(), fault.violations[0].description.contains("17")), ("metadata", true));
    for (bad, field) in [(&[("a b", "x")][..], "metadata"), (&[("a", &"x".repeat(513))], "metadata[a]")] {
        assert_eq!(ann.update(update(bad, "")).await.expect_err("invalid").violations[0].field, field);
    }
    let neither = UpdateProjectRequest { project_id: project.id.clone(), ..Default::default() };
    assert_eq!(ann.update(neither).await.expect_err("nothing").violations[0].field, "display_name");
    let bob = cluster.person();
    assert_eq!(reason(bob.update(update(&[("a", "x")], "")).await), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn projects_are_found_by_name_and_metadata() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    bob.create_named("Shop of Bob", &[("customer", "1")]).await;
    for n in 0..7 {
        ann.create_named(&format!("Shop {n}"), &[("customer", if n < 3 { "1" } else { "2" }), ("n", &n.to_string())]).await;
        ann.create_named(&format!("Größe {n}"), &[]).await;
    }
    let list = |query: &str, metadata: &[(&str, &str)], page_size| ListProjectsRequest {
        query: query.into(),
        metadata: entries(metadata),
        page_size,
        ..Default::default()
    };
    let shops: Vec<String> = (0..7).rev().map(|n| format!("Shop {n}")).collect();
    for size in [1, 2, 7, 50] {
        assert_eq!(ann.listed(list("shop", &[], size)).await, shops, "{size}");
        assert_eq!(ann.listed(list("", &[("customer", "1")], size)).await, shops[4..], "{size}");
    }
    assert_eq!(ann.listed(list("GRÖSSE", &[], 50)).await, Vec::<String>::new());
    assert_eq!(ann.listed(list("GRÖ 3", &[], 50)).await, ["Größe 3"]);
    assert_eq!(ann.listed(list("shop", &[("customer", "2"), ("n", "4")], 50)).await, ["Shop 4"]);
    assert_eq!(ann.listed(list("%", &[], 50)).await, Vec::<String>::new());
    assert_eq!(ann.listed(list("", &[], 50)).await.len(), 14);

    let page = answer(ann.client.clone().list_projects(ann.request(list("shop", &[], 1))).await).expect("a page");
    let other = ListProjectsRequest { page_token: page.next_page_token, ..list("gr", &[], 1) };
    assert_eq!(reason(answer(ann.client.clone().list_projects(ann.request(other)).await)), "PAGE_TOKEN_INVALID");
    let long = answer(ann.client.clone().list_projects(ann.request(list(&"x".repeat(501), &[], 1))).await);
    assert_eq!(long.expect_err("too long").violations[0].field, "query");
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
    assert_eq!(cluster.rows_of_projects("objects").await, 3);
    assert_eq!(cluster.rows_of_projects("stores").await, 1);
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
