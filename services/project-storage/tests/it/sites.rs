//! Published sites: deployments, the addresses of their files, and who may change them.

use std::time::Duration;

use chassis::identity::Caller;
use futures::{SinkExt as _, StreamExt as _, channel::mpsc, stream};
use project_storage::testing::sweep_one;
use prost::bytes::Bytes;
use proto::{
    error::{ErrorCode, Fault},
    project_storage::{
        ActivateDeploymentRequest, DeleteProjectRequest, DownloadSiteFileRequest, ExportDeploymentRequest, GetSiteRequest,
        ListDeploymentsRequest, ListDeploymentsResponse, NewSiteFile, PublishSiteRequest, PublishSiteResponse, ReadSiteFileRequest,
        ReadSiteFileResponse, Site, SiteSettings, SiteSource, UndeleteProjectRequest, UnpublishSiteRequest,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    files::{pattern, upload},
    harness::{Cluster, Person, answer, reason, without_user, write},
};

pub(crate) fn settings(project: &str, slug: &str) -> SiteSettings {
    SiteSettings { project_id: project.into(), slug: slug.into(), ..Default::default() }
}

pub(crate) fn begin(settings: SiteSettings) -> PublishSiteRequest {
    PublishSiteRequest { settings: Some(settings), ..Default::default() }
}

pub(crate) fn complete() -> PublishSiteRequest {
    PublishSiteRequest { complete: true, ..Default::default() }
}

/// The messages of a file with this content.
pub(crate) fn file(path: &str, content: &[u8], hashed: bool) -> Vec<PublishSiteRequest> {
    let file = NewSiteFile { path: path.into(), size_bytes: content.len() as u64, hashed, ..Default::default() };
    let data = content.chunks(100_000).map(|part| PublishSiteRequest { data: Bytes::copy_from_slice(part), ..Default::default() });
    [PublishSiteRequest { file: Some(file), ..Default::default() }].into_iter().chain(data).collect()
}

/// The message of a file that the revision has.
pub(crate) fn source(path: &str, source: &str) -> PublishSiteRequest {
    let file = NewSiteFile { path: path.into(), source_path: source.into(), ..Default::default() };
    PublishSiteRequest { file: Some(file), ..Default::default() }
}

/// Sends all messages, and returns the answers.
pub(crate) async fn send(person: &Person, messages: Vec<PublishSiteRequest>) -> Result<Vec<PublishSiteResponse>, Box<Fault>> {
    let mut stream = answer(person.client.clone().publish_site(person.request(stream::iter(messages))).await)?;
    let mut answers = Vec::new();
    while let Some(answer) = stream.next().await {
        answers.push(answer.map_err(|status| Box::new(Fault::from_status(&status)))?);
    }
    Ok(answers)
}

/// Publishes files with their contents. Returns the last answer.
pub(crate) async fn publish(person: &Person, settings: SiteSettings, files: &[(&str, &str)]) -> Result<PublishSiteResponse, Box<Fault>> {
    let files = files.iter().flat_map(|(path, content)| file(path, content.as_bytes(), path.starts_with("assets/")));
    let messages = [begin(settings)].into_iter().chain(files).chain([complete()]).collect();
    Ok(send(person, messages).await?.pop().expect("an answer"))
}

async fn read_as(cluster: &Cluster, request: ReadSiteFileRequest) -> Result<ReadSiteFileResponse, Box<Fault>> {
    answer(cluster.client(Caller::Gateway).read_site_file(without_user(request)).await)
}

pub(crate) async fn read(cluster: &Cluster, slug: &str, path: &str) -> Result<ReadSiteFileResponse, Box<Fault>> {
    read_as(cluster, ReadSiteFileRequest { slug: slug.into(), path: path.into(), page: true, ..Default::default() }).await
}

pub(crate) async fn text(cluster: &Cluster, slug: &str, path: &str) -> String {
    String::from_utf8(read(cluster, slug, path).await.expect("a file").content.to_vec()).expect("text")
}

pub(crate) async fn download(cluster: &Cluster, request: DownloadSiteFileRequest) -> Result<Vec<u8>, Box<Fault>> {
    let mut parts = answer(cluster.client(Caller::Gateway).download_site_file(without_user(request)).await)?;
    let mut data = Vec::new();
    while let Some(part) = parts.message().await.map_err(|status| Box::new(Fault::from_status(&status)))? {
        data.extend_from_slice(&part.data);
    }
    Ok(data)
}

async fn site_of(person: &Person, project: &str) -> Result<Site, Box<Fault>> {
    let request = person.request(GetSiteRequest { project_id: project.into() });
    Ok(answer(person.client.clone().get_site(request).await)?.site.expect("a site"))
}

pub(crate) async fn activate(person: &Person, project: &str, number: u32) -> Result<Site, Box<Fault>> {
    let request = person.request(ActivateDeploymentRequest { project_id: project.into(), number });
    Ok(answer(person.client.clone().activate_deployment(request).await)?.site.expect("a site"))
}

pub(crate) async fn unpublish(person: &Person, project: &str) -> Result<(), Box<Fault>> {
    let request = person.request(UnpublishSiteRequest { project_id: project.into() });
    answer(person.client.clone().unpublish_site(request).await).map(|_| ())
}

pub(crate) async fn deployments(
    person: &Person,
    project: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListDeploymentsResponse, Box<Fault>> {
    let request = person.request(ListDeploymentsRequest { project_id: project.into(), page_size, page_token: page_token.into() });
    answer(person.client.clone().list_deployments(request).await)
}

/// A project with a page.
pub(crate) async fn project(person: &Person) -> String {
    let project = person.create().await.id;
    person.edit(&project, vec![write("index.html", "<p>source"), write("logo.svg", "<svg/>")]).await;
    project
}

#[tokio::test]
async fn a_site_serves_the_files_of_its_newest_deployment() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let large = pattern(700_000);
    let mut messages = vec![begin(settings(&project, "my-shop")), source("logo.svg", "logo.svg")];
    messages.extend(file("index.html", b"<p>one", false));
    messages.extend(file("assets/app-1.js", &large, true));
    messages.extend(file("empty.txt", b"", false));
    messages.push(complete());
    let answers = send(&ann, messages).await.expect("published");
    let head = ann.load(&project).await.expect("loaded").revision.expect("a revision");
    assert!(
        matches!(&answers[0].source, Some(SiteSource { revision, tree_id, compiled: false }) if *revision == head.id && tree_id.len() == 40),
        "{answers:?}"
    );
    let last = answers.last().expect("an answer");
    let (site, first) = (last.site.as_ref().expect("a site"), last.deployment.as_ref().expect("a deployment"));
    assert_eq!((site.slug.as_str(), site.active_deployment, last.replayed), ("my-shop", 1, false));
    assert_eq!((first.number, first.file_count, first.size_bytes, first.active), (1, 4, 700_000 + 6 + 6, true));

    assert_eq!(text(&cluster, "my-shop", "").await, "<p>one");
    assert_eq!(text(&cluster, "my-shop", "logo.svg").await, "<svg/>");
    assert_eq!(text(&cluster, "my-shop", "empty.txt").await, "");
    let script = read(&cluster, "my-shop", "assets/app-1.js").await.expect("a script");
    assert_eq!(
        (script.hashed, script.size_bytes, script.content.len(), script.content_type.as_str()),
        (true, 700_000, 0, "text/javascript; charset=utf-8")
    );
    let part = DownloadSiteFileRequest {
        slug: "my-shop".into(),
        deployment: script.deployment,
        path: script.path,
        offset: 300_000,
        length: Some(10),
    };
    assert_eq!(download(&cluster, part.clone()).await.expect("a part"), large[300_000..300_010]);
    assert_eq!(download(&cluster, DownloadSiteFileRequest { offset: 0, length: None, ..part.clone() }).await.expect("a file"), large);
    let page = read(&cluster, "my-shop", "").await.expect("a page");
    let again = ReadSiteFileRequest { slug: "my-shop".into(), if_none_match: page.etag, ..Default::default() };
    assert!(read_as(&cluster, again).await.expect("known").not_modified && !page.hashed);

    // The next deployment replaces all files at once; the old one is still there for a reader that has begun.
    let second = publish(&ann, settings(&project, ""), &[("index.html", "<p>two")]).await.expect("published").deployment.expect("one");
    assert_eq!(second.number, 2);
    assert_eq!(text(&cluster, "my-shop", "").await, "<p>two");
    assert_eq!(reason(read(&cluster, "my-shop", "logo.svg").await), "FILE_NOT_FOUND");
    assert_eq!(download(&cluster, DownloadSiteFileRequest { offset: 0, length: None, ..part }).await.expect("a file"), large);

    // A roll back, and the opposite.
    assert_eq!(activate(&ann, &project, 1).await.expect("activated").active_deployment, 1);
    assert_eq!(text(&cluster, "my-shop", "").await, "<p>one");
    assert_eq!(reason(activate(&ann, &project, 3).await), "DEPLOYMENT_NOT_FOUND");
    let list = deployments(&ann, &project, 1, "").await.expect("a list");
    assert_eq!((list.deployments[0].number, list.deployments[0].active), (2, false));
    let list = deployments(&ann, &project, 1, &list.next_page_token).await.expect("a list");
    assert_eq!((list.deployments[0].number, list.deployments[0].active, list.next_page_token.as_str()), (1, true, ""));

    unpublish(&ann, &project).await.expect("unpublished");
    assert_eq!(reason(read(&cluster, "my-shop", "").await), "SITE_NOT_FOUND");
    assert_eq!(reason(unpublish(&ann, &project).await), "SITE_NOT_FOUND");
    assert_eq!(reason(site_of(&ann, &project).await), "SITE_NOT_FOUND");
    assert_eq!(reason(deployments(&ann, &project, 1, "").await), "SITE_NOT_FOUND");
}

#[tokio::test]
async fn an_archive_has_the_built_files() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    publish(&ann, settings(&project, "my-shop"), &[("index.html", "<p>one"), ("assets/a-1.js", "1")]).await.expect("published");
    for format in ["", "tar.gz"] {
        let request = ExportDeploymentRequest { project_id: project.clone(), number: 1, format: format.into() };
        let mut parts = answer(ann.client.clone().export_deployment(ann.request(request)).await).expect("an archive");
        let first = parts.message().await.expect("a part").expect("a part").archive.expect("the description");
        assert_eq!(first.file_name, format!("my-shop-1.{}", if format.is_empty() { "zip" } else { format }));
        let mut bytes = Vec::new();
        while let Some(part) = parts.message().await.expect("a part") {
            bytes.extend_from_slice(&part.data);
        }
        let mut names = Vec::new();
        if format.is_empty() {
            names.extend(bytes.windows(9).any(|w| w == b"project/").then_some("project/".to_owned()));
            assert!(bytes.windows(13).any(|w| w == b"assets/a-1.js"));
        } else {
            let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
            names.extend(
                archive.entries().expect("entries").map(|e| String::from_utf8_lossy(&e.expect("an entry").path_bytes()).into_owned()),
            );
            assert_eq!(names, ["assets/a-1.js", "index.html"]);
        }
    }
    let request = ExportDeploymentRequest { project_id: project.clone(), number: 2, format: String::new() };
    assert_eq!(reason(answer(ann.client.clone().export_deployment(ann.request(request)).await).map(|_| ())), "DEPLOYMENT_NOT_FOUND");
}

