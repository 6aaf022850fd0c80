//! Conflicted turns: reading and resolving a conflict, also concurrently.

use chassis::identity::Caller;
use futures::future::join_all;
use proto::{
    error::{ErrorCode, Fault},
    id::ProjectId,
    project_storage::{
        Actor, CommitOutcome, CommitTurnRequest, ConflictSide, FileChange, FileContent, GetConflictRequest, GetConflictResponse,
        GetFileRequest, ResolveConflictRequest, ResolveConflictResponse, ResolvedFile, Take, TurnOutcome, file_content::Data,
    },
};
use rate_limit::Policies;

use crate::harness::{Cluster, Person, Turn, answer, commit, content, delete, listing, reason, write};

/// A project with a conflicted turn.
pub(crate) struct Conflict {
    pub(crate) ann: Person,
    pub(crate) project: String,
    pub(crate) base: String,
    pub(crate) head: String,
    pub(crate) turn: Turn,
    result: CommitTurnRequest,
    /// The turn's own commit.
    pub(crate) turn_revision: String,
}

impl Conflict {
    /// The turn and Ann edit the same line of `a`. Ann edits `b`, which the turn deletes. Ann edits the first line of `m`, and the turn
    /// its last line. The turn adds `new`.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let theirs = vec![write("a", "turn\n"), delete("b"), write("m", "1\n2\nthree\n"), write("new", "by turn")];
        let before = vec![write("a", "base\n"), write("b", "base\n"), write("m", "1\n2\n3\n")];
        let ours = vec![write("a", "ann\n"), write("b", "ann\n"), write("m", "one\n2\n3\n")];
        Self::of(cluster, before, ours, theirs).await
    }

    pub(crate) async fn of(cluster: &Cluster, before: Vec<FileChange>, ours: Vec<FileChange>, theirs: Vec<FileChange>) -> Self {
        let ann = cluster.person();
        let project = ann.create().await.id;
        let base = ann.save(&project, before).await.expect("saved").revision.expect("a revision").id;
        let turn = Turn::new(cluster);
        turn.begin(&ann, &project, "go").await.expect("begun");
        let head = ann.save(&project, ours).await.expect("saved").revision.expect("a revision").id;
        let result = turn.result(&base, theirs);
        let conflicted = commit(&turn.agent, result.clone()).await.expect("conflicted");
        assert_eq!(conflicted.outcome(), CommitOutcome::Conflicted);
        let turn_revision = conflicted.revision.expect("its own commit").id;
        Self { ann, project, base, head, turn, result, turn_revision }
    }

    pub(crate) fn request(&self, files: Vec<ResolvedFile>) -> ResolveConflictRequest {
        ResolveConflictRequest {
            project_id: self.project.clone(),
            turn_id: self.turn.id.clone(),
            base_revision: self.head.clone(),
            files,
            ..Default::default()
        }
    }

    async fn get(&self, person: &Person) -> Result<GetConflictResponse, Box<Fault>> {
        let request = GetConflictRequest { project_id: self.project.clone(), turn_id: self.turn.id.clone() };
        answer(person.client.clone().get_conflict(person.request(request)).await)
    }

    pub(crate) async fn resolve(&self, request: ResolveConflictRequest) -> Result<ResolveConflictResponse, Box<Fault>> {
        resolve(&self.ann, request).await
    }
}

async fn resolve(person: &Person, request: ResolveConflictRequest) -> Result<ResolveConflictResponse, Box<Fault>> {
    answer(person.client.clone().resolve_conflict(person.request(request)).await)
}

pub(crate) fn take(path: &str, take: Take) -> ResolvedFile {
    ResolvedFile { path: path.into(), take: take.into(), content: None }
}

pub(crate) fn with_content(path: &str, text: &str) -> ResolvedFile {
    ResolvedFile { content: Some(content(text)), ..take(path, Take::Content) }
}

fn text(side: Option<&ConflictSide>) -> Option<&str> {
    match &side?.content {
        Some(FileContent { data: Some(Data::Text(text)) }) => Some(text),
        other => panic!("no text: {other:?}"),
    }
}

