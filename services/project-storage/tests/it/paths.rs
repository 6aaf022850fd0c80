//! Stored paths that break the present rule for new paths: such files work like any other, and no new ones can be created.

use chassis::identity::Caller;
use prost::bytes::Bytes;
use proto::{
    error::{ErrorCode, Fault},
    project_storage::{
        CommitOutcome, CreatePreviewRequest, FileChange, GetConflictRequest, GetFileRequest, ListFilesRequest, OnConflict,
        ReadPreviewFileRequest, ReadTurnFilesRequest, ResolveConflictRequest, ResolvedFile, SaveProjectRequest, Take, TurnEnd,
    },
};

use crate::harness::{
    Cluster, Person, Turn, answer, commit, content, conversation, create, delete, listing, reason, rename, update, without_user, write,
};

const LINES: &str = "one\ntwo\nthree\n";
/// One path for each part of the rule for new paths. The last has a part of more than 255 bytes.
const OLD: [&str; 7] = ["a:b/c", "aux.js", "nul/what?", "to\u{202e}txt.js", "trailing ", "trailing.", LONG];
const LONG: &str = "\
    éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé\
    éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé";

/// A project whose first revision was written directly into the database, without the rule.
struct OldProject<'a> {
    cluster: &'a Cluster,
    ann: Person,
    project: String,
    base: String,
}

impl<'a> OldProject<'a> {
    async fn create(cluster: &'a Cluster) -> Self {
        let ann = cluster.person();
        let project = ann.create().await.id;
        let base = cluster.write_first(&ann, &project, &OLD.map(|path| (path, LINES.as_bytes()))).await;
        Self { cluster, ann, project, base }
    }

    /// Begins a turn on the first revision.
    async fn turn(&self) -> Turn {
        let turn = Turn::new(self.cluster);
        turn.begin(&self.ann, &self.project, "go").await.expect("begun");
        turn
    }

    async fn commit(&self, turn: &Turn, changes: Vec<FileChange>) -> (CommitOutcome, Vec<String>) {
        let committed = commit(&turn.agent, turn.result(&self.base, changes)).await.expect("committed");
        (committed.outcome(), committed.conflict_paths)
    }

    async fn save(&self, changes: Vec<FileChange>) -> String {
        self.ann.save(&self.project, changes).await.expect("saved").revision.expect("a revision").id
    }

    /// The files at the head that differ from the first revision, as `path=text`.
    async fn changed(&self) -> Vec<String> {
        let first = OLD.map(|path| format!("{path}={LINES}"));
        self.ann.files(&self.project).await.into_iter().filter(|line| !first.contains(line)).collect()
    }

    async fn resolve(&self, turn: &Turn, head: &str, files: Vec<ResolvedFile>) -> Result<(), Box<Fault>> {
        let request = ResolveConflictRequest {
            project_id: self.project.clone(),
            turn_id: turn.id.clone(),
            base_revision: head.into(),
            files,
            ..Default::default()
        };
        answer(self.ann.client.clone().resolve_conflict(self.ann.request(request)).await).map(drop)
    }
}

fn with_content(path: &str, text: &str) -> ResolvedFile {
    ResolvedFile { path: path.into(), take: Take::Content.into(), content: Some(content(text)) }
}

#[tokio::test]
async fn a_stored_path_can_be_read_by_each_rpc() {
    let cluster = Cluster::start().await;
    let old = OldProject::create(&cluster).await;
    let OldProject { ann, project, base, .. } = &old;
    let all = OLD.map(|path| format!("{path}={LINES}"));
    assert_eq!(ann.files(project).await, all);
    let list = ann.request(ListFilesRequest { project_id: project.clone(), revision: String::new() });
    let list = answer(ann.client.clone().list_files(list).await).expect("a tree");
    let paths: Vec<_> = list.files.iter().map(|file| file.path.as_str()).collect();
    assert!(OLD.iter().all(|path| paths.contains(path)) && paths.contains(&"nul"), "{paths:?}");

    let preview = ann.request(CreatePreviewRequest { project_id: project.clone(), ..Default::default() });
    let capability = answer(ann.client.clone().create_preview(preview).await).expect("a preview").capability;
    let turn = old.turn().await;
    assert_eq!(turn.tree("").await.expect("a tree").1, OLD);
    for path in OLD {
        let file = ann.request(GetFileRequest { project_id: project.clone(), path: path.into(), revision: String::new() });
        let file = answer(ann.client.clone().get_file(file).await).expect("a file").file.expect("a file");
        assert_eq!((file.path.as_str(), file.content), (path, Some(content(LINES))));
        let page = ReadPreviewFileRequest { capability: capability.clone(), path: path.into(), ..Default::default() };
        let page = answer(cluster.client(Caller::Gateway).read_preview_file(without_user(page)).await).expect("a page");
        assert_eq!(page.content, Bytes::from_static(LINES.as_bytes()), "{path:?}");
        let files = ReadTurnFilesRequest { turn_id: turn.id.clone(), revision: base.clone(), paths: vec![path.into()], any_size: false };
        let files = answer(turn.agent.clone().read_turn_files(without_user(files)).await).expect("files").files;
        assert_eq!(files.len(), 1, "{path:?}");
    }
}

