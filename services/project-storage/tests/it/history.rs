//! The past of a project: revisions, their labels, their differences, and restores.

use proto::{
    error::Fault,
    project_storage::{
        DeleteLabelRequest, DiffRevisionsRequest, DiffRevisionsResponse, DiffStat, FileChange, FileContent, FileDiff, FileStatus,
        GetRevisionRequest, Label, ListLabelsRequest, ListRevisionsRequest, ResolveConflictRequest, RestoreRevisionRequest,
        RestoreRevisionResponse, Revision, SaveProjectRequest, SetLabelRequest, Take, file_change::Action, file_content::Data,
    },
};

use crate::{
    conflicts::{Conflict, take},
    harness::{Cluster, Person, Turn, answer, commit, create, delete, listing, reason, rename, update, write},
};

pub(crate) const TEN: &str = "one 1\ntwo 2\nthree 3\nfour 4\nfive 5\nsix 6\nseven 7\neight 8\nnine 9\nten 10\n";

impl Person {
    pub(crate) async fn diff(&self, request: DiffRevisionsRequest) -> Result<DiffRevisionsResponse, Box<Fault>> {
        answer(self.client.clone().diff_revisions(self.request(request)).await)
    }

    pub(crate) async fn restore(&self, request: RestoreRevisionRequest) -> Result<RestoreRevisionResponse, Box<Fault>> {
        answer(self.client.clone().restore_revision(self.request(request)).await)
    }

    pub(crate) async fn label(&self, project: &str, label: &str, revision: &str) -> Result<Label, Box<Fault>> {
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
    pub(crate) async fn saved(&self, project: &str, changes: Vec<FileChange>) -> String {
        self.save(project, changes).await.expect("saved").revision.expect("a revision").id
    }
}

pub(crate) fn write_bytes(path: &str, bytes: &'static [u8]) -> FileChange {
    let content = FileContent { data: Some(Data::Binary(bytes.into())) };
    FileChange { path: path.into(), action: Some(Action::Write(content)), ..Default::default() }
}

/// A file of a diff on one line: status, similarity, paths, lines.
pub(crate) fn line(file: &FileDiff) -> String {
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
    let objects = cluster.rows_of_projects("objects").await;
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
    assert_eq!(cluster.rows_of_projects("objects").await, objects + 1, "only the commit is new");

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
    cluster.join(&bob, 1).await;
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
    assert_eq!(reason(ann.diff(turn).await), "TURN_NOT_FOUND");
}

/// The diff of a conflicted turn is what its own commit changed, whatever became of its branch.
#[tokio::test]
async fn a_conflicted_turn_is_compared_with_its_base() {
    let cluster = Cluster::start().await;
    let (resolved, expired) = (Conflict::start(&cluster).await, Conflict::start(&cluster).await);
    let check = async |conflict: &Conflict| {
        let request = DiffRevisionsRequest {
            project_id: conflict.project.clone(),
            turn_id: conflict.turn.id.clone(),
            page_size: 3,
            ..Default::default()
        };
        let page = conflict.ann.diff(request.clone()).await.expect("a diff");
        assert_eq!((&page.revision, &page.base_revision), (&conflict.turn_revision, &conflict.base));
        assert_eq!(page.files.iter().map(line).collect::<Vec<_>>(), ["M a +1 -1", "D b +0 -1", "M m +1 -1"]);
        let next = conflict.ann.diff(DiffRevisionsRequest { page_token: page.next_page_token, ..request }).await.expect("a page");
        assert_eq!(next.files.iter().map(line).collect::<Vec<_>>(), ["A new +1 -0"]);
    };
    check(&resolved).await;
    resolved.resolve(resolved.request(vec![take("a", Take::Turn), take("b", Take::Head)])).await.expect("resolved");
    check(&resolved).await;
    let end = "UPDATE refs SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL";
    sqlx::query(end).execute(&cluster.database.pool).await.expect("expired");
    check(&expired).await;
    // The commit is found by its turn only.
    let by_id = DiffRevisionsRequest { project_id: expired.project.clone(), revision: expired.turn_revision.clone(), ..Default::default() };
    assert_eq!(reason(expired.ann.diff(by_id).await), "REVISION_NOT_FOUND");
    let sql = "DELETE FROM objects WHERE tag & 15 = 1";
    sqlx::query(sql).execute(&cluster.database.pool).await.expect("deleted");
    let gone = DiffRevisionsRequest { project_id: expired.project.clone(), turn_id: expired.turn.id.clone(), ..Default::default() };
    assert_eq!(reason(expired.ann.diff(gone).await), "REVISION_NOT_FOUND");
}

#[tokio::test]
async fn a_turn_without_a_revision_differs_from_an_unknown_turn() {
    let cluster = Cluster::start().await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (project, other) = (ann.create().await.id, bob.create().await.id);
    let base = ann.saved(&project, vec![write("a", "1")]).await;
    let (open, unchanged) = (Turn::new(&cluster), Turn::new(&cluster));
    open.begin(&ann, &project, "go").await.expect("begun");
    unchanged.begin(&ann, &project, "go").await.expect("begun");
    commit(&unchanged.agent, unchanged.result(&base, vec![])).await.expect("committed");
    let diff = |project: &str, turn: &str| DiffRevisionsRequest { project_id: project.into(), turn_id: turn.into(), ..Default::default() };
    assert_eq!(reason(ann.diff(diff(&project, &open.id)).await), "REVISION_NOT_FOUND");
    assert_eq!(reason(ann.diff(diff(&project, &unchanged.id)).await), "REVISION_NOT_FOUND");
    assert_eq!(reason(bob.diff(diff(&other, &open.id)).await), "TURN_NOT_FOUND", "a turn of another project");
    assert_eq!(reason(bob.diff(diff(&project, &open.id)).await), "PROJECT_NOT_FOUND");
}

/// Files above the limit are only in projects that were written past the rules for saves.
#[tokio::test]
async fn a_large_file_is_named_and_not_compared() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let large = vec![b'x'; 1024 * 1024 + 1];
    cluster.write_first(&ann, &project, &[("large", &large), ("fits", &large[1..]), ("small", b"1\n")]).await;
    let request = DiffRevisionsRequest { project_id: project, ..Default::default() };
    let diff = ann.diff(request.clone()).await.expect("a diff");
    let files: Vec<_> = diff.files.iter().map(|file| (file.path.as_str(), file.too_large, file.added_lines, file.size_bytes)).collect();
    assert_eq!(files, [("fits", false, 1, 1024 * 1024)], "a page of its own");
    let next = DiffRevisionsRequest { page_token: diff.next_page_token, ..request };
    let files = ann.diff(next).await.expect("a page").files;
    let files: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.too_large, file.added_lines, file.size_bytes)).collect();
    assert_eq!(files, [("large", true, 0, 1024 * 1024 + 1), ("small", false, 1, 2)]);
}

