//! Publications that are repeated, that overlap with pages that are open, and that wait for their build.

use std::time::Duration;

use chassis::{identity::Caller, testing::eventually};
use futures::{SinkExt as _, channel::mpsc};
use proto::{
    error::Fault,
    project_storage::{DeleteProjectRequest, DownloadSiteFileRequest, PublishSiteRequest, ReadSiteFileRequest, SiteFinding, SiteSettings},
};

use crate::{
    files::{pattern, upload},
    harness::{Cluster, Person, answer, reason, without_user, write},
    sites::{activate, begin, complete, download, file, project, publish, read, send, settings, text, unpublish},
};

/// How long a condition is waited for.
const LIMIT: Duration = Duration::from_secs(60);
const PAGE: [(&str, &str); 1] = [("index.html", "<p>1")];

#[tokio::test]
async fn a_repeat_answers_the_first_result() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let keyed = SiteSettings { request_id: "key".into(), ..settings(&project, "my-shop") };
    let finding = SiteFinding { code: "MISSING_FILE".into(), file: "index.html".into(), line: 3, is_warning: true, ..Default::default() };
    let end = PublishSiteRequest { findings: vec![finding.clone()], ..complete() };
    let page = file("index.html", b"<p>1", false);
    let messages = [begin(keyed.clone())].into_iter().chain(page.clone()).chain([end]).collect();
    let first = send(&ann, messages).await.expect("published").pop().expect("an answer");
    assert_eq!(first.findings, std::slice::from_ref(&finding));
    let many = PublishSiteRequest { findings: vec![finding; 201], ..complete() };
    let messages = [begin(settings(&project, ""))].into_iter().chain(page).chain([many]).collect();
    let refused = send(&ann, messages).await.expect_err("too many");
    assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("INVALID_FIELD", "findings"));
    let replay = || async {
        // A repeat needs no files, and gets no source.
        let mut answers = send(&ann, vec![begin(keyed.clone())]).await.expect("repeated");
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    };
    let expected = || proto::project_storage::PublishSiteResponse { replayed: true, ..first.clone() };
    assert_eq!(replay().await, expected());
    assert_eq!(reason(publish(&ann, SiteSettings { slug: "other".into(), ..keyed.clone() }, &PAGE).await), "KEY_REUSED");
    // The answer is that of the first request, whatever has happened since.
    publish(&ann, settings(&project, "our-shop"), &[("index.html", "<p>2")]).await.expect("published");
    assert_eq!(replay().await, expected());
    assert_eq!(text(&cluster, "our-shop", "").await, "<p>2");
    unpublish(&ann, &project).await.expect("unpublished");
    assert_eq!(replay().await, expected());
    assert_eq!(reason(read(&cluster, "my-shop", "").await), "SITE_NOT_FOUND");
    // The next site of the project keeps the key as well.
    publish(&ann, settings(&project, "my-shop"), &[("index.html", "<p>3")]).await.expect("published");
    assert_eq!(replay().await, expected());
    assert_eq!(text(&cluster, "my-shop", "").await, "<p>3");
    // Only people who may publish get it.
    let eve = cluster.person();
    let of_eve = publish(&eve, keyed, &PAGE).await;
    assert_eq!(reason(of_eve), "PROJECT_NOT_FOUND");
}

