//! The past of a project: revisions, their labels, their differences, and restores.

use proto::{
    error::Fault,
    project_storage::{
        DeleteLabelRequest, DiffRevisionsRequest, DiffRevisionsResponse, DiffStat, FileChange, FileContent, FileDiff, FileStatus,
        GetRevisionRequest, Label, ListLabelsRequest, ListRevisionsRequest, RestoreRevisionRequest, RestoreRevisionResponse, Revision,
        SetLabelRequest, file_change::Action, file_content::Data,
    },
};

use crate::harness::{Cluster, Person, answer, create, delete, reason, rename, update, write};

const TEN: &str = "one 1\ntwo 2\nthree 3\nfour 4\nfive 5\nsix 6\nseven 7\neight 8\nnine 9\nten 10\n";

impl Person {
    async fn diff(&self, request: DiffRevisionsRequest) -> Result<DiffRevisionsResponse, Box<Fault>> {
        answer(self.client.clone().diff_revisions(self.request(request)).await)
    }

    async fn restore(&self, request: RestoreRevisionRequest) -> Result<RestoreRevisionResponse, Box<Fault>> {
        answer(self.client.clone().restore_revision(self.request(request)).await)
    }

    async fn label(&self, project: &str, label: &str, revision: &str) -> Result<Label, Box<Fault>> {
        let request = SetLabelRequest { project_id: project.into(), label: label.into(), revision: revision.into() };
        answer(self.client.clone().set_label(self.request(request)).await).map(|set| set.label.expect("a label"))
    }

    async fn labels(&self, project: &str) -> Vec<(String, String)> {
        let request = ListLabelsRequest { project_id: project.into(), ..Default::default() };
        let labels = answer(self.client.clone().list_labels(self.request(request)).await).expect("labels").labels;
        labels.into_iter().map(|label| (label.name, label.revision)).collect()
    }

    async fn revision(&self, project: &str, revision: &str) -> Result<Revision, Box<Fault>> {
        let request = GetRevisionRequest { project_id: project.into(), revision: revision.into() };
        answer(self.client.clone().get_revision(self.request(request)).await).map(|got| got.revision.expect("a revision"))
    }

    /// Saves, and returns the id of the new revision.
    async fn saved(&self, project: &str, changes: Vec<FileChange>) -> String {
        self.save(project, changes).await.expect("saved").revision.expect("a revision").id
    }
}

fn write_bytes(path: &str, bytes: &'static [u8]) -> FileChange {
    let content = FileContent { data: Some(Data::Binary(bytes.into())) };
    FileChange { path: path.into(), action: Some(Action::Write(content)), ..Default::default() }
}

/// A file of a diff on one line: status, similarity, paths, lines.
fn line(file: &FileDiff) -> String {
    let paths = if file.old_path.is_empty() { file.path.clone() } else { format!("{} {}", file.old_path, file.path) };
    let kind = match file.status() {
        FileStatus::Added => "A".to_owned(),
        FileStatus::Modified => "M".to_owned(),
        FileStatus::Deleted => "D".to_owned(),
        FileStatus::Renamed => format!("R{}", file.similarity),
        FileStatus::Unspecified => "?".to_owned(),
    };
    let lines = if file.binary { "binary".to_owned() } else { format!("+{} -{}", file.added_lines, file.deleted_lines) };
    format!("{kind} {paths} {lines}")
}

#[tokio::test]
async fn a_diff_shows_files_and_lines() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.saved(&project, vec![write("a.txt", TEN), write("gone.txt", "1\n"), write("src/move.txt", TEN)]).await;
    let changes = vec![
        update("a.txt", &TEN.replace("five 5", "other")),
        delete("gone.txt"),
        rename("src/move.txt", "lib/moved.txt"),
        update("lib/moved.txt", &TEN.replace("one 1", "first")),
        create("new.txt", "x\ny\n"),
        write_bytes("logo.png", &[0, 159, 146, 150]),
    ];
    let second = ann.saved(&project, changes).await;
    let whole = ann.diff(DiffRevisionsRequest { project_id: project.clone(), ..Default::default() }).await.expect("a diff");
    assert_eq!((&whole.revision, &whole.base_revision), (&second, &first));
    let lines: Vec<_> = whole.files.iter().map(line).collect();
    assert_eq!(
        lines,
        ["M a.txt +1 -1", "D gone.txt +0 -1", "R91 src/move.txt lib/moved.txt +1 -1", "A logo.png binary", "A new.txt +2 -0",]
    );
    assert_eq!(whole.diff_stat, Some(DiffStat { added: 2, modified: 1, deleted: 1, renamed: 1 }));
    let hunk = &whole.files[0].hunks[0];
    assert_eq!((hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines), (2, 7, 2, 7));
    assert_eq!(hunk.text, " two 2\n three 3\n four 4\n-five 5\n+other\n six 6\n seven 7\n eight 8\n");

    // The other way round, one file, without context.
    let back = DiffRevisionsRequest {
        project_id: project.clone(),
        revision: first.clone(),
        base_revision: second.clone(),
        path: "src/move.txt".into(),
        context_lines: Some(0),
        ..Default::default()
    };
    let back = ann.diff(back).await.expect("a diff");
    assert_eq!(back.files.iter().map(line).collect::<Vec<_>>(), ["R91 lib/moved.txt src/move.txt +1 -1"]);
    assert_eq!(back.files[0].hunks[0].text, "-first\n+one 1\n");
    assert_eq!(back.diff_stat, Some(DiffStat { added: 1, modified: 1, deleted: 2, renamed: 1 }), "of all files");

    // The first revision is compared with no files.
    let request = DiffRevisionsRequest { project_id: project.clone(), revision: first, names_only: true, ..Default::default() };
    let begin = ann.diff(request).await.expect("a diff");
    assert_eq!((begin.base_revision.as_str(), begin.files.len()), ("", 3));
    assert!(begin.files.iter().all(|file| file.status() == FileStatus::Added && file.hunks.is_empty() && file.added_lines == 0));
}