fn replayed(first: &ResolveConflictResponse) -> ResolveConflictResponse {
    ResolveConflictResponse { replayed: true, ..first.clone() }
}

#[tokio::test]
async fn a_conflict_has_the_files_of_each_side() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let found = conflict.get(&conflict.ann).await.expect("a conflict");
    assert_eq!(
        (&found.base_revision, &found.head_revision, &found.turn_revision),
        (&conflict.base, &conflict.head, &conflict.turn_revision)
    );
    let days = (found.expire_time.expect("an end").seconds - chassis::clock::now().unix_timestamp()) / 86_400;
    assert!((29..=30).contains(&days), "{days}");
    let sides: Vec<_> =
        found.files.iter().map(|f| (f.path.as_str(), text(f.base.as_ref()), text(f.head.as_ref()), text(f.turn.as_ref()))).collect();
    assert_eq!(
        sides,
        [("a", Some("base\n"), Some("ann\n"), Some("turn\n")), ("b", Some("base\n"), Some("ann\n"), None)],
        "merged files are not in the conflict"
    );
    // The file of a side is that of its revision.
    let file = GetFileRequest { project_id: conflict.project.clone(), path: "a".into(), revision: found.turn_revision };
    let file = answer(conflict.ann.client.clone().get_file(conflict.ann.request(file)).await).expect("a file").file.expect("a file");
    assert_eq!(file.etag, found.files[0].turn.as_ref().expect("a side").etag);

    // The conflict is with the present head: when Ann saves the turn's content, that file is no longer in conflict.
    conflict.ann.save(&conflict.project, vec![write("a", "turn\n")]).await.expect("saved");
    let found = conflict.get(&conflict.ann).await.expect("a conflict");
    assert_eq!(found.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_ne!(found.head_revision, conflict.head);
}

#[tokio::test]
async fn a_resolution_is_one_revision_of_two_parents() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let request = conflict.request(vec![with_content("a", "both\n"), take("b", Take::Turn)]);
    let resolved = conflict.resolve(request.clone()).await.expect("resolved");
    let revision = resolved.revision.clone().expect("a revision");
    assert_eq!(revision.parent_ids, [conflict.head.clone(), conflict.turn_revision.clone()]);
    assert_eq!((revision.number, revision.actor(), revision.turn_id.as_str()), (3, Actor::User, ""));
    assert_eq!((revision.message.as_str(), revision.user_id.clone()), ("Resolve: Build a clock", conflict.ann.id.to_string()));
    let stat = revision.diff_stat.expect("a stat");
    assert_eq!((stat.added, stat.modified, stat.deleted), (1, 2, 1));
    assert_eq!(resolved.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(resolved.project.as_ref().expect("a project").head_revision, revision.id);
    assert_eq!(conflict.ann.files(&conflict.project).await, ["a=both\n", "m=one\n2\nthree\n", "new=by turn"]);

    // The branch is deleted, and a repeat gets the same answer.
    assert_eq!(cluster.count("SELECT count(*) FROM refs WHERE name LIKE 'refs/conflicts/%'").await, 0);
    assert_eq!(conflict.resolve(request.clone()).await.expect("the same request"), replayed(&resolved));
    let others = [
        conflict.request(vec![with_content("a", "other\n"), take("b", Take::Turn)]),
        ResolveConflictRequest { request_id: "r".into(), ..request.clone() },
        ResolveConflictRequest { base_revision: revision.id.clone(), files: Vec::new(), ..request.clone() },
    ];
    for other in others {
        let fault = conflict.resolve(other).await.expect_err("resolved before");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "CONFLICT_RESOLVED"));
        assert_eq!(fault.metadata["revision"], revision.id);
    }
    assert_eq!(reason(conflict.get(&conflict.ann).await), "CONFLICT_RESOLVED");
    // The same request of another user is no repeat.
    let bob = cluster.person();
    cluster.join(&bob, 2).await;
    assert_eq!(reason(resolve(&bob, request).await), "CONFLICT_RESOLVED");
    // The turn's worker may repeat the commit later.
    let repeated = commit(&conflict.turn.agent, conflict.result.clone()).await.expect("repeated");
    assert_eq!((repeated.outcome(), repeated.revision.expect("an id").id), (CommitOutcome::Conflicted, conflict.turn_revision.clone()));
    assert_eq!(repeated.conflict_paths, ["a", "b"]);
    // The project can be saved as before.
    conflict.ann.save(&conflict.project, vec![write("a", "more\n")]).await.expect("saved");
}