#[tokio::test]
async fn a_slug_belongs_to_one_site() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (first, second) = (project(&ann).await, project(&bob).await);
    let page = [("index.html", "<p>")];
    publish(&ann, settings(&first, "my-shop"), &page).await.expect("published");
    for (slug, expected) in [
        ("my-shop", "SLUG_TAKEN"),
        ("www", "SLUG_RESERVED"),
        ("admin", "SLUG_RESERVED"),
        ("My-Shop", "INVALID_FIELD"),
        ("ab", "INVALID_FIELD"),
        ("", "INVALID_FIELD"),
    ] {
        let refused = publish(&bob, settings(&second, slug), &page).await;
        assert_eq!(refused.as_ref().expect_err("refused").violations[0].field, "slug", "{slug}");
        assert_eq!(reason(refused), expected, "{slug}");
    }
    // Another slug moves the site, and the old one is free.
    publish(&ann, settings(&first, "our-shop"), &page).await.expect("published");
    assert_eq!(reason(read(&cluster, "my-shop", "").await), "SITE_NOT_FOUND");
    assert_eq!(text(&cluster, "our-shop", "").await, "<p>");
    publish(&bob, settings(&second, "my-shop"), &[("index.html", "<p>bob")]).await.expect("published");
    assert_eq!(text(&cluster, "my-shop", "").await, "<p>bob");
}