#[tokio::test]
async fn a_page_that_was_open_before_finds_its_scripts() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let large = pattern(600_000);
    let mut first = vec![begin(settings(&project, "my-shop"))];
    first.extend([file("index.html", b"<p>one", false), file("old.js", b"plain", false)].concat());
    first.extend([file("assets/a-1.js", b"one", true), file("assets/b-1.js", &large, true), file("assets/same.js", b"1", true)].concat());
    first.push(complete());
    send(&ann, first).await.expect("published");
    let second = [("index.html", "<p>two"), ("404.html", "<p>lost"), ("assets/a-2.js", "two"), ("assets/same.js", "2")];
    publish(&ann, settings(&project, ""), &second).await.expect("published");

    let script = read(&cluster, "my-shop", "assets/a-1.js").await.expect("a script");
    assert_eq!((&script.content[..], script.hashed, script.not_found, script.deployment), (&b"one"[..], true, false, 1));
    let script = read(&cluster, "my-shop", "assets/b-1.js").await.expect("a script");
    let part =
        DownloadSiteFileRequest { slug: "my-shop".into(), deployment: script.deployment, path: script.path, offset: 5, length: Some(10) };
    assert_eq!(download(&cluster, part).await.expect("a part"), large[5..15]);
    assert_eq!(text(&cluster, "my-shop", "assets/same.js").await, "2", "a file of the served deployment goes first");
    // Its plain files are those of the served deployment.
    assert!(read(&cluster, "my-shop", "old.js").await.expect("a page").not_found);
    // After a roll back, the pages of the other one.
    activate(&ann, &project, 1).await.expect("activated");
    assert_eq!(text(&cluster, "my-shop", "assets/a-2.js").await, "two");
    // A deployment has its files below its own base path.
    let below = SiteSettings { base_path: "/app/".into(), ..settings(&project, "") };
    publish(&ann, below, &[("index.html", "<p>three")]).await.expect("published");
    assert_eq!(text(&cluster, "my-shop", "assets/a-2.js").await, "two");
    assert_eq!(reason(read(&cluster, "my-shop", "app/assets/a-2.js").await), "FILE_NOT_FOUND");
    // No other site has them, and an ended one neither.
    let bob = cluster.person();
    publish(&bob, settings(&crate::sites::project(&bob).await, "other"), &PAGE).await.expect("published");
    assert_eq!(reason(read(&cluster, "other", "assets/a-1.js").await), "FILE_NOT_FOUND");
    unpublish(&ann, &project).await.expect("unpublished");
    publish(&ann, settings(&project, "my-shop"), &PAGE).await.expect("published");
    assert_eq!(reason(read(&cluster, "my-shop", "assets/a-1.js").await), "FILE_NOT_FOUND");
}

#[tokio::test]
async fn an_unknown_address_reads_no_tree_of_another_deployment() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    for n in 1..4 {
        let script = format!("assets/a-{n}.js");
        publish(&ann, settings(&project, "my-shop"), &[("index.html", "<p>"), (&script, "script")]).await.expect("published");
    }
    // Whoever reads the trees of the deployments that are not served finds them damaged. The cache of the replica is empty.
    let trees = "DELETE FROM objects o USING deployments d WHERE d.number < 3 AND o.oid IN (d.tree, d.hashed)
                 AND o.oid NOT IN (SELECT tree FROM deployments WHERE number = 3)";
    assert!(sqlx::query(trees).execute(&cluster.database.pool).await.expect("deleted").rows_affected() >= 4);
    let (uri, _stop) = cluster.replica().await;
    let read = |path: &str| {
        let (client, path) = (cluster.client_at(Caller::Gateway, &uri), path.to_owned());
        async move {
            let request = ReadSiteFileRequest { slug: "my-shop".into(), path, ..Default::default() };
            answer(client.clone().read_site_file(without_user(request)).await)
        }
    };
    for path in ["assets/a-9.js", "assets/x", "assets/a-1.js/x"] {
        assert_eq!(reason(read(path).await), "FILE_NOT_FOUND", "{path}");
    }
    let script = read("assets/a-2.js").await.expect("a script");
    assert_eq!((&script.content[..], script.hashed, script.deployment), (&b"script"[..], true, 2));
}

#[tokio::test]
async fn a_file_is_that_of_the_newest_deployment_that_has_it_until_that_is_deleted() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let files = |script: &'static str| [("index.html", "<p>"), (script, "script")];
    for script in ["assets/a.js", "assets/a.js", "assets/b.js"] {
        publish(&ann, settings(&project, "my-shop"), &files(script)).await.expect("published");
    }
    assert_eq!(read(&cluster, "my-shop", "assets/a.js").await.expect("a script").deployment, 2);
    let count = "SELECT count(*) FROM hashed_files";
    assert_eq!(cluster.count(count).await, 2);
    for number in [2, 1] {
        let delete = sqlx::query("DELETE FROM deployments WHERE number = $1").bind(number);
        delete.execute(&cluster.database.pool).await.expect("deleted");
    }
    assert_eq!(cluster.count(count).await, 1);
    assert_ne!(read(&cluster, "my-shop", "assets/a.js").await.map(|file| file.path).ok().as_deref(), Some("assets/a.js"));
}