#[tokio::test]
async fn each_path_is_taken_from_the_chosen_side() {
    let cluster = Cluster::start().await;
    for (a, b, expected) in [
        (take("a", Take::Head), take("b", Take::Head), vec!["a=ann\n", "b=ann\n", "m=one\n2\nthree\n", "new=by turn"]),
        (take("a", Take::Turn), take("b", Take::Turn), vec!["a=turn\n", "m=one\n2\nthree\n", "new=by turn"]),
        (take("a", Take::Turn), with_content("b", "\n"), vec!["a=turn\n", "b=\n", "m=one\n2\nthree\n", "new=by turn"]),
    ] {
        let conflict = Conflict::start(&cluster).await;
        conflict.resolve(conflict.request(vec![b, a])).await.expect("resolved");
        assert_eq!(conflict.ann.files(&conflict.project).await, expected);
    }
    // A resolution that takes only the head still has the turn's commit as a parent.
    let ours = vec![write("a", "ann\n")];
    let conflict = Conflict::of(&cluster, vec![write("a", "base\n")], ours, vec![write("a", "turn\n")]).await;
    let resolved = conflict.resolve(conflict.request(vec![take("a", Take::Head)])).await.expect("resolved");
    assert_eq!(resolved.revision.expect("a revision").parent_ids, [conflict.head.clone(), conflict.turn_revision.clone()]);
    assert_eq!(conflict.ann.files(&conflict.project).await, ["a=ann\n"]);
}

#[tokio::test]
async fn a_file_and_a_folder_of_the_same_name_conflict() {
    let cluster = Cluster::start().await;
    let ours = vec![write("x/1", "ann"), write("x/2", "ann")];
    let conflict = Conflict::of(&cluster, vec![write("k", "1")], ours, vec![write("x", "turn")]).await;
    let found = conflict.get(&conflict.ann).await.expect("a conflict");
    assert_eq!(found.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["x", "x/1", "x/2"]);
    let all = |x, below| conflict.request(vec![take("x", x), take("x/1", below), take("x/2", below)]);
    let fault = conflict.resolve(all(Take::Turn, Take::Head)).await.expect_err("one name");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_PATH", "files[1].path"));
    conflict.resolve(all(Take::Turn, Take::Turn)).await.expect("resolved");
    assert_eq!(conflict.ann.files(&conflict.project).await, ["k=1", "x=turn"]);
}

/// The old paths of the head's and of the other side's files.
fn old_paths(found: &GetConflictResponse) -> Vec<[&str; 2]> {
    let paths = found.files.iter().map(|file| [&file.head, &file.turn].map(|side| side.as_ref().map_or("", |side| side.old_path.as_str())));
    paths.collect()
}

#[tokio::test]
async fn a_file_that_both_sides_moved_says_from_where() {
    let cluster = Cluster::start().await;
    let text = "1\n2\n3\n4\n";
    for (side, after) in [(Take::Head, format!("head={text}")), (Take::Turn, format!("turn={text}5"))] {
        let (head, theirs) = (vec![delete("a"), write("head", text)], vec![delete("a"), write("turn", &format!("{text}5"))]);
        let conflict = Conflict::of(&cluster, vec![write("a", text)], head, theirs).await;
        let found = conflict.get(&conflict.ann).await.expect("a conflict");
        assert_eq!(found.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["head", "turn"]);
        assert_eq!(old_paths(&found), [["a", ""], ["", "a"]]);
        conflict.resolve(conflict.request(["head", "turn"].map(|path| take(path, side)).to_vec())).await.expect("resolved");
        assert_eq!(conflict.ann.files(&conflict.project).await, [after]);
    }
    // Each path from its own side keeps both, and each from the other side keeps neither, as the documentation says.
    for (sides, count) in [([Take::Head, Take::Turn], 2), ([Take::Turn, Take::Head], 0)] {
        let (head, theirs) = (vec![delete("a"), write("head", text)], vec![delete("a"), write("turn", text)]);
        let conflict = Conflict::of(&cluster, vec![write("a", text)], head, theirs).await;
        conflict.resolve(conflict.request(vec![take("head", sides[0]), take("turn", sides[1])])).await.expect("resolved");
        assert_eq!(conflict.ann.files(&conflict.project).await.len(), count);
    }
}