#[tokio::test]
async fn two_projects_that_want_a_slug_at_the_same_time_get_one_site() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let mut open = Vec::new();
    for _ in 0..2 {
        let project = project(&ann).await;
        let (mut messages, stream) = mpsc::channel(8);
        messages.send(begin(settings(&project, "my-shop"))).await.expect("sent");
        let mut answers = answer(ann.client.clone().publish_site(ann.request(stream)).await).expect("begun");
        assert!(answers.message().await.expect("an answer").expect("an answer").source.is_some());
        open.push((messages, answers));
    }
    let mut outcomes = Vec::new();
    for (mut messages, mut answers) in open {
        for message in file("index.html", b"<p>", false).into_iter().chain([complete()]) {
            messages.send(message).await.expect("sent");
        }
        outcomes.push(answers.message().await.map_err(|status| Fault::from_status(&status).reason));
    }
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].as_ref().expect_err("taken"), "SLUG_TAKEN");
}

#[tokio::test]
async fn only_what_may_be_published_is() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let page = || file("index.html", b"<p>", false);
    let cases = [
        ("a dotfile", file(".env", b"KEY=1", false), "INVALID_PATH"),
        ("a file in a dot folder", file("a/.git/config", b"", false), "INVALID_PATH"),
        ("a path outside", file("../x", b"", false), "INVALID_PATH"),
        ("a file twice", [page(), page()].concat(), "INVALID_PATH"),
        ("a file and a folder", [file("a", b"", false), file("a/b", b"", false)].concat(), "INVALID_PATH"),
        ("no page", file("main.html", b"<p>", false), "FILE_NOT_FOUND"),
        ("nothing", vec![], "FILE_NOT_FOUND"),
        ("an absent source", vec![source("x", "absent")], "FILE_NOT_FOUND"),
        ("content without a file", vec![PublishSiteRequest { data: Bytes::from_static(b"x"), ..Default::default() }], "INVALID_FIELD"),
        ("too little content", vec![page()[0].clone()], "INVALID_FIELD"),
        (
            "too much content",
            [page(), vec![PublishSiteRequest { data: Bytes::from_static(b"x"), ..Default::default() }]].concat(),
            "INVALID_FIELD",
        ),
        (
            "a file that is too large",
            {
                let large = NewSiteFile { path: "x".into(), size_bytes: 11 * 1024 * 1024, ..Default::default() };
                vec![PublishSiteRequest { file: Some(large), ..Default::default() }]
            },
            "FILE_TOO_LARGE",
        ),
    ];
    for (name, files, expected) in cases {
        let messages = [begin(settings(&project, "my-shop"))].into_iter().chain(files).chain([complete()]).collect();
        assert_eq!(reason(send(&ann, messages).await), expected, "{name}");
    }
    let unfinished = [begin(settings(&project, "my-shop"))].into_iter().chain(page()).collect();
    assert_eq!(reason(send(&ann, unfinished).await), "INVALID_FIELD");
    let with = |settings| async { reason(publish(&ann, settings, &[("index.html", "<p>")]).await) };
    assert_eq!(with(SiteSettings { base_path: "app".into(), ..settings(&project, "my-shop") }).await, "INVALID_FIELD");
    assert_eq!(with(SiteSettings { revision: "0".repeat(40), ..settings(&project, "my-shop") }).await, "REVISION_NOT_FOUND");
    assert_eq!(with(SiteSettings { revision: "x".into(), ..settings(&project, "my-shop") }).await, "INVALID_FIELD");
    assert_eq!(reason(read(&cluster, "my-shop", "").await), "SITE_NOT_FOUND");
    // Nothing of the refused ones is left but what the sweep takes.
    assert_eq!(cluster.count("SELECT count(*) FROM pending_writes").await, 0);
}

