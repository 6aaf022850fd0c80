//! Previews, read as by the gateway.

use std::time::Duration;

use chassis::{identity::Caller, testing::eventually};
use futures::future::join_all;
use proto::{
    error::{ErrorCode, Fault},
    id::SessionId,
    project_storage::{
        CreatePreviewRequest, DeletePreviewRequest, DeleteProjectRequest, DownloadPreviewFileRequest, GetPreviewTreeRequest,
        ReadPreviewContentsRequest, ReadPreviewFileRequest, ReadPreviewFileResponse, StagedPreview, StagedPreviewFile,
        UndeleteProjectRequest,
    },
};

use crate::{
    files::{pattern, upload},
    harness::{Cluster, Person, Turn, answer, delete, reason, without_user, write},
};

async fn preview(person: &Person, project: &str, revision: &str) -> String {
    let request = person.request(CreatePreviewRequest { project_id: project.into(), revision: revision.into(), ..Default::default() });
    answer(person.client.clone().create_preview(request).await).expect("a preview").capability
}

async fn read(cluster: &Cluster, capability: &str, path: &str, etag: &str) -> Result<ReadPreviewFileResponse, Box<proto::error::Fault>> {
    let request =
        ReadPreviewFileRequest { capability: capability.into(), path: path.into(), if_none_match: etag.into(), ..Default::default() };
    answer(cluster.client(Caller::Gateway).read_preview_file(without_user(request)).await)
}

#[tokio::test]
async fn a_preview_finds_staged_files_of_its_own_project() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (project, other) = (ann.create().await.id, bob.create().await.id);
    let capability = preview(&ann, &project, "").await;
    let (page, script) = ("a".repeat(40), "b".repeat(40));
    let staged = |project: &str, files: &[(&str, &str)]| StagedPreview {
        project_id: project.to_owned(),
        tree_id: "c".repeat(40),
        files: files.iter().map(|(path, id)| StagedPreviewFile { path: (*path).into(), blob_id: (*id).into(), size_bytes: 7 }).collect(),
    };
    let read = |path: &str, etag: &str, staged: StagedPreview| {
        let (capability, path, if_none_match) = (capability.clone(), path.to_owned(), etag.to_owned());
        let request = ReadPreviewFileRequest { capability, path, if_none_match, page: true, staged: Some(staged), ..Default::default() };
        let mut gateway = cluster.client(Caller::Gateway);
        async move { answer(gateway.read_preview_file(without_user(request)).await) }
    };
    // The project has no revision. Nothing of the staged files is stored.
    let plain: &[(&str, &str)] = &[("index.html", &page), ("js/app.js", &script)];
    for (path, found, id) in [("", "index.html", &page), ("some/view", "index.html", &page), ("js/app.js", "js/app.js", &script)] {
        let file = read(path, "", staged(&project, plain)).await.expect("a file");
        assert_eq!((file.path.as_str(), file.etag), (found, format!("\"{id}\"")), "{path}");
        assert!(file.content.is_empty() && file.size_bytes == 7 && file.revision.is_empty() && file.compiled_tree_id.is_empty());
    }
    assert!(read("js/app.js", &format!("\"{script}\""), staged(&project, plain)).await.expect("a file").not_modified);
    assert_eq!(reason(read("none.png", "", staged(&project, plain)).await), "FILE_NOT_FOUND");
    let compiled = read("", "", staged(&project, &[("index.html", &page), ("src/main.tsx", &script)])).await.expect("a page");
    assert_eq!(compiled.compiled_tree_id, "c".repeat(40));

    assert_eq!(reason(read("", "", staged(&other, plain)).await), "PREVIEW_NOT_FOUND");
    assert_eq!(reason(read("", "", staged(&project, &[("a", &page), ("a/b", &page)])).await), "INVALID_FIELD");
    assert_eq!(reason(read("", "", staged(&project, &[("a", "x")])).await), "INVALID_FIELD");
    let request = ann.request(CreatePreviewRequest { project_id: project.clone(), turn_id: "x".into(), ..Default::default() });
    assert_eq!(
        reason(answer(ann.client.clone().create_preview(request).await)),
        "INVALID_FIELD",
        "only the gateway knows the files of turns"
    );
}