#[tokio::test]
async fn two_requests_with_one_key_at_the_same_time_make_one_deployment() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let keyed = SiteSettings { request_id: "key".into(), ..settings(&project, "my-shop") };
    // Both have found no answer of the other one before either sends its files.
    let building = [begin_build(&ann, keyed.clone()).await, begin_build(&ann, keyed.clone()).await];
    let finish = building.map(|(mut messages, mut answers)| async move {
        for message in file("index.html", b"<p>", false).into_iter().chain([complete()]) {
            messages.send(message).await.expect("sent");
        }
        answers.message().await.map_err(|status| Fault::from_status(&status)).expect("published").expect("an answer")
    });
    let mut answers = futures::future::join_all(finish).await;
    answers.sort_by_key(|answer| answer.replayed);
    let [first, second] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((first.replayed, second), (false, &proto::project_storage::PublishSiteResponse { replayed: true, ..first.clone() }));
    assert_eq!(cluster.count("SELECT newest::bigint FROM sites").await, 1);
    assert_eq!(cluster.count("SELECT count(*) FROM deployments").await, 1);
}

#[tokio::test]
async fn the_keys_of_a_project_go_with_it() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let (gone, kept) = (project(&ann).await, project(&ann).await);
    for (key, project) in [("gone", &gone), ("kept", &kept)] {
        let keyed = SiteSettings { request_id: key.into(), ..settings(project, &format!("shop-{key}")) };
        publish(&ann, keyed, &PAGE).await.expect("published");
    }
    let delete = DeleteProjectRequest { project_id: gone.clone(), ..Default::default() };
    answer(ann.client.clone().delete_project(ann.request(delete)).await).expect("deleted");
    assert_eq!(cluster.count("SELECT count(*) FROM publish_requests").await, 1);
    // The key of the deleted project is free for another one.
    let keyed = SiteSettings { request_id: "gone".into(), ..settings(&kept, "") };
    let again = publish(&ann, keyed, &PAGE).await.expect("published");
    assert_eq!((again.replayed, again.deployment.expect("a deployment").number), (false, 2));
}

#[tokio::test]
async fn a_publication_takes_no_upload_slot_while_its_site_is_built() {
    /// The part of the upload slots of a process that one person may have.
    const SLOTS: usize = 16;
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    let mut building = Vec::new();
    for n in 0..=SLOTS {
        building.push(begin_build(&ann, settings(&project, &format!("shop-{n}"))).await);
    }
    upload(&ann, &project, "a.bin", b"1").await.expect("uploaded");
    // Those that send a file hold one.
    for (messages, _) in &mut building[..SLOTS] {
        let mut half = file("index.html", b"<p>", false);
        half.truncate(1);
        messages.send(half.remove(0)).await.expect("sent");
    }
    let (mut messages, mut answers) = building.pop().expect("one");
    eventually(LIMIT, || async {
        let refused = upload(&ann, &project, "b.bin", b"1").await.err()?;
        (refused.reason == "SHARE_EXHAUSTED").then_some(())
    })
    .await;
    messages.send(file("index.html", b"<p>", false).remove(0)).await.expect("sent");
    let refused = answers.message().await.expect_err("no slot is free");
    assert_eq!(Fault::from_status(&refused).reason, "SHARE_EXHAUSTED");
    drop(building);
    eventually(LIMIT, || async { upload(&ann, &project, "c.bin", b"1").await.ok() }).await;
}

/// Begins a publication. Returns when its site has to be built.
async fn begin_build(
    person: &Person,
    settings: SiteSettings,
) -> (mpsc::Sender<PublishSiteRequest>, tonic::Streaming<proto::project_storage::PublishSiteResponse>) {
    let (mut messages, stream) = mpsc::channel(8);
    messages.send(begin(settings)).await.expect("sent");
    let mut answers = answer(person.client.clone().publish_site(person.request(stream)).await).expect("begun");
    assert!(answers.message().await.expect("an answer").expect("an answer").source.is_some());
    (messages, answers)
}

#[tokio::test]
async fn a_folder_of_a_site_has_the_entries_that_a_folder_of_a_project_may_have() {
    const ENTRIES: usize = 1000;
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = project(&ann).await;
    ann.save(&project, vec![write("a.txt", "a")]).await.expect("saved");
    let copies = |count: usize| {
        let files = (0..count).map(|n| crate::sites::source(&format!("icons/{n}.txt"), "a.txt"));
        let page = file("index.html", b"<p>", false);
        [begin(settings(&project, "my-shop"))].into_iter().chain(page).chain(files).chain([complete()]).collect::<Vec<_>>()
    };
    let refused = send(&ann, copies(ENTRIES + 1)).await.expect_err("too many");
    assert_eq!((refused.reason.as_str(), refused.violations[0].field.as_str()), ("FOLDER_TOO_LARGE", "file.path"));
    send(&ann, copies(ENTRIES)).await.expect("published");
}