#[tokio::test]
async fn a_stored_path_can_be_edited_renamed_and_deleted() {
    for path in OLD {
        let cluster = Cluster::start().await;
        let old = OldProject::create(&cluster).await;
        old.save(vec![write(path, "2")]).await;
        old.save(vec![update(path, "3")]).await;
        assert_eq!(old.changed().await, [format!("{path}=3")]);
        old.save(vec![delete(path), create(path, "4")]).await;
        assert_eq!(old.changed().await, [format!("{path}=4")]);
        let snapshot = || OLD.iter().map(|path| write(path, "6")).collect();
        let request = SaveProjectRequest { project_id: old.project.clone(), changes: snapshot(), replace: true, ..Default::default() };
        old.ann.send(request).await.expect("saved");
        assert_eq!(old.changed().await, OLD.map(|path| format!("{path}=6")));
        old.save(vec![rename(path, "lib/legal.js")]).await;
        assert!(old.changed().await.contains(&"lib/legal.js=6".to_owned()));
        // The path is free now, so the rule for new paths applies.
        assert_eq!(reason(old.ann.save(&old.project, vec![rename("lib/legal.js", path)]).await), "INVALID_PATH");
        old.save(OLD.iter().filter(|other| **other != path).map(|other| delete(other)).collect()).await;
        assert_eq!(old.ann.files(&old.project).await, ["lib/legal.js=6"]);
        assert_eq!(reason(old.ann.save(&old.project, vec![write(path, "7")]).await), "INVALID_PATH");
    }
}

#[tokio::test]
async fn a_stored_path_is_merged_like_any_other() {
    let cluster = Cluster::start().await;
    let old = OldProject::create(&cluster).await;
    let (turn, moving, other) = (old.turn().await, old.turn().await, old.turn().await);
    // The head changes first lines and moves a file. Turns and a save with the older base change last lines.
    old.save(vec![write("aux.js", "1\ntwo\nthree\n"), rename("a:b/c", "lib/c"), write("trailing.", "1\ntwo\nthree\n")]).await;
    let edits = vec![write("aux.js", "one\ntwo\n3\n"), write("a:b/c", "moved\n"), write("new", "x")];
    assert_eq!(old.commit(&turn, edits).await, (CommitOutcome::Committed, vec![]));
    assert_eq!(old.changed().await, ["aux.js=1\ntwo\n3\n", "lib/c=moved\n", "new=x", "trailing.=1\ntwo\nthree\n"]);
    let save = SaveProjectRequest {
        project_id: old.project.clone(),
        base_revision: old.base.clone(),
        changes: vec![write("trailing.", "one\ntwo\n3\n")],
        on_conflict: OnConflict::Merge.into(),
        ..Default::default()
    };
    old.ann.send(save).await.expect("merged");
    assert_eq!(old.commit(&moving, vec![rename("trailing.", "trailing")]).await.0, CommitOutcome::Committed);
    assert_eq!(old.commit(&other, vec![write("other", "y")]).await.0, CommitOutcome::Committed);
    let (changed, all) = (old.changed().await, old.ann.files(&old.project).await.len());
    assert_eq!(changed, ["aux.js=1\ntwo\n3\n", "lib/c=moved\n", "new=x", "other=y", "trailing=1\ntwo\n3\n"]);
    assert_eq!(all, changed.len() + 4, "the other files are unchanged");
}

