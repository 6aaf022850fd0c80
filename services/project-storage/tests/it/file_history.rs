//! The history of one file, across renames.

use proto::{
    error::Fault,
    project_storage::{FileRevision, FileStatus, ListFileRevisionsRequest, ListFileRevisionsResponse, Take},
};

use crate::{
    conflicts::{Conflict, take},
    harness::{Cluster, Person, answer, delete, reason, rename, update, write},
    history::TEN,
};

impl Person {
    pub(crate) async fn file_history(&self, request: ListFileRevisionsRequest) -> Result<ListFileRevisionsResponse, Box<Fault>> {
        answer(self.client.clone().list_file_revisions(self.request(request)).await)
    }

    /// The whole history in pages of `size`.
    pub(crate) async fn whole_file_history(&self, mut request: ListFileRevisionsRequest, size: i32) -> Vec<FileRevision> {
        request.page_size = size;
        let mut found = Vec::new();
        loop {
            let page = self.file_history(request.clone()).await.expect("a page");
            found.extend(page.file_revisions);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return found;
            }
        }
    }
}

/// An entry on one line: number, status, paths.
fn line(entry: &FileRevision) -> String {
    let number = entry.revision.as_ref().expect("a revision").number;
    match entry.status() {
        FileStatus::Added => format!("{number} A {}", entry.path),
        FileStatus::Modified => format!("{number} M {}", entry.path),
        FileStatus::Deleted => format!("{number} D {}", entry.path),
        FileStatus::Renamed => format!("{number} R{} {} {}", entry.similarity, entry.old_path, entry.path),
        FileStatus::Unspecified => format!("{number} ?"),
    }
}

#[tokio::test]
async fn a_history_follows_renames() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let changed = TEN.replace("five 5", "other");
    ann.saved(&project, vec![write("a.txt", "gone")]).await;
    ann.saved(&project, vec![delete("a.txt"), write("x", "1")]).await;
    ann.saved(&project, vec![write("a.txt", TEN)]).await;
    ann.saved(&project, vec![write("x", "2")]).await;
    ann.saved(&project, vec![rename("a.txt", "src/b.txt"), update("src/b.txt", &changed)]).await;
    let sixth = ann.saved(&project, vec![update("src/b.txt", &changed.replace("one 1", "first")), write("a.txt", "another file")]).await;
    ann.saved(&project, vec![rename("src/b.txt", "src/lib/c.txt")]).await;
    ann.saved(&project, vec![delete("src/lib/c.txt")]).await;
    ann.saved(&project, vec![write("src/lib/c.txt", "new")]).await;
    ann.label(&project, "before", &sixth).await.expect("a label");

    let of = |path: &str, revision: &str| ListFileRevisionsRequest {
        project_id: project.clone(),
        path: path.into(),
        revision: revision.into(),
        ..Default::default()
    };
    let whole = [
        "9 A src/lib/c.txt",
        "8 D src/lib/c.txt",
        "7 R100 src/b.txt src/lib/c.txt",
        "6 M src/b.txt",
        "5 R90 a.txt src/b.txt",
        "3 A a.txt",
        "2 D a.txt",
        "1 A a.txt",
    ];
    for size in [1, 3, 50] {
        let found = ann.whole_file_history(of("src/lib/c.txt", ""), size).await;
        assert_eq!(found.iter().map(line).collect::<Vec<_>>(), whole, "in pages of {size}");
        let found = ann.whole_file_history(of("src/b.txt", &sixth), size).await;
        assert_eq!(found.iter().map(line).collect::<Vec<_>>(), whole[3..]);
        let found = ann.whole_file_history(of("a.txt", ""), size).await;
        assert_eq!(found.iter().map(line).collect::<Vec<_>>(), ["6 A a.txt", "5 D a.txt", "3 A a.txt", "2 D a.txt", "1 A a.txt"]);
    }
    let entry = &ann.whole_file_history(of("src/b.txt", &sixth), 1).await[0];
    assert_eq!(entry.revision.as_ref().expect("a revision").labels, ["before"]);
    assert_eq!((entry.size_bytes as usize, entry.etag.len()), (changed.len(), 42));

    for (request, expected) in [
        (of("src/b.txt", ""), "FILE_NOT_FOUND"),
        (of("src", ""), "FILE_NOT_FOUND"),
        (of("a.txt", &"a".repeat(40)), "REVISION_NOT_FOUND"),
        (of("../a.txt", ""), "INVALID_PATH"),
        (of("a.txt", "x"), "INVALID_FIELD"),
    ] {
        assert_eq!(reason(ann.file_history(request.clone()).await), expected, "{request:?}");
    }
    assert_eq!(reason(bob.file_history(of("a.txt", "")).await), "PROJECT_NOT_FOUND");
    let page = ann.file_history(ListFileRevisionsRequest { page_size: 1, ..of("a.txt", "") }).await.expect("a page");
    let other = ListFileRevisionsRequest { page_token: page.next_page_token, ..of("x", "") };
    assert_eq!(reason(ann.file_history(other).await), "PAGE_TOKEN_INVALID");
    cluster.join(&bob, 1).await;
    assert_eq!(bob.whole_file_history(of("a.txt", ""), 50).await.len(), 5, "a viewer reads it");
    let empty = ListFileRevisionsRequest { project_id: ann.create().await.id, ..of("a.txt", "") };
    assert_eq!(reason(ann.file_history(empty).await), "FILE_NOT_FOUND");
}