#[tokio::test]
async fn a_rename_in_conflict_loses_no_file() {
    let cluster = Cluster::start().await;
    for (side, after) in [(Take::Head, ["a=1", "b=2"].as_slice()), (Take::Turn, &["B=1"])] {
        let theirs = vec![delete("a"), write("B", "1")];
        let conflict = Conflict::of(&cluster, vec![write("a", "1")], vec![write("b", "2")], theirs).await;
        let found = conflict.get(&conflict.ann).await.expect("a conflict");
        assert_eq!(found.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["B", "a", "b"]);
        assert_eq!(old_paths(&found), [["", "a"], ["", ""], ["", ""]]);
        conflict.resolve(conflict.request(["B", "a", "b"].map(|path| take(path, side)).to_vec())).await.expect("resolved");
        assert_eq!(conflict.ann.files(&conflict.project).await, after);
    }
}

#[tokio::test]
async fn a_merged_text_above_the_limit_is_chosen() {
    let cluster = Cluster::start().await;
    let side = |first: &str, last: &str, b: &str| vec![write("a", &format!("{first}1\n2\n3\n{last}")), write("b", b)];
    let long = format!("{}\n", "x".repeat(30_000));
    let conflict = Conflict::of(&cluster, side("", "", "base"), side(&long, "", "ann"), side("", &long, "turn")).await;
    let found = conflict.get(&conflict.ann).await.expect("a conflict");
    assert_eq!(found.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    conflict.resolve(conflict.request(vec![with_content("a", "both\n"), take("b", Take::Head)])).await.expect("resolved");
    assert_eq!(conflict.ann.files(&conflict.project).await, ["a=both\n", "b=ann"]);
}

#[tokio::test]
async fn a_resolution_names_the_paths_and_the_head_of_the_conflict() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let (head, turn) = (|path: &str| take(path, Take::Head), |path: &str| take(path, Take::Turn));
    let no_content = take("a", Take::Content);
    let unexpected_content = ResolvedFile { content: Some(content("x")), ..take("a", Take::Head) };
    let empty = ResolvedFile { content: Some(FileContent { data: None }), ..take("a", Take::Content) };
    for (files, why, field) in [
        (vec![], "INVALID_FIELD", "files"),
        (vec![head("a")], "INVALID_FIELD", "files"),
        (vec![head("a"), head("b"), head("m")], "INVALID_FIELD", "files[2].path"),
        (vec![head("a"), turn("b"), turn("a")], "INVALID_FIELD", "files[2].path"),
        (vec![head("b"), take("a", Take::Unspecified)], "INVALID_FIELD", "files[1].take"),
        (vec![head("b"), ResolvedFile { take: 9, ..head("a") }], "INVALID_FIELD", "files[1].take"),
        (vec![head("b"), no_content], "INVALID_FIELD", "files[1].content"),
        (vec![head("b"), unexpected_content], "INVALID_FIELD", "files[1].content"),
        (vec![head("b"), empty], "INVALID_FIELD", "files[1].content"),
        (vec![head("b"), head("../a")], "INVALID_PATH", "files[1].path"),
        (vec![head("b"), with_content("a", &"x".repeat(51_201))], "FILE_TOO_LARGE", "files[1].content"),
    ] {
        let fault = conflict.resolve(conflict.request(files.clone())).await.expect_err("an error");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, why), "{files:?}");
        assert_eq!(fault.violations[0].field, field, "{files:?}");
    }
    let good = || conflict.request(vec![head("a"), head("b")]);
    let no_base = ResolveConflictRequest { base_revision: String::new(), ..good() };
    assert_eq!(conflict.resolve(no_base).await.expect_err("an error").violations[0].field, "base_revision");

    let (viewer, stranger) = (cluster.person(), cluster.person());
    cluster.join(&viewer, 1).await;
    assert_eq!(conflict.get(&viewer).await.expect("a viewer may read it").files.len(), 2);
    assert_eq!(reason(resolve(&viewer, good()).await), "ROLE_REQUIRED");
    assert_eq!(reason(resolve(&stranger, good()).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(conflict.get(&stranger).await), "PROJECT_NOT_FOUND");
    let elsewhere = conflict.ann.create().await.id;
    assert_eq!(reason(conflict.resolve(ResolveConflictRequest { project_id: elsewhere, ..good() }).await), "CONFLICT_NOT_FOUND");
    let nowhere = ProjectId::generate().to_string();
    assert_eq!(reason(conflict.resolve(ResolveConflictRequest { project_id: nowhere, ..good() }).await), "PROJECT_NOT_FOUND");
    let unknown = Turn::new(&cluster).id;
    assert_eq!(reason(conflict.resolve(ResolveConflictRequest { turn_id: unknown, ..good() }).await), "CONFLICT_NOT_FOUND");

    // The head moves after the conflict was read.
    let head_now = conflict.ann.save(&conflict.project, vec![write("z", "1")]).await.expect("saved").revision.expect("a revision").id;
    let fault = conflict.resolve(good()).await.expect_err("stale");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "STALE_REVISION"));
    assert_eq!((&fault.metadata["base"], &fault.metadata["head"]), (&format!("\"{}\"", conflict.head), &format!("\"{head_now}\"")));
    conflict.resolve(ResolveConflictRequest { base_revision: head_now, ..good() }).await.expect("resolved");
}

