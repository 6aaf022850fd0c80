//! Paths from before the rule became stricter: such a file is like any other, and none comes new.

use chassis::{clock, identity::Caller};
use project_storage::testing::{self as storage, Actor, Commit, FileRef, Folder, NewRevision, Object, StoreId};
use prost::bytes::Bytes;
use proto::{
    error::{ErrorCode, Fault},
    id::ProjectId,
    project_storage::{
        CommitOutcome, CreatePreviewRequest, FileChange, GetConflictRequest, GetFileRequest, ListFilesRequest, OnConflict,
        ReadPreviewFileRequest, ReadTurnFilesRequest, ResolveConflictRequest, ResolvedFile, SaveProjectRequest, Take, TurnEnd,
    },
};

use crate::harness::{
    Cluster, Person, Turn, answer, commit, content, conversation, create, delete, listing, plain, reason, rename, update, write,
};

const LINES: &str = "one\ntwo\nthree\n";
/// One for each kind of name that no new file may have; the last has 256 bytes.
const OLD: [&str; 7] = ["a:b/c", "aux.js", "nul/what?", "to\u{202e}txt.js", "trailing ", "trailing.", LONG];
const LONG: &str = "\
    éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé\
    éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé";

/// A project whose first revision was written without the rule, by the store's own statement.
struct Scene<'a> {
    cluster: &'a Cluster,
    ann: Person,
    project: String,
    base: String,
}

impl<'a> Scene<'a> {
    async fn on(cluster: &'a Cluster) -> Self {
        let ann = cluster.person();
        let project = ann.create().await.id;
        let base = seed(cluster, &ann, &project).await;
        Self { cluster, ann, project, base }
    }

    /// A turn that works on the first revision.
    async fn turn(&self) -> Turn {
        let turn = Turn::new(self.cluster);
        turn.begin(&self.ann, &self.project, "go").await.expect("begun");
        turn
    }

    async fn commits(&self, turn: &Turn, changes: Vec<FileChange>) -> (CommitOutcome, Vec<String>) {
        let committed = commit(&turn.agent, turn.result(&self.base, changes)).await.expect("committed");
        (committed.outcome(), committed.conflict_paths)
    }

    async fn save(&self, changes: Vec<FileChange>) -> String {
        self.ann.save(&self.project, changes).await.expect("saved").revision.expect("a revision").id
    }

