//! Saves: changes, base revisions, repeats, and what is not written.

use proto::{
    error::ErrorCode,
    project_storage::{Actor, DiffStat, FileKind, ListFilesRequest, ListRevisionsRequest, SaveProjectRequest, SaveProjectResponse},
};
use rate_limit::Policies;

use crate::harness::{Cluster, answer, create, delete, listing, reason, rename, update, write};

#[tokio::test]
async fn a_save_is_one_revision() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let first = ann
        .send(SaveProjectRequest {
            project_id: project.id.clone(),
            changes: vec![write("src/App.js", "1"), create("index.html", "<p>"), write("b.bin", "2")],
            message: "first".into(),
            ..Default::default()
        })
        .await
        .expect("saved");
    let revision = first.revision.expect("a revision");
    assert_eq!(
        (revision.number, revision.message.as_str(), revision.actor, revision.parent_ids.len()),
        (1, "first", Actor::User.into(), 0)
    );
    assert_eq!(revision.diff_stat, Some(DiffStat { added: 3, modified: 0, deleted: 0, renamed: 0 }));
    let saved = first.project.expect("a project");
    assert_eq!((saved.head_revision, saved.head_number), (revision.id.clone(), 1));
    let paths: Vec<_> = first.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["src/App.js", "index.html", "b.bin"]);

    let changes = vec![update("src/App.js", "3"), rename("index.html", "public/index.html"), delete("b.bin")];
    let second = ann.save(&project.id, changes).await.expect("saved").revision.expect("a revision");
    assert_eq!((second.number, second.parent_ids), (2, vec![revision.id.clone()]));
    assert_eq!(second.diff_stat, Some(DiffStat { added: 0, modified: 1, deleted: 1, renamed: 1 }));
    assert_eq!(ann.files(&project.id).await, ["public/index.html=<p>", "src/App.js=3"]);
    assert_eq!(listing(&ann.load_at(&project.id, &revision.id).await.expect("old")), ["b.bin=2", "index.html=<p>", "src/App.js=1"]);

    let list = ann.request(ListFilesRequest { project_id: project.id.clone(), ..Default::default() });
    let tree = answer(ann.client.clone().list_files(list).await).expect("a tree");
    let lines: Vec<_> = tree.files.iter().map(|f| (f.path.as_str(), f.kind(), f.size_bytes, f.etag.is_empty())).collect();
    assert_eq!(
        lines,
        [
            ("public", FileKind::Folder, 0, true),
            ("public/index.html", FileKind::File, 3, false),
            ("src", FileKind::Folder, 0, true),
            ("src/App.js", FileKind::File, 1, false)
        ]
    );
    let list = ann.request(ListRevisionsRequest { project_id: project.id, ..Default::default() });
    let log = answer(ann.client.clone().list_revisions(list).await).expect("a log").revisions;
    assert_eq!(log.iter().map(|r| r.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(log[1], revision, "the log has the revision of the answer");
}

#[tokio::test]
async fn all_changes_apply_or_none() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    ann.save(&project.id, vec![write("a", "1"), write("d/e", "2")]).await.expect("saved");
    let rows = [
        (create("a", "9"), ErrorCode::Conflict, "FILE_EXISTS", "changes[1].path"),
        (update("x", "9"), ErrorCode::NotFound, "FILE_NOT_FOUND", "changes[1].path"),
        (delete("x"), ErrorCode::NotFound, "FILE_NOT_FOUND", "changes[1].path"),
        (rename("a", "d/e"), ErrorCode::Conflict, "FILE_EXISTS", "changes[1].rename.new_path"),
        (write("A", "9"), ErrorCode::InvalidArgument, "INVALID_PATH", "changes[1].path"),
        (write("a/b", "9"), ErrorCode::InvalidArgument, "INVALID_PATH", "changes[1].path"),
        (write("d", "9"), ErrorCode::InvalidArgument, "INVALID_PATH", "changes[1].path"),
        (write("../a", "9"), ErrorCode::InvalidArgument, "INVALID_PATH", "changes[1].path"),
        (write("b", &"x".repeat(51_201)), ErrorCode::InvalidArgument, "FILE_TOO_LARGE", "changes[1].write"),
    ];
    for (change, code, why, field) in rows {
        let fault = ann.save(&project.id, vec![write("new", "1"), change.clone()]).await.expect_err("an error");
        assert_eq!((fault.code, fault.reason.as_str(), fault.violations[0].field.as_str()), (code, why, field), "{change:?}");
        assert!(fault.metadata.contains_key("path"), "{change:?}");
    }
    assert_eq!(reason(ann.save(&project.id, vec![]).await), "INVALID_FIELD");
    assert_eq!(ann.files(&project.id).await, ["a=1", "d/e=2"]);
    assert_eq!(cluster.count("SELECT count(*) FROM ref_log").await, 1);
}

