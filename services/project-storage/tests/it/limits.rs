//! Each limit at N and at N + 1. The error names the file and the limit, and no part of the save is applied.

use prost::bytes::Bytes;
use proto::{
    auth::Plan,
    error::Fault,
    project_storage::{FileChange, FileContent, LoadProjectRequest, file_change::Action, file_content::Data},
};

use crate::harness::{Cluster, Person, delete, rename, write};

fn assert_limit(fault: &Fault, reason: &str, path: &str, limit: &str) {
    assert_eq!((fault.reason.as_str(), fault.metadata["path"].as_str(), fault.metadata["limit"].as_str()), (reason, path, limit));
    assert!(fault.violations[0].field.starts_with("changes[") && fault.violations[0].description.contains(limit), "{fault:?}");
}

/// Saves files, in as many saves as are needed.
async fn fill(person: &Person, project: &str, files: impl Iterator<Item = FileChange>) {
    let files: Vec<_> = files.collect();
    for chunk in files.chunks(200) {
        person.save(project, chunk.to_vec()).await.expect("saved");
    }
}

#[tokio::test]
async fn bytes_of_a_file_by_plan() {
    let cluster = Cluster::start().await;
    for (plan, limit) in [(Plan::Free, 51_200), (Plan::Pro, 102_400), (Plan::Team, 512_000), (Plan::Enterprise, 512_000)] {
        let person = cluster.person_on(plan);
        let project = person.create().await;
        assert_eq!(project.limits.expect("limits").file_bytes, limit);
        let limit = limit as usize;
        person.save(&project.id, vec![write("a", &"x".repeat(limit))]).await.expect("at the limit");
        // The limit counts bytes, not characters.
        let fault = person.save(&project.id, vec![write("ok", "1"), write("b", &"é".repeat(limit / 2 + 1))]).await.expect_err("above");
        assert_limit(&fault, "FILE_TOO_LARGE", "b", &limit.to_string());
        assert_eq!(person.load(&project.id).await.expect("a project").files.len(), 1);
    }
}

#[tokio::test]
async fn files_of_a_save_and_of_a_project() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    let file = |n: usize| write(&format!("d{}/f{n}", n / 500), &n.to_string());
    let fault = ann.save(&project.id, (0..201).map(file).collect()).await.expect_err("201 changes");
    assert_eq!((fault.reason.as_str(), fault.metadata["limit"].as_str()), ("TOO_MANY_CHANGES", "200"));
    fill(&ann, &project.id, (0..2000).map(file)).await;
    let fault = ann.save(&project.id, vec![file(0), file(2000)]).await.expect_err("one too many");
    assert_limit(&fault, "TOO_MANY_FILES", "d4/f2000", "2000");
    assert_eq!(fault.violations[0].field, "changes[1].path");
    ann.save(&project.id, vec![file(2000), delete("d0/f0")]).await.expect("one file added, one deleted");
    ann.save(&project.id, vec![rename("d0/f1", "moved")]).await.expect("a move adds nothing");
    assert_eq!(ann.load(&project.id).await.expect("a project").files.len(), 2000);
}

#[tokio::test]
async fn entries_of_a_folder() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    fill(&ann, &project.id, (0..999).map(|n| write(&format!("d/f{n}"), "1"))).await;
    ann.save(&project.id, vec![write("d/folder/x", "1")]).await.expect("a folder is an entry");
    let fault = ann.save(&project.id, vec![write("d/folder/y", "1"), write("d/more", "1")]).await.expect_err("one too many");
    assert_limit(&fault, "FOLDER_TOO_LARGE", "d/folder/y", "1000");
    ann.save(&project.id, vec![write("d/folder/y", "1"), write("d/f1", "2")]).await.expect("each folder counts its own entries");
}

#[tokio::test]
async fn bytes_of_a_project() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await;
    // Zeros: the limit counts the content, not its compressed form.
    let zeros = |n: usize, size: usize| FileChange {
        path: format!("d{}/f{n}", n / 500),
        action: Some(Action::Write(FileContent { data: Some(Data::Binary(Bytes::from(vec![0; size]))) })),
        etag: String::new(),
    };
    // 1,023 x 51,200 bytes leave 51,200 of 52,428,800.
    fill(&ann, &project.id, (0..1023).map(|n| zeros(n, 51_200))).await;
    let fault = ann.save(&project.id, vec![zeros(1023, 51_199), zeros(1024, 2)]).await.expect_err("one byte too many");
    assert_limit(&fault, "PROJECT_TOO_LARGE", "d2/f1024", "52428800");
    ann.save(&project.id, vec![zeros(1023, 51_200)]).await.expect("at the limit");
    let fault = ann.save(&project.id, vec![write("g", "1")]).await.expect_err("full");
    assert_limit(&fault, "PROJECT_TOO_LARGE", "g", "52428800");
    let loaded = ann.load(&project.id).await.expect("all of it in one answer");
    assert_eq!(loaded.files.iter().map(|f| u64::from(f.size_bytes)).sum::<u64>(), 52_428_800);
}

#[tokio::test]
async fn a_load_without_pages_is_bounded() {
    let cluster = Cluster::start().await;
    let ann = cluster.person_on(Plan::Team);
    let project = ann.create().await;
    assert_eq!(project.limits.expect("limits").project_bytes, 262_144_000);
    let zeros = |n: usize| FileChange {
        path: format!("f{n}"),
        action: Some(Action::Write(FileContent { data: Some(Data::Binary(Bytes::from(vec![0; 512_000]))) })),
        etag: String::new(),
    };
    // 103 x 512,000 bytes are more than 52,428,800.
    fill(&ann, &project.id, (0..103).map(zeros)).await;
    let fault = ann.load(&project.id).await.expect_err("too large");
    assert_eq!((fault.reason.as_str(), fault.metadata["limit"].as_str()), ("LOAD_TOO_LARGE", "52428800"));
    assert_eq!(fault.violations[0].field, "page_bytes");
    let page = LoadProjectRequest { project_id: project.id.clone(), page_bytes: 1 << 20, ..LoadProjectRequest::default() };
    let page = ann.load_page(page).await.expect("a page");
    assert!(page.files.len() < 4 && !page.next_page_token.is_empty());
}
