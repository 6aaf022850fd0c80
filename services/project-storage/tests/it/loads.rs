//! Loading a project in pages, for clients that accept messages of 4 MiB only.

use proto::project_storage::{LoadProjectRequest, LoadProjectResponse, project_storage_service_client::ProjectStorageServiceClient};

use crate::harness::{Cluster, Person, reason, write};

async fn page(person: &Person, project: &str, bytes: i32, token: &str) -> LoadProjectResponse {
    let request =
        LoadProjectRequest { project_id: project.into(), page_bytes: bytes, page_token: token.into(), ..LoadProjectRequest::default() };
    person.load_page(request).await.expect("a page")
}

#[tokio::test]
async fn all_pages_are_of_one_revision() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    assert_eq!(page(&ann, &project, 1, "").await.files, []);
    let text = "a line of text\n".repeat(3_000);
    let changes = (0..120).map(|at| write(&format!("f{at:03}"), &format!("{at} {text}"))).collect();
    ann.save(&project, changes).await.expect("saved");
    let whole = ann.load(&project).await.expect("everything");

    let first = page(&ann, &project, 1024 * 1024, "").await;
    ann.save(&project, vec![write("f119", "changed"), write("f120", "new")]).await.expect("the head moves");
    let (mut files, mut token, mut pages) = (first.files, first.next_page_token, 1);
    while !token.is_empty() {
        let next = page(&ann, &project, 1024 * 1024, &token).await;
        assert_eq!(next.revision, whole.revision, "the revision of the first page");
        files.extend(next.files);
        (token, pages) = (next.next_page_token, pages + 1);
    }
    assert!(files == whole.files && pages > 4, "{} files on {pages} pages", files.len());
}

#[tokio::test]
async fn a_client_with_a_limit_of_4_mib_loads_a_larger_project() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let text = "a line of text\n".repeat(3_400);
    ann.save(&project, (0..120).map(|at| write(&format!("f{at:03}"), &text)).collect()).await.expect("saved");
    // A client as generated, with the default limit.
    let channel = tonic::transport::Endpoint::from(cluster.uri().clone()).connect_lazy();
    let plain = || ProjectStorageServiceClient::new(channel.clone());
    let request = LoadProjectRequest { project_id: project.clone(), ..LoadProjectRequest::default() };
    assert_eq!(plain().load_project(ann.request(request.clone())).await.expect_err("too large").code(), tonic::Code::OutOfRange);
    let (mut token, mut files) = (String::new(), 0);
    loop {
        let next = LoadProjectRequest { page_bytes: i32::MAX, page_token: token, ..request.clone() };
        let page = plain().load_project(ann.request(next)).await.expect("a page").into_inner();
        files += page.files.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(files, 120);
}

#[tokio::test]
async fn loads_beyond_the_limit_wait() {
    let cluster = Cluster::with_settings(&[("BACKLOT_LOADS_IN_WORK", "1")]).await;
    let people = [cluster.person(), cluster.person(), cluster.person()];
    let loads = people.iter().map(async |person| {
        let project = person.create().await.id;
        person.save(&project, vec![write("a", "1")]).await.expect("saved");
        let pages = (0..8).map(|_| page(person, &project, 1, ""));
        futures::future::join_all(pages).await.into_iter().map(|page| page.files.len()).sum::<usize>()
    });
    assert_eq!(futures::future::join_all(loads).await, [8, 8, 8]);
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_list_only() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let other = bob.create().await.id;
    ann.save(&project, vec![write("a", "1"), write("b", "2")]).await.expect("saved");
    let token = page(&ann, &project, 1, "").await.next_page_token;
    assert!(!token.is_empty());
    let head = ann.load(&project).await.expect("loaded").revision.expect("a revision").id;
    for (person, project_id, revision, page_token, page_bytes, expected) in [
        (&bob, &other, "", token.as_str(), 1, "PAGE_TOKEN_INVALID"),
        (&ann, &project, head.as_str(), token.as_str(), 1, "PAGE_TOKEN_INVALID"),
        (&ann, &project, "", "garbage", 1, "PAGE_TOKEN_INVALID"),
        (&ann, &project, "", "", -1, "INVALID_FIELD"),
        (&bob, &project, "", token.as_str(), 1, "PAGE_TOKEN_INVALID"),
        (&bob, &project, "", "", 1, "PROJECT_NOT_FOUND"),
    ] {
        let request = LoadProjectRequest {
            project_id: project_id.clone(),
            revision: revision.to_owned(),
            page_bytes,
            page_token: page_token.to_owned(),
            ..LoadProjectRequest::default()
        };
        assert_eq!(reason(person.load_page(request).await), expected);
    }
}