#[tokio::test]
async fn only_admins_change_a_site() {
    let cluster = Cluster::start().await;
    let (ann, eve, bob) = (cluster.person(), cluster.person(), cluster.person());
    let project = project(&ann).await;
    cluster.join(&eve, 2).await;
    let page = [("index.html", "<p>")];
    assert_eq!(reason(publish(&eve, settings(&project, "my-shop"), &page).await), "ROLE_REQUIRED");
    assert_eq!(reason(publish(&bob, settings(&project, "my-shop"), &page).await), "PROJECT_NOT_FOUND");
    publish(&ann, settings(&project, "my-shop"), &page).await.expect("published");
    assert_eq!(reason(activate(&eve, &project, 1).await), "ROLE_REQUIRED");
    assert_eq!(reason(unpublish(&eve, &project).await), "ROLE_REQUIRED");
    assert_eq!(reason(unpublish(&bob, &project).await), "PROJECT_NOT_FOUND");
    assert_eq!(site_of(&eve, &project).await.expect("a site").slug, "my-shop");
    assert_eq!(reason(site_of(&bob, &project).await), "PROJECT_NOT_FOUND");
    let direct = Person { client: cluster.client(Caller::Direct), ..ann.clone() };
    let refused = publish(&direct, settings(&project, "my-shop"), &page).await.expect_err("only the gateway publishes");
    assert!(matches!(refused.code, ErrorCode::Forbidden | ErrorCode::Unauthenticated), "{refused}");
}