#[tokio::test]
async fn a_long_log_is_read_in_short_pages() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.saved(&project, vec![write("src/old", "1")]).await;
    cluster.repeat_head(&project, 1_500).await;
    ann.saved(&project, vec![write("src/old", "2")]).await;
    let request = ListFileRevisionsRequest { project_id: project, path: "src/old".into(), ..Default::default() };
    let first = ann.file_history(request.clone()).await.expect("a page");
    assert_eq!(first.file_revisions.iter().map(line).collect::<Vec<_>>(), ["1502 M src/old"]);
    let second = ann.file_history(ListFileRevisionsRequest { page_token: first.next_page_token, ..request }).await.expect("a page");
    assert_eq!(second.file_revisions.iter().map(line).collect::<Vec<_>>(), ["1 A src/old"]);
}

/// A page may search for ten old paths, and the next one goes on.
#[tokio::test]
async fn many_renames_are_read_in_short_pages() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.saved(&project, vec![write("f0", TEN)]).await;
    for n in 0..14 {
        ann.saved(&project, vec![rename(&format!("f{n}"), &format!("f{}", n + 1))]).await;
    }
    let request = ListFileRevisionsRequest { project_id: project, path: "f14".into(), ..Default::default() };
    let page = ann.file_history(request.clone()).await.expect("a page");
    assert_eq!(page.file_revisions.len(), 10);
    assert_eq!(ann.whole_file_history(request, 50).await.len(), 15);
}

#[tokio::test]
async fn the_history_of_a_conflicted_turn_begins_with_its_commit() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let of = |path: &str| ListFileRevisionsRequest {
        project_id: conflict.project.clone(),
        path: path.into(),
        revision: conflict.turn_revision.clone(),
        ..Default::default()
    };
    let lines = async |request| conflict.ann.whole_file_history(request, 1).await.iter().map(line).collect::<Vec<_>>();
    assert_eq!(lines(of("a")).await, ["0 M a", "1 A a"]);
    assert_eq!(lines(of("new")).await, ["0 A new"]);
    conflict.resolve(conflict.request(vec![take("a", Take::Turn), take("b", Take::Head)])).await.expect("resolved");
    assert_eq!(lines(ListFileRevisionsRequest { revision: String::new(), ..of("a") }).await, ["3 M a", "2 M a", "1 A a"]);
    assert_eq!(reason(conflict.ann.file_history(of("a")).await), "REVISION_NOT_FOUND", "the commit is in no log any more");
}