#[tokio::test]
async fn a_preview_of_a_turn_leaves_what_previews_show() {
    let cluster = Cluster::start().await;
    let (person, one, other) = (cluster.person(), SessionId::generate(), SessionId::generate());
    let (ann, elsewhere) = (cluster.in_session(&person, one), cluster.in_session(&person, other));
    let project = ann.create().await.id;
    let first = ann.save(&project, vec![write("index.html", "one")]).await.expect("saved").revision.expect("a revision").id;
    let of_turn = async |person: &Person| {
        let turn_id = proto::id::TurnId::generate().to_string();
        let request = person.request(CreatePreviewRequest { project_id: project.clone(), turn_id, ..Default::default() });
        answer(cluster.client(Caller::Gateway).create_preview(request).await).expect("a preview").capability
    };
    let shown = async |capability: &str| read(&cluster, capability, "", "").await.expect("a page").content;
    let pinned = preview(&ann, &project, &first).await;
    ann.save(&project, vec![write("index.html", "two")]).await.expect("saved");
    assert_eq!(of_turn(&ann).await, pinned, "the same capability");
    assert_eq!(shown(&pinned).await, "one");
    // The grant of another session that has none yet is not the newest one.
    assert_eq!(of_turn(&elsewhere).await, pinned);
    assert_eq!(shown(&pinned).await, "one");
    // It is valid by itself.
    sqlx::query("UPDATE previews SET expires_at = now() - interval '1 second' WHERE session_id = $1")
        .bind(one.0)
        .execute(&cluster.database.pool)
        .await
        .expect("expired");
    assert_eq!(shown(&pinned).await, "two");
    // An expired one shows nothing that could stay.
    of_turn(&ann).await;
    assert_eq!(shown(&pinned).await, "two");
    preview(&elsewhere, &project, &first).await;
    assert_eq!(shown(&pinned).await, "one");
    let both = CreatePreviewRequest { project_id: project.clone(), revision: first, turn_id: proto::id::TurnId::generate().to_string() };
    let refused = answer(cluster.client(Caller::Gateway).create_preview(ann.request(both)).await).expect_err("one of them");
    assert_eq!(refused.violations[0].field, "revision");
}

#[tokio::test]
async fn a_preview_shows_the_head_or_a_revision() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let following = preview(&ann, &project.id, "").await;
    assert_eq!(reason(read(&cluster, &following, "", "").await), "FILE_NOT_FOUND");
    let changes = vec![write("index.html", "<p>1"), write("js/app.js", "1"), write("docs/index.html", "<p>docs")];
    let first = ann.save(&project.id, changes).await.expect("saved").revision.expect("a revision").id;
    let page = read(&cluster, &following, "", "").await.expect("a page");
    assert_eq!(
        (&page.content[..], page.content_type.as_str(), page.revision.as_str()),
        (&b"<p>1"[..], "text/html; charset=utf-8", first.as_str())
    );

    ann.save(&project.id, vec![write("index.html", "<p>2")]).await.expect("saved");
    assert_eq!(&read(&cluster, &following, "", "").await.expect("a page").content[..], b"<p>2");
    let fixed = preview(&ann, &project.id, &first).await;
    assert_eq!(fixed, following, "the origin is the same for all revisions");
    assert_eq!(&read(&cluster, &fixed, "", "").await.expect("a page").content[..], b"<p>1");
    for path in ["docs", "docs/", "docs/index.html"] {
        assert_eq!(&read(&cluster, &fixed, path, "").await.expect("a page").content[..], b"<p>docs", "{path}");
    }
    let script = read(&cluster, &fixed, "js/app.js", "").await.expect("a script");
    assert_eq!(script.content_type, "text/javascript; charset=utf-8");
    let unchanged = read(&cluster, &fixed, "js/app.js", &script.etag).await.expect("not modified");
    assert!(unchanged.not_modified && unchanged.content.is_empty() && unchanged.etag == script.etag);
    for path in ["nothing", "js", "js/", "../index.html", "index.html/"] {
        assert_eq!(reason(read(&cluster, &fixed, path, "").await), "FILE_NOT_FOUND", "{path}");
    }
}