#[tokio::test]
async fn a_change_requires_the_etag_that_it_names() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let etag = ann.save(&project.id, vec![write("a", "1")]).await.expect("saved").files[0].etag.clone();
    let with_etag = |text: &str| proto::project_storage::FileChange { etag: etag.clone(), ..write("a", text) };
    let changed = ann.save(&project.id, vec![with_etag("2")]).await.expect("saved").files[0].etag.clone();
    let fault = ann.save(&project.id, vec![with_etag("3")]).await.expect_err("an error");
    assert_eq!(
        (fault.code, fault.reason.as_str(), fault.metadata["current"].as_str()),
        (ErrorCode::Conflict, "FILE_CHANGED", changed.as_str())
    );
    assert_eq!(ann.files(&project.id).await, ["a=2"]);
}

#[tokio::test]
async fn unchanged_files_are_not_written() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let many: Vec<_> = (0..100).map(|n| write(&format!("d{}/f{n}", n % 10), &format!("text {n}"))).collect();
    let first = ann.save(&project.id, many.clone()).await.expect("saved").revision.expect("a revision");
    // 100 blobs, 10 folders, the root, the commit.
    assert_eq!(cluster.rows_of_projects("objects").await, 112);
    let mut three = many.clone();
    for (n, change) in three.iter_mut().take(3).enumerate() {
        *change = write(&change.path, &format!("new {n}"));
    }
    let second = ann.save(&project.id, three.clone()).await.expect("saved").revision.expect("a revision");
    assert_eq!(second.diff_stat.expect("a stat").modified, 3);
    assert_eq!(cluster.rows_of_projects("objects").await, 112 + 3 + 3 + 2);
    // Without a difference the answer is the head.
    let third = ann.save(&project.id, three).await.expect("saved");
    assert_eq!(third.revision.as_ref(), Some(&second));
    assert_eq!(third.files.len(), 100);
    assert_eq!(cluster.count("SELECT count(*) FROM ref_log").await, 2);
    assert_ne!(first.id, second.id);
}

#[tokio::test]
async fn a_stale_base_applies_to_paths_that_did_not_change() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let on = |base: &str, changes| SaveProjectRequest {
        project_id: project.id.clone(),
        base_revision: base.into(),
        changes,
        ..Default::default()
    };
    let base = ann.save(&project.id, vec![write("a", "1"), write("b", "1")]).await.expect("saved").revision.expect("a revision").id;
    let head = ann.send(on(&base, vec![write("b", "2"), write("c", "2")])).await.expect("saved").revision.expect("a revision").id;
    // A change of another path, and then the same change as the head's.
    let merged = ann.send(on(&base, vec![write("a", "3")])).await.expect("applies on the head");
    assert_eq!(merged.revision.expect("a revision").parent_ids, [head]);
    ann.send(on(&base, vec![write("c", "2"), write("d", "3")])).await.expect("the same change is no conflict");
    assert_eq!(ann.files(&project.id).await, ["a=3", "b=2", "c=2", "d=3"]);

    let newest = format!("\"{}\"", ann.load(&project.id).await.expect("a project").project.expect("a project").head_revision);
    let fault = ann.send(on(&base, vec![write("b", "9"), delete("a")])).await.expect_err("stale");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "STALE_REVISION"));
    let metadata = |key: &str| fault.metadata[key].as_str();
    assert_eq!(
        (metadata("base"), metadata("head"), metadata("paths"), metadata("path_count")),
        (format!("\"{base}\"").as_str(), newest.as_str(), "a\nb", "2")
    );
    assert_eq!(ann.files(&project.id).await, ["a=3", "b=2", "c=2", "d=3"]);
    let unknown = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    assert_eq!(reason(ann.send(on(unknown, vec![write("z", "1")])).await), "REVISION_NOT_FOUND");
}