#[tokio::test]
async fn only_a_conflicted_turn_has_a_conflict_until_its_branch_expires() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let other = Turn::new(&cluster);
    other.begin(&conflict.ann, &conflict.project, "go").await.expect("begun");
    let request = || GetConflictRequest { project_id: conflict.project.clone(), turn_id: other.id.clone() };
    let get = async || answer(conflict.ann.client.clone().get_conflict(conflict.ann.request(request())).await);
    assert_eq!(reason(get().await), "CONFLICT_NOT_FOUND");
    commit(&other.agent, other.result(&conflict.head, vec![write("y", "1")])).await.expect("committed");
    assert_eq!(reason(get().await), "CONFLICT_NOT_FOUND");

    sqlx::query("UPDATE refs SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
        .execute(&cluster.database.pool)
        .await
        .expect("ended");
    assert_eq!(reason(conflict.get(&conflict.ann).await), "CONFLICT_NOT_FOUND");
    let request = conflict.request(vec![take("a", Take::Head), take("b", Take::Head)]);
    assert_eq!(reason(conflict.resolve(request).await), "CONFLICT_NOT_FOUND");
}

#[tokio::test]
async fn a_request_id_stands_for_one_resolution() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let with_id = |files| ResolveConflictRequest { request_id: "r1".into(), ..conflict.request(files) };
    let first = conflict.resolve(with_id(vec![take("a", Take::Head), take("b", Take::Head)])).await.expect("resolved");
    let again = conflict.resolve(with_id(vec![take("a", Take::Head), take("b", Take::Head)])).await;
    assert_eq!(again.expect("repeated"), replayed(&first));
    let fault = conflict.resolve(with_id(vec![take("a", Take::Turn), take("b", Take::Head)])).await.expect_err("another body");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "KEY_REUSED"));
}