async fn download(cluster: &Cluster, request: DownloadPreviewFileRequest) -> Result<Vec<u8>, Box<Fault>> {
    let mut parts = answer(cluster.client(Caller::Gateway).download_preview_file(without_user(request)).await)?;
    let mut data = Vec::new();
    while let Some(part) = parts.message().await.map_err(|status| Box::new(Fault::from_status(&status)))? {
        assert!(part.data.len() <= 256 * 1024);
        data.extend_from_slice(&part.data);
    }
    Ok(data)
}

#[tokio::test]
async fn a_large_file_is_streamed() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let (data, small) = (pattern(1_000_000), pattern(256 * 1024));
    upload(&ann, &project, "a.bin", &data).await.expect("uploaded");
    upload(&ann, &project, "b.bin", &small).await.expect("uploaded");
    let capability = preview(&ann, &project, "").await;
    let request = |path: &str| ReadPreviewFileRequest { capability: capability.clone(), path: path.into(), ..Default::default() };
    let read = |request| async { answer(cluster.client(Caller::Gateway).read_preview_file(without_user(request)).await) };
    let omitted = read(ReadPreviewFileRequest { omit_large: true, ..request("a.bin") }).await.expect("described");
    assert_eq!((omitted.content.len(), omitted.size_bytes, omitted.not_modified), (0, 1_000_000, false));
    assert!(read(request("a.bin")).await.expect("a file").content == data, "a gateway of the release before gets all of it");
    let whole = read(ReadPreviewFileRequest { omit_large: true, ..request("b.bin") }).await.expect("a file");
    assert!(whole.content == small && whole.size_bytes == 256 * 1024);

    let part = |offset, length| DownloadPreviewFileRequest {
        capability: capability.clone(),
        path: "a.bin".into(),
        revision: omitted.revision.clone(),
        offset,
        length,
    };
    // The revision that was read is read on, whatever was saved since.
    ann.save(&project, vec![delete("a.bin")]).await.expect("saved");
    for (offset, length, expected) in [(0, None, &data[..]), (999_999, None, &data[999_999..]), (300_000, Some(7), &data[300_000..300_007])]
    {
        assert!(download(&cluster, part(offset, length)).await.expect("a part") == expected, "{offset}");
    }
    assert!(download(&cluster, part(1_000_000, None)).await.expect("nothing").is_empty());
    let other = part(0, None);
    for (request, expected) in [
        (part(1_000_001, None), "INVALID_FIELD"),
        (DownloadPreviewFileRequest { revision: String::new(), ..other.clone() }, "INVALID_FIELD"),
        (DownloadPreviewFileRequest { revision: "0".repeat(40), ..other.clone() }, "FILE_NOT_FOUND"),
        (DownloadPreviewFileRequest { path: "c".into(), ..other.clone() }, "FILE_NOT_FOUND"),
        (DownloadPreviewFileRequest { path: "../a.bin".into(), ..other.clone() }, "INVALID_PATH"),
        (DownloadPreviewFileRequest { capability: "x".into(), ..other.clone() }, "PREVIEW_NOT_FOUND"),
        (DownloadPreviewFileRequest { capability: "a".repeat(26), ..other }, "PREVIEW_NOT_FOUND"),
    ] {
        assert_eq!(reason(download(&cluster, request.clone()).await), expected, "{request:?}");
    }
}

/// Without locks in one order, one of the two would fail now and then.
#[tokio::test]
async fn previews_and_turns_that_begin_beside_a_deletion_are_refused_and_do_not_delay_it() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for round in 0..24 {
        let project = ann.create().await.id;
        ann.save(&project, vec![write("a", "1")]).await.expect("saved");
        let previews = (0..4).map(|_| {
            let request = ann.request(CreatePreviewRequest { project_id: project.clone(), ..Default::default() });
            let mut client = ann.client.clone();
            async move { answer(client.create_preview(request).await).map(|preview| preview.capability) }
        });
        let turn = Turn::new(&cluster);
        let purge = round % 2 == 0;
        let request = ann.request(DeleteProjectRequest { project_id: project.clone(), purge, ..Default::default() });
        let mut client = ann.client.clone();
        let (previews, begun, deleted) =
            tokio::join!(join_all(previews), turn.begin(&ann, &project, "a clock"), client.delete_project(request));
        answer(deleted).expect("deleted");
        if let Err(fault) = begun {
            assert_eq!(fault.reason, "PROJECT_NOT_FOUND");
        }
        if !purge {
            let undelete = UndeleteProjectRequest { project_id: project.clone() };
            answer(ann.client.clone().undelete_project(ann.request(undelete)).await).expect("restored");
        }
        for preview in previews {
            match preview {
                Ok(capability) => assert_eq!(reason(read(&cluster, &capability, "a", "").await), "PREVIEW_NOT_FOUND"),
                Err(fault) => assert_eq!(fault.reason, "PROJECT_NOT_FOUND"),
            }
        }
    }
}