    /// `path=text` of the files at the head that are not as they were in the first revision.
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

async fn seed(cluster: &Cluster, person: &Person, project: &str) -> String {
    let project: ProjectId = project.parse().expect("an id");
    let pool = &cluster.database.pool;
    let store = sqlx::query_scalar("SELECT store_id FROM projects WHERE id = $1").bind(project.0).fetch_one(pool).await.expect("a store");
    let oid = storage::blob_id(LINES.as_bytes()).expect("an id");
    let mut tree = Folder::default();
    for path in OLD {
        tree.put(path, FileRef { oid, size: u32::try_from(LINES.len()).expect("small") }).expect("no clash");
    }
    let mut objects: Vec<Object> = vec![storage::blob(oid, LINES.as_bytes())];
    let root = tree.write(&mut objects);
    let (author, now) = (person.id.to_string(), clock::now());
    let made = storage::commit(&Commit { tree: root, parents: &[], author: &author, time: now.unix_timestamp(), message: "Save" });
    let id = made.oid;
    objects.push(made);
    objects.sort_by_key(|object| object.oid);
    let new = NewRevision {
        project,
        store: StoreId(store),
        expected: None,
        oid: id,
        tree: root,
        parents: &[],
        actor: Actor::Person,
        user: person.id,
        turn: None,
        message: "",
        stat: storage::stat(&storage::diff(&Folder::default(), &tree)),
        objects: &objects,
        request: None,
        plan: None,
        max_bytes: i64::MAX,
    };
    let mut db = storage::connection(pool).await.expect("a connection");
    storage::advance(&mut db, &new).await.expect("written").expect("the head was free");
    id.to_string()
}

fn told(path: &str, text: &str) -> ResolvedFile {
    ResolvedFile { path: path.into(), take: Take::Content.into(), content: Some(content(text)) }
}

#[tokio::test]
async fn a_stored_path_can_be_read_in_every_way() {
    let cluster = Cluster::start().await;
    let scene = Scene::on(&cluster).await;
    let Scene { ann, project, base, .. } = &scene;
    let all = OLD.map(|path| format!("{path}={LINES}"));
    assert_eq!(ann.files(project).await, all);
    let list = ann.request(ListFilesRequest { project_id: project.clone(), revision: String::new() });
    let list = answer(ann.client.clone().list_files(list).await).expect("a tree");
    let paths: Vec<_> = list.files.iter().map(|file| file.path.as_str()).collect();
    assert!(OLD.iter().all(|path| paths.contains(path)) && paths.contains(&"nul"), "{paths:?}");

    let preview = ann.request(CreatePreviewRequest { project_id: project.clone(), revision: String::new() });
    let capability = answer(ann.client.clone().create_preview(preview).await).expect("a preview").capability;
    let turn = scene.turn().await;
    assert_eq!(turn.tree("").await.expect("a tree").1, OLD);
    for path in OLD {
        let file = ann.request(GetFileRequest { project_id: project.clone(), path: path.into(), revision: String::new() });
        let file = answer(ann.client.clone().get_file(file).await).expect("a file").file.expect("a file");
        assert_eq!((file.path.as_str(), file.content), (path, Some(content(LINES))));
        let page = ReadPreviewFileRequest { capability: capability.clone(), path: path.into(), ..Default::default() };
        let page = answer(cluster.client(Caller::Gateway).read_preview_file(plain(page)).await).expect("a page");
        assert_eq!(page.content, Bytes::from_static(LINES.as_bytes()), "{path:?}");
        let files = ReadTurnFilesRequest { turn_id: turn.id.clone(), revision: base.clone(), paths: vec![path.into()] };
        let files = answer(turn.agent.clone().read_turn_files(plain(files)).await).expect("files").files;
        assert_eq!(files.len(), 1, "{path:?}");
    }
}

#[tokio::test]
async fn a_stored_path_can_be_edited_renamed_and_deleted() {
    for path in OLD {
        let cluster = Cluster::start().await;
        let scene = Scene::on(&cluster).await;
        scene.save(vec![write(path, "2")]).await;
        scene.save(vec![update(path, "3")]).await;
        assert_eq!(scene.changed().await, [format!("{path}=3")]);
        scene.save(vec![delete(path), create(path, "4")]).await;
        assert_eq!(scene.changed().await, [format!("{path}=4")]);
        let snapshot = || OLD.iter().map(|path| write(path, "6")).collect();
        let request = SaveProjectRequest { project_id: scene.project.clone(), changes: snapshot(), replace: true, ..Default::default() };
        scene.ann.send(request).await.expect("saved");
        assert_eq!(scene.changed().await, OLD.map(|path| format!("{path}=6")));
        scene.save(vec![rename(path, "lib/legal.js")]).await;
        assert!(scene.changed().await.contains(&"lib/legal.js=6".to_owned()));
        // Now it is gone, and to come back would be to come new.
        assert_eq!(reason(scene.ann.save(&scene.project, vec![rename("lib/legal.js", path)]).await), "INVALID_PATH");
        scene.save(OLD.iter().filter(|other| **other != path).map(|other| delete(other)).collect()).await;
        assert_eq!(scene.ann.files(&scene.project).await, ["lib/legal.js=6"]);
        assert_eq!(reason(scene.ann.save(&scene.project, vec![write(path, "7")]).await), "INVALID_PATH");
    }
}

#[tokio::test]
async fn a_stored_path_is_merged_like_any_other() {
    let cluster = Cluster::start().await;
    let scene = Scene::on(&cluster).await;
    let (turn, mover, idle) = (scene.turn().await, scene.turn().await, scene.turn().await);
    // The head changes the first line and moves a file; turns and a save that began before change the last line.
    scene.save(vec![write("aux.js", "1\ntwo\nthree\n"), rename("a:b/c", "lib/c"), write("trailing.", "1\ntwo\nthree\n")]).await;
    let edits = vec![write("aux.js", "one\ntwo\n3\n"), write("a:b/c", "moved\n"), write("new", "x")];
    assert_eq!(scene.commits(&turn, edits).await, (CommitOutcome::Committed, vec![]));
    assert_eq!(scene.changed().await, ["aux.js=1\ntwo\n3\n", "lib/c=moved\n", "new=x", "trailing.=1\ntwo\nthree\n"]);
    let save = SaveProjectRequest {
        project_id: scene.project.clone(),
        base_revision: scene.base.clone(),
        changes: vec![write("trailing.", "one\ntwo\n3\n")],
        on_conflict: OnConflict::Merge.into(),
        ..Default::default()
    };
    scene.ann.send(save).await.expect("merged");
    assert_eq!(scene.commits(&mover, vec![rename("trailing.", "trailing")]).await.0, CommitOutcome::Committed);
    assert_eq!(scene.commits(&idle, vec![write("other", "y")]).await.0, CommitOutcome::Committed);
    let (changed, all) = (scene.changed().await, scene.ann.files(&scene.project).await.len());
    assert_eq!(changed, ["aux.js=1\ntwo\n3\n", "lib/c=moved\n", "new=x", "other=y", "trailing=1\ntwo\n3\n"]);
    assert_eq!(all, changed.len() + 4, "the others are as they were");
}

#[tokio::test]
async fn a_conflict_at_a_stored_path_can_be_resolved() {
    let cluster = Cluster::start().await;
    let scene = Scene::on(&cluster).await;
    for (take, result) in [
        (told("aux.js", "both\n"), &["aux.js=both\n"][..]),
        (ResolvedFile { path: "aux.js".into(), take: Take::Turn.into(), content: None }, &["aux.js=turn\n"]),
        (ResolvedFile { path: "aux.js".into(), take: Take::Head.into(), content: None }, &[]),
    ] {
        // In the last round the head has no such file any more, and the choice is the head.
        let turn = scene.turn().await;
        let step = if result.is_empty() { delete("aux.js") } else { write("aux.js", "ann\n") };
        let head = scene.save(vec![step]).await;
        assert_eq!(scene.commits(&turn, vec![write("aux.js", "turn\n")]).await, (CommitOutcome::Conflicted, vec!["aux.js".into()]));
        let look = GetConflictRequest { project_id: scene.project.clone(), turn_id: turn.id.clone() };
        let look = answer(scene.ann.client.clone().get_conflict(scene.ann.request(look)).await).expect("a conflict");
        assert_eq!(look.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["aux.js"]);
        // A resolution brings nothing to a path that no side has.
        for path in ["con", "a/trailing."] {
            let fault = scene.resolve(&turn, &head, vec![take.clone(), told(path, "new")]).await.expect_err("refused");
            assert_eq!((fault.code, fault.violations[0].field.as_str()), (ErrorCode::InvalidArgument, "files[1].path"));
        }
        scene.resolve(&turn, &head, vec![take]).await.expect("resolved");
        assert_eq!(scene.changed().await, result);
    }
    // A conflict where the head has no such file and the turn's side is taken: it was there when the turn began.
    let (turn, head) = (scene.turn().await, scene.save(vec![delete("trailing.")]).await);
    assert_eq!(scene.commits(&turn, vec![write("trailing.", "turn\n")]).await.0, CommitOutcome::Conflicted);
    scene.resolve(&turn, &head, vec![told("trailing.", "kept\n")]).await.expect("resolved");
    assert_eq!(scene.changed().await, ["trailing.=kept\n"]);
}

#[tokio::test]
async fn no_such_path_comes_new() {
    let cluster = Cluster::start().await;
    let scene = Scene::on(&cluster).await;
    let turn = scene.turn().await;
    let long = "é".repeat(129);
    let rows = [
        (write("CON", "x"), "path", "is the name of a device"),
        (create("src/lpt1.txt", "x"), "path", "`lpt1.txt` is the name of a device"),
        (write("a/what?/b", "x"), "path", "the character ?"),
        (write("a/trailing../b", "x"), "path", "ends with a dot or a space"),
        (write(&long, "x"), "path", "has 258 bytes; a part may have 255"),
        (write("a\u{202e}b", "x"), "path", "U+202E"),
        // A folder that has such a name gets no files.
        (write("a:b/new", "x"), "path", "`a:b` has the character :"),
        (rename("aux.js", "aux.ts"), "rename.new_path", "`aux.ts` is the name of a device"),
        (rename("aux.js", "AUX.js"), "rename.new_path", "`AUX.js` is the name of a device"),
        (rename("good", "nul"), "rename.new_path", "`nul` is the name of a device"),
    ];
    for (step, field, words) in rows {
        let changes = || vec![write("good", "x"), step.clone()];
        let save = |replace| SaveProjectRequest { project_id: scene.project.clone(), changes: changes(), replace, ..Default::default() };
        let draft = SaveProjectRequest { project_id: String::new(), draft_id: "d".into(), ..save(false) };
        let mut faults = vec![scene.ann.send(save(false)).await, scene.ann.send(save(true)).await];
        if field == "path" {
            faults.push(scene.ann.send(draft).await);
        }
        let mut faults: Vec<_> = faults.into_iter().map(|result| result.expect_err("refused")).collect();
        faults.push(commit(&turn.agent, turn.result(&scene.base, changes())).await.expect_err("refused"));
        for fault in faults {
            assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, "INVALID_PATH"), "{step:?}");
            assert_eq!(fault.violations[0].field, format!("changes[1].{field}"), "{step:?}");
            assert!(fault.violations[0].description.contains(words), "{}", fault.violations[0].description);
        }
    }
    assert_eq!(scene.changed().await, Vec::<String>::new());
    assert_eq!(scene.cluster.count("SELECT count(*) FROM ref_log").await, 1);
    assert_eq!(scene.cluster.count("SELECT count(*) FROM projects").await, 1, "no draft became a project");
    // The turn is as open as before.
    assert_eq!(conversation(&scene.ann, &scene.project).await.len(), 1);
    assert_eq!(scene.commits(&turn, vec![write("good", "x")]).await.0, CommitOutcome::Committed);
    assert_eq!(scene.changed().await, ["good=x"]);
    assert_eq!(reason(turn.end(TurnEnd::Failed, "").await), "TURN_ENDED");
    assert_eq!(listing(&scene.ann.load_at(&scene.project, &scene.base).await.expect("the first revision")).len(), OLD.len());
}