#[tokio::test]
async fn a_request_id_is_shared_by_saves_and_restores() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.saved(&project, vec![write("a", "1")]).await;
    let save =
        SaveProjectRequest { project_id: project.clone(), changes: vec![write("a", "2")], request_id: "one".into(), ..Default::default() };
    let restore = RestoreRevisionRequest { project_id: project.clone(), revision: first, request_id: "one".into(), ..Default::default() };
    ann.send(save.clone()).await.expect("saved");
    assert_eq!(reason(ann.restore(restore.clone()).await), "KEY_REUSED");
    let restore = RestoreRevisionRequest { request_id: "two".into(), ..restore };
    let restored = ann.restore(restore.clone()).await.expect("restored").revision.expect("a revision");
    assert_eq!(reason(ann.send(SaveProjectRequest { request_id: "two".into(), ..save.clone() }).await), "KEY_REUSED");
    assert_eq!((ann.send(save).await.expect("a replay").replayed, ann.restore(restore).await.expect("a replay").replayed), (true, true));
    assert_eq!(restored.number, 3);
    assert_eq!(ann.files(&project).await, ["a=1"]);
}

/// Restores and saves at the same time: all are in the log, in one chain, and the head has the files of the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_races_saves() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.saved(&project, vec![write("a", "1")]).await;
    ann.saved(&project, vec![write("a", "2"), write("b", "1")]).await;
    let save = async |n: usize| {
        for round in 0..6 {
            ann.save(&project, vec![write(&format!("s{n}"), &round.to_string())]).await.expect("saved");
        }
    };
    let restore = async || {
        for _ in 0..6 {
            let request = RestoreRevisionRequest { project_id: project.clone(), revision: first.clone(), ..Default::default() };
            ann.restore(request).await.expect("restored");
        }
    };
    tokio::join!(save(0), save(1), restore());
    let list = ann.request(ListRevisionsRequest { project_id: project.clone(), page_size: 200, ..Default::default() });
    let log = answer(ann.client.clone().list_revisions(list).await).expect("a log").revisions;
    assert!(log.windows(2).all(|pair| pair[0].parent_ids == [pair[1].id.clone()]), "one chain");
    let saves = log.iter().filter(|revision| revision.message.is_empty()).count();
    assert_eq!(saves, 14, "no save is lost");
    let restored: Vec<_> = log.iter().filter(|revision| !revision.message.is_empty()).collect();
    assert!(!restored.is_empty() && restored.len() <= 6, "a restore without a difference makes no revision");
    for revision in restored {
        assert_eq!(listing(&ann.load_at(&project, &revision.id).await.expect("loaded")), ["a=1"]);
    }
}

#[tokio::test]
async fn the_files_of_a_conflicted_turn_are_restored() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let restore =
        RestoreRevisionRequest { project_id: conflict.project.clone(), revision: conflict.turn_revision.clone(), ..Default::default() };
    let restored = conflict.ann.restore(restore.clone()).await.expect("restored").revision.expect("a revision");
    assert_eq!(restored.message, format!("Restore the files of the conflicted turn {}", conflict.turn.id));
    assert_eq!((restored.number, &restored.parent_ids), (3, &vec![conflict.head.clone()]));
    assert_eq!(conflict.ann.files(&conflict.project).await, ["a=turn\n", "m=1\n2\nthree\n", "new=by turn"]);
    // The conflict with the new head can still be resolved, and then the commit is in no log.
    let empty = ResolveConflictRequest { base_revision: restored.id, ..conflict.request(vec![]) };
    conflict.resolve(empty).await.expect("resolved");
    assert_eq!(reason(conflict.ann.restore(restore).await), "REVISION_NOT_FOUND");
}