#[tokio::test]
async fn a_page_with_many_large_files_gets_all_of_them() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let data = pattern(600_000);
    upload(&ann, &project, "a.bin", &data).await.expect("uploaded");
    let capability = preview(&ann, &project, "").await;
    let revision = read(&cluster, &capability, "a.bin", "").await.expect("a file").revision;
    let mut open = Vec::new();
    // None of them is read before all are open, as with paused videos.
    for _ in 0..80 {
        let (capability, revision) = (capability.clone(), revision.clone());
        let request = DownloadPreviewFileRequest { capability, path: "a.bin".into(), revision, offset: 0, length: None };
        open.push(answer(cluster.client(Caller::Gateway).download_preview_file(without_user(request)).await).expect("a stream"));
    }
    for mut parts in open {
        let mut read = 0;
        while let Some(part) = parts.message().await.expect("a part") {
            read += part.data.len();
        }
        assert_eq!(read, data.len());
    }
}

#[tokio::test]
async fn a_project_that_is_compiled_names_its_tree_and_its_files_are_read_with_the_capability() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await;
    let text = "export const a = 1;\n";
    let files = [("index.html", "<p>app"), ("src/main.ts", text), ("src/x.svg", "<svg/>"), ("public/icon.svg", "<svg>icon</svg>")];
    let changes = files.iter().map(|(path, text)| write(path, text)).collect();
    let first = ann.save(&project.id, changes).await.expect("saved").revision.expect("a revision").id;
    let capability = preview(&ann, &project.id, "").await;
    let page = read(&cluster, &capability, "", "*").await.expect("a page");
    assert_eq!((page.compiled_tree_id.len(), page.content.len(), page.not_modified), (40, 0, false), "the page is not the file");
    assert_eq!((page.user_id, page.revision.as_str()), (ann.id.to_string(), first.as_str()));
    let icon = read(&cluster, &capability, "icon.svg", "").await.expect("a file of public");
    assert_eq!((&icon.content[..], icon.compiled_tree_id.as_str(), icon.immutable), (&b"<svg>icon</svg>"[..], "", false));
    assert_eq!(&read(&cluster, &capability, "src/main.ts", "").await.expect("a source").content[..], text.as_bytes());

    let client = cluster.client(Caller::Gateway);
    let tree = async |capability: &str, revision: &str| {
        let request = GetPreviewTreeRequest { capability: capability.into(), revision: revision.into() };
        answer(client.clone().get_preview_tree(without_user(request)).await)
    };
    let listed = tree(&capability, &first).await.expect("files").files;
    let id = |path: &str| listed.iter().find(|file| file.path == path).expect(path).etag.trim_matches('"').to_owned();
    assert_eq!(listed.len(), 4);
    let asset = read(&cluster, &capability, &format!("@a/{}.svg", id("src/x.svg")), "").await.expect("an asset");
    assert_eq!((&asset.content[..], asset.content_type.as_str(), asset.immutable), (&b"<svg/>"[..], "image/svg+xml", true));
    let contents = async |capability: &str, ids: Vec<String>| {
        let request = ReadPreviewContentsRequest { capability: capability.into(), revision: first.clone(), blob_ids: ids };
        answer(client.clone().read_preview_contents(without_user(request)).await)
    };
    let read = contents(&capability, vec![id("src/main.ts"), id("src/x.svg"), id("src/main.ts")]).await.expect("contents").contents;
    assert_eq!(read, [text.as_bytes(), b"<svg/>", text.as_bytes()]);

    assert_eq!(reason(contents(&capability, vec!["0".repeat(40)]).await), "FILE_NOT_FOUND");
    assert_eq!(reason(contents(&capability, Vec::new()).await), "INVALID_FIELD");
    assert_eq!(reason(contents(&capability, vec!["x".into()]).await), "INVALID_FIELD");
    assert_eq!(reason(contents(&"a".repeat(26), vec![id("src/x.svg")]).await), "PREVIEW_NOT_FOUND");
    assert_eq!(reason(tree(&"a".repeat(26), &first).await), "PREVIEW_NOT_FOUND");
    assert_eq!(reason(tree(&capability, "").await), "INVALID_FIELD");
    let theirs = bob.create().await;
    let foreign = bob.save(&theirs.id, vec![write("index.html", "secret")]).await.expect("saved").revision.expect("a revision").id;
    assert_eq!(reason(tree(&capability, &foreign).await), "REVISION_NOT_FOUND");
    // The head has moved, and a page of the revision before is still compiled.
    ann.save(&project.id, vec![write("src/main.ts", "export {};\n")]).await.expect("saved");
    assert_eq!(tree(&capability, &first).await.expect("files").files, listed);
}