#[tokio::test]
async fn a_deleted_project_has_no_site_until_it_is_restored() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    publish(&ann, settings(&project, "my-shop"), &[("index.html", "<p>")]).await.expect("published");
    let delete = |purge| ann.request(DeleteProjectRequest { project_id: project.clone(), purge, ..Default::default() });
    answer(ann.client.clone().delete_project(delete(false)).await).expect("deleted");
    assert_eq!(reason(read(&cluster, "my-shop", "").await), "SITE_NOT_FOUND");
    let undelete = ann.request(UndeleteProjectRequest { project_id: project.clone() });
    answer(ann.client.clone().undelete_project(undelete).await).expect("restored");
    assert_eq!(text(&cluster, "my-shop", "").await, "<p>");
    answer(ann.client.clone().delete_project(delete(true)).await).expect("purged");
    assert_eq!(reason(read(&cluster, "my-shop", "").await), "SITE_NOT_FOUND");
    assert_eq!(cluster.count("SELECT count(*) FROM deployments").await, 0);
}

#[tokio::test]
async fn the_sweep_keeps_what_a_deployment_has() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let mut messages = vec![begin(settings(&project, "my-shop"))];
    messages.extend(file("index.html", b"<p>only here", false));
    messages.extend(file("assets/deep/app-1.js", &pattern(600_000), true));
    messages.push(complete());
    send(&ann, messages).await.expect("published");
    let request = "INSERT INTO sweep_requests (store_id) SELECT store_id FROM projects";
    let sweep = || async {
        sqlx::query(request).execute(&cluster.database.pool).await.expect("requested");
        while sweep_one(&cluster.database.pool, Duration::ZERO, &CancellationToken::new()).await.expect("swept") {}
    };
    let objects = "SELECT count(*) FROM objects o JOIN projects p USING (store_id)";
    let before = cluster.count(objects).await;
    sweep().await;
    assert_eq!(cluster.count(objects).await, before);
    // At a replica with an empty cache.
    let (uri, _stop) = cluster.replica().await;
    let request = ReadSiteFileRequest { slug: "my-shop".into(), ..Default::default() };
    let page = answer(cluster.client_at(Caller::Gateway, &uri).read_site_file(without_user(request)).await).expect("a page");
    assert_eq!(&page.content[..], b"<p>only here");
    unpublish(&ann, &project).await.expect("unpublished");
    sweep().await;
    assert_eq!(cluster.count(objects).await, before - 2 - 4, "two contents and four folders");
    assert_eq!(cluster.count("SELECT count(*) FROM chunks").await, 0);
}

#[tokio::test]
async fn a_site_keeps_its_newest_deployments() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    for _ in 0..52 {
        publish(&ann, settings(&project, "my-shop"), &[("index.html", "<p>")]).await.expect("published");
    }
    let list = deployments(&ann, &project, 200, "").await.expect("a list").deployments;
    assert_eq!((list.len(), list[0].number, list[49].number), (50, 52, 3));
    assert_eq!(reason(activate(&ann, &project, 2).await), "DEPLOYMENT_NOT_FOUND");
}

#[tokio::test]
async fn a_publication_may_be_stored_in_the_account_only() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_BYTES", "500000")]).await;
    let ann = cluster.person();
    let project = project(&ann).await;
    upload(&ann, &project, "a.bin", &pattern(300_000)).await.expect("uploaded");
    let mut messages = vec![begin(settings(&project, "my-shop"))];
    messages.extend(file("index.html", b"<p>", false));
    messages.extend(file("b.bin", &pattern(290_001), false));
    messages.push(complete());
    assert_eq!(reason(send(&ann, messages).await), "ACCOUNT_TOO_LARGE");
    assert_eq!(reason(read(&cluster, "my-shop", "").await), "SITE_NOT_FOUND");
}