#[tokio::test]
async fn pages_of_a_diff_keep_their_revisions() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let names: Vec<String> = (0..7).map(|n| format!("f{n}.txt")).collect();
    ann.saved(&project, names.iter().map(|name| write(name, "1\n")).collect()).await;
    let mut request = DiffRevisionsRequest { project_id: project.clone(), page_size: 3, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = ann.diff(request.clone()).await.expect("a page");
        assert_eq!(page.diff_stat.as_ref().map(|stat| stat.added), Some(7));
        seen.extend(page.files.into_iter().map(|file| file.path));
        // What is saved meanwhile is not part of the diff.
        ann.saved(&project, vec![write("later.txt", &seen.len().to_string())]).await;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, names);
    let other = DiffRevisionsRequest { project_id: project, names_only: true, page_size: 0, ..request };
    assert_eq!(reason(ann.diff(other).await), "PAGE_TOKEN_INVALID", "a token of another diff");
}

#[tokio::test]
async fn labels_name_revisions() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let first = ann.saved(&project, vec![write("a", "1")]).await;
    let second = ann.saved(&project, vec![write("a", "2")]).await;
    let set = ann.label(&project, "before the redesign", &first).await.expect("set");
    assert_eq!((set.name.as_str(), &set.revision, &set.user_id), ("before the redesign", &first, &ann.id.to_string()));
    assert_eq!(ann.label(&project, "before the redesign", &first).await.expect("set again"), set, "a repeat changes nothing");
    ann.label(&project, "Ä", &first).await.expect("set");
    assert_eq!(ann.revision(&project, &first).await.expect("found").labels, ["before the redesign", "Ä"]);
    assert!(ann.revision(&project, &second).await.expect("found").labels.is_empty());
    let list = ann.request(ListRevisionsRequest { project_id: project.clone(), ..Default::default() });
    let log = answer(ann.client.clone().list_revisions(list).await).expect("a log").revisions;
    assert_eq!(log.iter().map(|revision| revision.labels.len()).collect::<Vec<_>>(), [0, 2]);

    ann.label(&project, "Ä", &second).await.expect("moved");
    assert_eq!(ann.labels(&project).await, [("before the redesign".to_owned(), first.clone()), ("Ä".to_owned(), second.clone())]);
    for (label, field) in [
        ("", "label"),
        ("a/b", "label"),
        ("a\u{202e}b", "label"),
        (&"x".repeat(121), "label"),
        (".", "label"),
        ("..", "label"),
        (" ", "label"),
    ] {
        let fault = ann.label(&project, label, &first).await.expect_err("refused");
        assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", field), "{label:?}");
    }
    assert_eq!(reason(ann.label(&project, "x", &"a".repeat(40)).await), "REVISION_NOT_FOUND");
    assert_eq!(ann.label(&project, "  Ä ", &second).await.expect("moved").name, "Ä", "white space is removed");
    assert_eq!(reason(bob.label(&project, "x", &first).await), "PROJECT_NOT_FOUND");
    let remove = || DeleteLabelRequest { project_id: project.clone(), label: "Ä".into() };
    assert_eq!(reason(answer(bob.client.clone().delete_label(bob.request(remove())).await)), "PROJECT_NOT_FOUND");
    answer(ann.client.clone().delete_label(ann.request(remove())).await).expect("deleted");
    assert_eq!(reason(answer(ann.client.clone().delete_label(ann.request(remove())).await)), "LABEL_NOT_FOUND");
    assert_eq!(ann.labels(&project).await.len(), 1);
}

#[tokio::test]
async fn a_project_has_at_most_five_hundred_labels() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.saved(&project, vec![write("a", "1")]).await;
    sqlx::query(
        "INSERT INTO labels (project_id, name, oid, user_id)
         SELECT p.id, 'label ' || n, r.oid, p.owner_id FROM projects p JOIN refs r ON r.project_id = p.id, generate_series(1, 500) n",
    )
    .execute(&cluster.database.pool)
    .await
    .expect("inserted");
    let fault = ann.label(&project, "one more", &first).await.expect_err("refused");
    assert_eq!((fault.reason.as_str(), fault.metadata.get("limit").map(String::as_str)), ("TOO_MANY_LABELS", Some("500")));
    ann.label(&project, "label 7", &first).await.expect("a label that exists may be set");
}