#[tokio::test]
async fn a_path_without_an_extension_is_a_view_of_the_app() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let capability = preview(&ann, &project.id, "").await;
    let rows = [
        ("", Some("index.html")),
        ("users/5", Some("index.html")),
        ("users/5/", Some("index.html")),
        ("js", Some("index.html")),
        ("docs", Some("docs/index.html")),
        ("docs/intro", Some("index.html")),
        ("js/app.js", Some("js/app.js")),
        ("js/absent.js", None),
        ("v1.2/about", Some("index.html")),
        ("../index.html", None),
        ("users/..", None),
    ];
    for with_app in [false, true] {
        let app = with_app.then(|| write("index.html", "<p>app"));
        let changes = [write("js/app.js", "1"), write("docs/index.html", "<p>docs")].into_iter().chain(app).collect();
        ann.save(&project.id, changes).await.expect("saved");
        for (path, found) in rows {
            let found = found.filter(|found| with_app || *found != "index.html");
            let request = ReadPreviewFileRequest { capability: capability.clone(), path: path.into(), page: true, ..Default::default() };
            match (answer(cluster.client(Caller::Gateway).read_preview_file(without_user(request)).await), found) {
                (Ok(answer), Some(found)) => assert_eq!(answer.path, found, "{path}"),
                (Err(fault), None) => assert_eq!(fault.reason, "FILE_NOT_FOUND", "{path}"),
                (answer, found) => panic!("{path}: {answer:?}, {found:?}"),
            }
            let script = read(&cluster, &capability, path, "").await.map(|answer| answer.path).ok();
            let exact = found.filter(|found| path.is_empty() || *found != "index.html");
            assert_eq!(script.as_deref(), exact, "only a navigation gets the index: {path}");
        }
    }
}