#[tokio::test]
async fn a_conflict_at_a_stored_path_can_be_resolved() {
    let cluster = Cluster::start().await;
    let old = OldProject::create(&cluster).await;
    for (take, result) in [
        (with_content("aux.js", "both\n"), &["aux.js=both\n"][..]),
        (ResolvedFile { path: "aux.js".into(), take: Take::Turn.into(), content: None }, &["aux.js=turn\n"]),
        (ResolvedFile { path: "aux.js".into(), take: Take::Head.into(), content: None }, &[]),
    ] {
        // In the last round the head has deleted the file, and the choice is the head.
        let turn = old.turn().await;
        let change = if result.is_empty() { delete("aux.js") } else { write("aux.js", "ann\n") };
        let head = old.save(vec![change]).await;
        assert_eq!(old.commit(&turn, vec![write("aux.js", "turn\n")]).await, (CommitOutcome::Conflicted, vec!["aux.js".into()]));
        let request = GetConflictRequest { project_id: old.project.clone(), turn_id: turn.id.clone() };
        let conflict = answer(old.ann.client.clone().get_conflict(old.ann.request(request)).await).expect("a conflict");
        assert_eq!(conflict.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["aux.js"]);
        // A resolution cannot write a path that is not in conflict.
        for path in ["con", "a/trailing."] {
            let fault = old.resolve(&turn, &head, vec![take.clone(), with_content(path, "new")]).await.expect_err("an error");
            assert_eq!((fault.code, fault.violations[0].field.as_str()), (ErrorCode::InvalidArgument, "files[1].path"));
        }
        old.resolve(&turn, &head, vec![take]).await.expect("resolved");
        assert_eq!(old.changed().await, result);
    }
    // The head has deleted the file, and the resolution writes it: the base of the turn has the path.
    let (turn, head) = (old.turn().await, old.save(vec![delete("trailing.")]).await);
    assert_eq!(old.commit(&turn, vec![write("trailing.", "turn\n")]).await.0, CommitOutcome::Conflicted);
    old.resolve(&turn, &head, vec![with_content("trailing.", "kept\n")]).await.expect("resolved");
    assert_eq!(old.changed().await, ["trailing.=kept\n"]);
}

#[tokio::test]
async fn a_new_file_cannot_have_such_a_path() {
    let cluster = Cluster::start().await;
    let old = OldProject::create(&cluster).await;
    let turn = old.turn().await;
    let long = "é".repeat(129);
    let rows = [
        (write("CON", "x"), "path", "is the name of a device"),
        (create("src/lpt1.txt", "x"), "path", "`lpt1.txt` is the name of a device"),
        (write("a/what?/b", "x"), "path", "the character ?"),
        (write("a/trailing../b", "x"), "path", "ends with a dot or a space"),
        (write(&long, "x"), "path", "has 258 bytes; a part may have 255"),
        (write("a\u{202e}b", "x"), "path", "U+202E"),
        // A folder with such a name gets no new files.
        (write("a:b/new", "x"), "path", "`a:b` has the character :"),
        (rename("aux.js", "aux.ts"), "rename.new_path", "`aux.ts` is the name of a device"),
        (rename("aux.js", "AUX.js"), "rename.new_path", "`AUX.js` is the name of a device"),
        (rename("good", "nul"), "rename.new_path", "`nul` is the name of a device"),
    ];
    for (change, field, problem) in rows {
        let changes = || vec![write("good", "x"), change.clone()];
        let save = |replace| SaveProjectRequest { project_id: old.project.clone(), changes: changes(), replace, ..Default::default() };
        let draft = SaveProjectRequest { project_id: String::new(), draft_id: "d".into(), ..save(false) };
        let mut faults = vec![old.ann.send(save(false)).await, old.ann.send(save(true)).await];
        if field == "path" {
            faults.push(old.ann.send(draft).await);
        }
        let mut faults: Vec<_> = faults.into_iter().map(|result| result.expect_err("an error")).collect();
        faults.push(commit(&turn.agent, turn.result(&old.base, changes())).await.expect_err("an error"));
        for fault in faults {
            assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "INVALID_PATH"), "{change:?}");
            assert_eq!(fault.violations[0].field, format!("changes[1].{field}"), "{change:?}");
            assert!(fault.violations[0].description.contains(problem), "{}", fault.violations[0].description);
        }
    }
    assert_eq!(old.changed().await, Vec::<String>::new());
    assert_eq!(old.cluster.count("SELECT count(*) FROM ref_log").await, 1);
    assert_eq!(old.cluster.count("SELECT count(*) FROM projects").await, 1, "no draft became a project");
    // The turn is still open.
    assert_eq!(conversation(&old.ann, &old.project).await.len(), 1);
    assert_eq!(old.commit(&turn, vec![write("good", "x")]).await.0, CommitOutcome::Committed);
    assert_eq!(old.changed().await, ["good=x"]);
    assert_eq!(reason(turn.end(TurnEnd::Failed, "").await), "TURN_ENDED");
    assert_eq!(listing(&old.ann.load_at(&old.project, &old.base).await.expect("the first revision")).len(), OLD.len());
}