#[tokio::test]
async fn a_restore_is_a_new_revision_with_old_files() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.saved(&project, vec![write("a", "1"), write("b", "2")]).await;
    let second = ann.saved(&project, vec![write("a", "9"), delete("b"), write("c", "3")]).await;
    let objects = cluster.count("SELECT count(*) FROM objects").await;
    let ask = RestoreRevisionRequest {
        project_id: project.clone(),
        revision: first.clone(),
        base_revision: second.clone(),
        request_id: "restore-1".into(),
        ..Default::default()
    };
    let restored = ann.restore(ask.clone()).await.expect("restored");
    let revision = restored.revision.expect("a revision");
    assert_eq!((revision.number, revision.message.as_str(), &revision.parent_ids), (3, "Restore revision 1", &vec![second.clone()]));
    assert_eq!(revision.diff_stat, Some(DiffStat { added: 1, modified: 1, deleted: 1, renamed: 0 }));
    assert_eq!(ann.files(&project).await, ["a=1", "b=2"]);
    assert_eq!(cluster.count("SELECT count(*) FROM objects").await, objects + 1, "only the commit is new");

    let again = ann.restore(ask.clone()).await.expect("answered");
    assert_eq!((again.replayed, again.revision.expect("a revision").id), (true, revision.id.clone()));
    let other = RestoreRevisionRequest { revision: second.clone(), ..ask.clone() };
    assert_eq!(reason(ann.restore(other).await), "KEY_REUSED");
    let stale = RestoreRevisionRequest { request_id: String::new(), ..ask.clone() };
    assert_eq!(reason(ann.restore(stale).await), "STALE_REVISION");

    // A restore of the present files makes no revision, and a restore of the newer revision undoes the first one.
    let same = RestoreRevisionRequest { project_id: project.clone(), revision: first, ..Default::default() };
    assert_eq!(ann.restore(same).await.expect("restored").revision.expect("the head").id, revision.id);
    let undo = RestoreRevisionRequest { project_id: project.clone(), revision: second, message: "Undo".into(), ..Default::default() };
    assert_eq!(ann.restore(undo).await.expect("restored").revision.expect("a revision").message, "Undo");
    assert_eq!(ann.files(&project).await, ["a=9", "c=3"]);
}

#[tokio::test]
async fn a_viewer_reads_the_history_and_changes_nothing() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let first = ann.saved(&project, vec![write("a", "1")]).await;
    ann.saved(&project, vec![write("a", "2")]).await;
    ann.label(&project, "x", &first).await.expect("set");
    sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, 1 FROM projects")
        .bind(bob.id.0)
        .execute(&cluster.database.pool)
        .await
        .expect("a viewer");
    assert_eq!(bob.revision(&project, &first).await.expect("found").labels, ["x"]);
    assert_eq!(bob.labels(&project).await.len(), 1);
    let diff = bob.diff(DiffRevisionsRequest { project_id: project.clone(), ..Default::default() }).await.expect("a diff");
    assert_eq!(diff.files.len(), 1);
    assert_eq!(reason(bob.label(&project, "y", &first).await), "ROLE_REQUIRED");
    let remove = DeleteLabelRequest { project_id: project.clone(), label: "x".into() };
    assert_eq!(reason(answer(bob.client.clone().delete_label(bob.request(remove)).await)), "ROLE_REQUIRED");
    let restore = RestoreRevisionRequest { project_id: project.clone(), revision: first, ..Default::default() };
    assert_eq!(reason(bob.restore(restore).await), "ROLE_REQUIRED");
}

#[tokio::test]
async fn nobody_reads_or_restores_by_a_foreign_revision() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (mine, theirs) = (ann.create().await.id, bob.create().await.id);
    let own = ann.saved(&mine, vec![write("a", "1")]).await;
    let foreign = bob.saved(&theirs, vec![write("secret", "2")]).await;
    let restore = |project: &str, revision: &str| RestoreRevisionRequest {
        project_id: project.into(),
        revision: revision.into(),
        ..Default::default()
    };
    assert_eq!(reason(ann.restore(restore(&mine, &foreign)).await), "REVISION_NOT_FOUND");
    assert_eq!(reason(ann.restore(restore(&theirs, &foreign)).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(ann.revision(&mine, &foreign).await), "REVISION_NOT_FOUND");
    let diff = |revision: &str, base: &str| DiffRevisionsRequest {
        project_id: mine.clone(),
        revision: revision.into(),
        base_revision: base.into(),
        ..Default::default()
    };
    assert_eq!(reason(ann.diff(diff(&foreign, "")).await), "REVISION_NOT_FOUND");
    assert_eq!(reason(ann.diff(diff(&own, &foreign)).await), "REVISION_NOT_FOUND");
    let turn = DiffRevisionsRequest { turn_id: uuid::Uuid::now_v7().to_string(), ..diff("", "") };
    assert_eq!(reason(ann.diff(turn).await), "REVISION_NOT_FOUND");
}