#[tokio::test]
async fn a_capability_ends_with_its_time_and_with_its_creators_access() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await;
    ann.save(&project.id, vec![write("index.html", "1")]).await.expect("saved");
    sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, 1 FROM projects")
        .bind(bob.id.0)
        .execute(&cluster.database.pool)
        .await
        .expect("a viewer");
    let (mine, theirs) = (preview(&ann, &project.id, "").await, preview(&bob, &project.id, "").await);
    assert_eq!((mine.len(), cluster.count("SELECT count(*) FROM previews WHERE octet_length(hash) = 32").await), (26, 2));
    read(&cluster, &theirs, "", "").await.expect("a page");
    sqlx::query("DELETE FROM members WHERE user_id = $1").bind(bob.id.0).execute(&cluster.database.pool).await.expect("removed");
    assert_eq!(reason(read(&cluster, &theirs, "", "").await), "PREVIEW_NOT_FOUND");
    // A person who is a member again opens the preview anew.
    cluster.join(&bob, 1).await;
    assert_eq!(reason(read(&cluster, &theirs, "", "").await), "PREVIEW_NOT_FOUND");
    assert_eq!(preview(&bob, &project.id, "").await, theirs, "it has the same origin");
    read(&cluster, &theirs, "", "").await.expect("a page");

    // A use extends the validity. An expired capability stays expired.
    let age = |minutes: i32| {
        sqlx::query(
            "UPDATE previews SET touched_at = touched_at - make_interval(mins => $1), expires_at = expires_at - make_interval(mins => $1)",
        )
        .bind(minutes)
        .execute(&cluster.database.pool)
    };
    age(59).await.expect("aged");
    read(&cluster, &mine, "", "").await.expect("a page");
    age(59).await.expect("aged");
    read(&cluster, &mine, "", "").await.expect("a page");
    age(61).await.expect("aged");
    assert_eq!(reason(read(&cluster, &mine, "", "").await), "PREVIEW_NOT_FOUND");
    assert_eq!(reason(read(&cluster, "aaaaaaaaaaaaaaaaaaaaaaaaaa", "", "").await), "PREVIEW_NOT_FOUND");
    assert_eq!(reason(read(&cluster, "../../etc/passwd", "", "").await), "PREVIEW_NOT_FOUND");

    let fresh = preview(&ann, &project.id, "").await;
    let request = ann.request(DeleteProjectRequest { project_id: project.id.clone(), ..Default::default() });
    answer(ann.client.clone().delete_project(request).await).expect("removed");
    assert_eq!(reason(read(&cluster, &fresh, "", "").await), "PREVIEW_NOT_FOUND");
}

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_preview_ends_with_the_session_that_created_it() {
    let cluster = Cluster::start().await;
    let person = cluster.person();
    let (one, other) = (SessionId::generate(), SessionId::generate());
    let (ann, elsewhere) = (cluster.in_session(&person, one), cluster.in_session(&person, other));
    let project = ann.create().await;
    ann.save(&project.id, vec![write("index.html", "1")]).await.expect("saved");
    let (mine, theirs) = (preview(&ann, &project.id, "").await, preview(&elsewhere, &project.id, "").await);
    read(&cluster, &mine, "", "").await.expect("a page");
    // The log of ended sessions is followed after its first message.
    let is_followed = || async { (cluster.count("SELECT count(*) FROM ended_sessions").await > 0).then_some(()) };
    eventually(LIMIT, is_followed).await;

    assert_eq!(mine, theirs, "both sessions have the same origin");
    cluster.end_session(one);
    eventually(LIMIT, || async { (cluster.count("SELECT count(*) FROM previews").await == 1).then_some(()) }).await;
    // The grant of the other session is older, and is still valid.
    read(&cluster, &theirs, "", "").await.expect("another session of the same person");
    // The access token is still valid, but cannot create another preview.
    let request = ann.request(CreatePreviewRequest { project_id: project.id.clone(), ..Default::default() });
    let fault = answer(ann.client.clone().create_preview(request).await).expect_err("an ended session");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
    cluster.end_session(other);
    eventually(LIMIT, || async { read(&cluster, &theirs, "", "").await.is_err().then_some(()) }).await;
    assert_eq!(reason(read(&cluster, &theirs, "", "").await), "PREVIEW_NOT_FOUND");
    let again = preview(&cluster.in_session(&person, SessionId::generate()), &project.id, "").await;
    assert_eq!(again, mine, "a new session has the same origin");
    read(&cluster, &mine, "", "").await.expect("the preview is open again");
}

#[tokio::test]
async fn a_preview_that_is_created_as_its_session_ends_is_not_served() {
    let cluster = Cluster::start().await;
    let (person, session) = (cluster.person(), SessionId::generate());
    let ann = cluster.in_session(&person, session);
    let project = ann.create().await;
    ann.save(&project.id, vec![write("index.html", "1")]).await.expect("saved");
    let raced = preview(&ann, &project.id, "").await;
    // As if the preview had been inserted after those of the session were deleted.
    sqlx::query("INSERT INTO ended_sessions (cursor, session_id) VALUES (77, $1)")
        .bind(session.0)
        .execute(&cluster.database.pool)
        .await
        .expect("ended");
    assert_eq!(reason(read(&cluster, &raced, "", "").await), "PREVIEW_NOT_FOUND");
}