#[tokio::test]
async fn a_snapshot_removes_what_it_does_not_write() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let base = ann.save(&project.id, vec![write("a", "1"), write("b/c", "1")]).await.expect("saved").revision.expect("a revision").id;
    let snapshot = |base: &str, changes| SaveProjectRequest {
        project_id: project.id.clone(),
        base_revision: base.into(),
        changes,
        replace: true,
        ..Default::default()
    };
    ann.send(snapshot(&base, vec![write("B", "2"), write("a", "1")])).await.expect("saved");
    assert_eq!(ann.files(&project.id).await, ["B=2", "a=1"]);
    assert_eq!(reason(ann.send(snapshot(&base, vec![write("a", "5")])).await), "STALE_REVISION");
}

#[tokio::test]
async fn a_repeat_returns_the_first_result() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let request = |id: &str, text: &str| SaveProjectRequest {
        project_id: project.id.clone(),
        changes: vec![create("a", text)],
        request_id: id.into(),
        ..Default::default()
    };
    let first = ann.send(request("r1", "1")).await.expect("saved");
    ann.save(&project.id, vec![write("a", "2")]).await.expect("saved");
    assert_eq!(ann.send(request("r1", "1")).await.expect("repeated"), SaveProjectResponse { replayed: true, ..first });
    let fault = ann.send(request("r1", "3")).await.expect_err("another body");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "KEY_REUSED"));
    assert_eq!(ann.files(&project.id).await, ["a=2"]);
    // A save without a difference is recorded as well.
    let same = || SaveProjectRequest { changes: vec![write("a", "2")], ..request("r2", "") };
    let unchanged = ann.send(same()).await.expect("saved");
    ann.save(&project.id, vec![write("a", "4")]).await.expect("saved");
    assert_eq!(ann.send(same()).await.expect("repeated").revision, unchanged.revision);
    // Idempotency keys are per user.
    let bob = cluster.person();
    let theirs = bob.create().await;
    let other = SaveProjectRequest { project_id: theirs.id, ..request("r1", "1") };
    assert_eq!(bob.send(other).await.expect("saved").revision.expect("a revision").number, 1);
    assert_eq!(reason(ann.send(request(&"x".repeat(256), "1")).await), "INVALID_FIELD");
}

#[tokio::test]
async fn the_policy_counts_each_save_once() {
    let cluster = Cluster::with_policies(Policies::shipped()).await;
    let ann = cluster.person();
    let project = ann.create().await;
    let request = |n: u32| SaveProjectRequest {
        project_id: project.id.clone(),
        changes: vec![write("a", &n.to_string())],
        request_id: format!("r{n}"),
        ..Default::default()
    };
    for n in 0..30 {
        ann.send(request(n)).await.expect("within the policy");
        // Neither a repeat nor a refused save counts.
        ann.send(request(n)).await.expect("a repeat");
        assert_eq!(reason(ann.save(&project.id, vec![create("a", "x")]).await), "FILE_EXISTS");
    }
    let fault = ann.send(request(30)).await.expect_err("one too many");
    assert_eq!((fault.code, fault.reason.as_str(), fault.quota[0].policy.as_str()), (ErrorCode::RateLimited, "RATE_LIMITED", "save"));
    assert_eq!((fault.metadata["limit"].as_str(), fault.metadata["window"].as_str()), ("30", "3600"));
    assert!(fault.retry_after.is_some());
    ann.send(request(29)).await.expect("a repeat");
    assert_eq!(ann.files(&project.id).await, ["a=29"]);
    cluster.person().create().await;
}