#[tokio::test]
async fn the_policy_counts_a_resolution_once() {
    let policy = "policies: [{name: save, limit: 3, window: 1h}, {name: general, limit: 10000, window: 1s}]";
    let cluster = Cluster::with_policies(Policies::shipped().with(policy).expect("policies")).await;
    // The setup makes two saves.
    let conflict = Conflict::start(&cluster).await;
    let request = conflict.request(vec![take("a", Take::Head), take("b", Take::Head)]);
    assert_eq!(reason(conflict.resolve(conflict.request(vec![])).await), "INVALID_FIELD", "a refused request does not count");
    let first = conflict.resolve(request.clone()).await.expect("the third");
    assert_eq!(conflict.resolve(request).await.expect("a repeat does not count"), replayed(&first));
    assert_eq!(reason(conflict.ann.save(&conflict.project, vec![write("z", "1")]).await), "RATE_LIMITED");
}

/// Eight different resolutions at two replicas, and the same resolution eight times: each makes one revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_resolved_once() {
    let cluster = Cluster::start().await;
    let (uri, _stop) = cluster.replica().await;
    for are_different in [true, false] {
        let conflict = Conflict::start(&cluster).await;
        let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..conflict.ann.clone() };
        let one = |n: usize| {
            let number = if are_different { n } else { 0 };
            let request = conflict.request(vec![with_content("a", &format!("resolution {number}\n")), take("b", Take::Turn)]);
            let person = if n.is_multiple_of(2) { conflict.ann.clone() } else { elsewhere.clone() };
            async move { (number, resolve(&person, request).await) }
        };
        let results = join_all((0..8).map(one)).await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(|(_, result)| result.is_ok());
        assert_eq!(won.len(), if are_different { 1 } else { 8 });
        for (_, result) in lost {
            assert_eq!(reason(result), "CONFLICT_RESOLVED");
        }
        let outcome = crate::harness::conversation(&conflict.ann, &conflict.project).await[0].turn_outcome();
        assert_eq!(outcome, TurnOutcome::Resolved);
        let number = won[0].0;
        assert_eq!(conflict.ann.files(&conflict.project).await[0], format!("a=resolution {number}\n"));
        assert_eq!(conflict.ann.load(&conflict.project).await.expect("a project").project.expect("a project").head_number, 3);
    }
}

/// Saves during a resolution: the resolution fails until it names the present head, and no save is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolution_and_concurrent_saves_lose_nothing() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let saver = async {
        for n in 0..10 {
            conflict.ann.save(&conflict.project, vec![write(&format!("s{n}"), "1")]).await.expect("saved");
        }
    };
    let resolver = async {
        loop {
            let head = conflict.get(&conflict.ann).await.expect("a conflict").head_revision;
            let request = conflict.request(vec![take("a", Take::Turn), take("b", Take::Turn)]);
            match conflict.resolve(ResolveConflictRequest { base_revision: head, ..request }).await {
                Ok(_) => return,
                Err(fault) => assert_eq!(fault.reason, "STALE_REVISION"),
            }
        }
    };
    tokio::join!(saver, resolver);
    let files = conflict.ann.files(&conflict.project).await;
    assert_eq!(files.len(), 13, "{files:?}");
    assert_eq!(files[..2], ["a=turn\n", "m=one\n2\nthree\n"]);
}

#[tokio::test]
async fn a_large_conflict_has_the_first_contents_and_all_ids() {
    let cluster = Cluster::start().await;
    let files = |by: &str| (0..40).map(|n| write(&format!("f{n:02}"), &by.repeat(50_000))).collect::<Vec<_>>();
    let conflict = Conflict::of(&cluster, files("b"), files("h"), files("t")).await;
    let found = conflict.get(&conflict.ann).await.expect("a conflict");
    let sides: Vec<_> = found.files.iter().flat_map(|f| [&f.base, &f.head, &f.turn]).flatten().collect();
    assert_eq!((found.files.len(), sides.len()), (40, 120));
    assert!(sides.iter().all(|side| side.size_bytes == 50_000 && side.etag.len() == 42));
    let count = sides.iter().take_while(|side| side.content.is_some()).count();
    assert_eq!(count, 27 * 3, "as many files as fit into 4 MiB");
    assert!(sides[count..].iter().all(|side| side.content.is_none()));
    assert_eq!(listing(&conflict.ann.load(&conflict.project).await.expect("a project")).len(), 40);
}