#[tokio::test]
async fn a_preview_can_be_revoked_by_its_creator_and_by_an_admin() {
    let cluster = Cluster::start().await;
    let (ann, bob, eve) = (cluster.person(), cluster.person(), cluster.person());
    let project = ann.create().await;
    ann.save(&project.id, vec![write("index.html", "1")]).await.expect("saved");
    for viewer in [&bob, &eve] {
        sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, 1 FROM projects")
            .bind(viewer.id.0)
            .execute(&cluster.database.pool)
            .await
            .expect("a viewer");
    }
    let revoke = |person: &Person, capability: &str| {
        let request = person.request(DeletePreviewRequest { project_id: project.id.clone(), capability: capability.into() });
        let mut client = person.client.clone();
        async move { answer(client.delete_preview(request).await) }
    };
    let (anns, bobs) = (preview(&ann, &project.id, "").await, preview(&bob, &project.id, "").await);
    assert_ne!(anns, bobs, "two people have two origins");
    assert_ne!(anns, preview(&ann, &ann.create().await.id, "").await, "two projects have two origins");
    read(&cluster, &bobs, "", "").await.expect("used");
    let stranger = cluster.person();
    for (who, person, capability, refusal) in [
        ("another viewer", &eve, &bobs, "PREVIEW_NOT_FOUND"),
        ("a viewer, of the owner's", &bob, &anns, "PREVIEW_NOT_FOUND"),
        ("a stranger", &stranger, &bobs, "PROJECT_NOT_FOUND"),
        ("an invalid capability", &ann, &"x".to_owned(), "PREVIEW_NOT_FOUND"),
    ] {
        assert_eq!(reason(revoke(person, capability).await), refusal, "{who}");
    }
    revoke(&bob, &bobs).await.expect("the creator");
    let bobs_second = preview(&bob, &project.id, "").await;
    read(&cluster, &bobs_second, "", "").await.expect("another origin");
    revoke(&ann, &bobs_second).await.expect("the owner");
    let bobs_third = preview(&bob, &project.id, "").await;
    assert!(bobs_third != bobs && bobs_third != bobs_second && bobs_second != bobs);
    // An origin is revoked also while it has no grant.
    sqlx::query("DELETE FROM previews WHERE user_id = $1").bind(bob.id.0).execute(&cluster.database.pool).await.expect("swept");
    revoke(&bob, &bobs_third).await.expect("an origin without a grant");
    for capability in [&bobs, &bobs_second, &bobs_third] {
        assert_eq!(reason(read(&cluster, capability, "", "").await), "PREVIEW_NOT_FOUND");
        assert_eq!(reason(revoke(&bob, capability).await), "PREVIEW_NOT_FOUND");
    }
    read(&cluster, &anns, "", "").await.expect("another preview is still valid");
}

#[tokio::test]
async fn a_grant_that_is_stored_as_its_origin_is_revoked_is_not_served() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    ann.save(&project.id, vec![write("index.html", "1")]).await.expect("saved");
    let raced = preview(&ann, &project.id, "").await;
    // As if the grant had been stored after those of the origin were deleted.
    sqlx::query("UPDATE preview_origins SET generation = generation + 1, hash = NULL")
        .execute(&cluster.database.pool)
        .await
        .expect("raised");
    assert_eq!(reason(read(&cluster, &raced, "", "").await), "PREVIEW_NOT_FOUND");
    let next = preview(&ann, &project.id, "").await;
    assert_ne!(next, raced);
    read(&cluster, &next, "", "").await.expect("a page");
}

#[tokio::test]
async fn a_preview_of_the_release_before_is_served_and_revoked() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    ann.save(&project.id, vec![write("index.html", "1")]).await.expect("saved");
    let old = "a".repeat(26);
    sqlx::query(
        "INSERT INTO previews (hash, project_id, user_id, touched_at, expires_at)
                 SELECT sha256($1), id, owner_id, now(), now() + interval '1 hour' FROM projects",
    )
    .bind(old.as_bytes())
    .execute(&cluster.database.pool)
    .await
    .expect("a preview");
    read(&cluster, &old, "", "").await.expect("a page");
    let request = ann.request(DeletePreviewRequest { project_id: project.id.clone(), capability: old.clone() });
    answer(ann.client.clone().delete_preview(request).await).expect("revoked");
    assert_eq!(reason(read(&cluster, &old, "", "").await), "PREVIEW_NOT_FOUND");
}
