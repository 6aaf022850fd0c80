//! A turn that could not be merged: looked at, resolved, raced for.

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
struct Scene {
    ann: Person,
    project: String,
    base: String,
    head: String,
    turn: Turn,
    result: CommitTurnRequest,
    own: String,
}

impl Scene {
    /// The turn and Ann edit the same line of `a`; Ann also changes `b`, which the turn removes, and the first line of `m`,
    /// whose last line the turn changes. `new` is the turn's alone.
    async fn start(cluster: &Cluster) -> Self {
        let theirs = vec![write("a", "turn\n"), delete("b"), write("m", "1\n2\nthree\n"), write("new", "by turn")];
        let before = vec![write("a", "base\n"), write("b", "base\n"), write("m", "1\n2\n3\n")];
        let ours = vec![write("a", "ann\n"), write("b", "ann\n"), write("m", "one\n2\n3\n")];
        Self::of(cluster, before, ours, theirs).await
    }

    async fn of(cluster: &Cluster, before: Vec<FileChange>, ours: Vec<FileChange>, theirs: Vec<FileChange>) -> Self {
        let ann = cluster.person();
        let project = ann.create().await.id;
        let base = ann.save(&project, before).await.expect("saved").revision.expect("a revision").id;
        let turn = Turn::new(cluster);
        turn.begin(&ann, &project, "go").await.expect("begun");
        let head = ann.save(&project, ours).await.expect("saved").revision.expect("a revision").id;
        let result = turn.result(&base, theirs);
        let conflicted = commit(&turn.agent, result.clone()).await.expect("conflicted");
        assert_eq!(conflicted.outcome(), CommitOutcome::Conflicted);
        let own = conflicted.revision.expect("its own commit").id;
        Self { ann, project, base, head, turn, result, own }
    }

    fn request(&self, files: Vec<ResolvedFile>) -> ResolveConflictRequest {
        ResolveConflictRequest {
            project_id: self.project.clone(),
            turn_id: self.turn.id.clone(),
            base_revision: self.head.clone(),
            files,
            ..Default::default()
        }
    }

    async fn look(&self, person: &Person) -> Result<GetConflictResponse, Box<Fault>> {
        let request = GetConflictRequest { project_id: self.project.clone(), turn_id: self.turn.id.clone() };
        answer(person.client.clone().get_conflict(person.request(request)).await)
    }

    async fn resolve(&self, request: ResolveConflictRequest) -> Result<ResolveConflictResponse, Box<Fault>> {
        resolve(&self.ann, request).await
    }
}

async fn resolve(person: &Person, request: ResolveConflictRequest) -> Result<ResolveConflictResponse, Box<Fault>> {
    answer(person.client.clone().resolve_conflict(person.request(request)).await)
}

fn take(path: &str, take: Take) -> ResolvedFile {
    ResolvedFile { path: path.into(), take: take.into(), content: None }
}

fn told(path: &str, text: &str) -> ResolvedFile {
    ResolvedFile { content: Some(content(text)), ..take(path, Take::Content) }
}

fn text(side: Option<&ConflictSide>) -> Option<&str> {
    match &side?.content {
        Some(FileContent { data: Some(Data::Text(text)) }) => Some(text),
        other => panic!("no text: {other:?}"),
    }
}

async fn join(cluster: &Cluster, person: &Person, role: i16) {
    sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, $2 FROM projects")
        .bind(person.id.0)
        .bind(role)
        .execute(&cluster.database.pool)
        .await
        .expect("a member");
}

fn replayed(first: &ResolveConflictResponse) -> ResolveConflictResponse {
    ResolveConflictResponse { replayed: true, ..first.clone() }
}

#[tokio::test]
async fn a_conflict_shows_what_each_side_has() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster).await;
    let look = scene.look(&scene.ann).await.expect("a conflict");
    assert_eq!((&look.base_revision, &look.head_revision, &look.turn_revision), (&scene.base, &scene.head, &scene.own));
    let days = (look.expire_time.expect("an end").seconds - chassis::clock::now().unix_timestamp()) / 86_400;
    assert!((29..=30).contains(&days), "{days}");
    let sides: Vec<_> =
        look.files.iter().map(|f| (f.path.as_str(), text(f.base.as_ref()), text(f.head.as_ref()), text(f.turn.as_ref()))).collect();
    assert_eq!(
        sides,
        [("a", Some("base\n"), Some("ann\n"), Some("turn\n")), ("b", Some("base\n"), Some("ann\n"), None)],
        "what could be merged is not shown"
    );
    // Each side's file is the one of that revision.
    let file = GetFileRequest { project_id: scene.project.clone(), path: "a".into(), revision: look.turn_revision };
    let file = answer(scene.ann.client.clone().get_file(scene.ann.request(file)).await).expect("a file").file.expect("a file");
    assert_eq!(file.etag, look.files[0].turn.as_ref().expect("a side").etag);

    // It is about the head of this moment: Ann takes the turn's side of one file, and it is none any more.
    scene.ann.save(&scene.project, vec![write("a", "turn\n")]).await.expect("saved");
    let look = scene.look(&scene.ann).await.expect("a conflict");
    assert_eq!(look.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_ne!(look.head_revision, scene.head);
}

#[tokio::test]
async fn a_resolution_is_one_revision_of_two_parents() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster).await;
    let request = scene.request(vec![told("a", "both\n"), take("b", Take::Turn)]);
    let resolved = scene.resolve(request.clone()).await.expect("resolved");
    let revision = resolved.revision.clone().expect("a revision");
    assert_eq!(revision.parent_ids, [scene.head.clone(), scene.own.clone()]);
    assert_eq!((revision.number, revision.actor(), revision.turn_id.as_str()), (3, Actor::User, ""));
    assert_eq!((revision.message.as_str(), revision.user_id.clone()), ("Resolve: Build a clock", scene.ann.id.to_string()));
    let stat = revision.diff_stat.expect("a stat");
    assert_eq!((stat.added, stat.modified, stat.deleted), (1, 2, 1));
    assert_eq!(resolved.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(resolved.project.as_ref().expect("a project").head_revision, revision.id);
    assert_eq!(scene.ann.files(&scene.project).await, ["a=both\n", "m=one\n2\nthree\n", "new=by turn"]);

    // The branch is gone, its end is known.
    assert_eq!(cluster.count("SELECT count(*) FROM refs WHERE name LIKE 'refs/turns/%'").await, 0);
    assert_eq!(scene.resolve(request.clone()).await.expect("the same request"), replayed(&resolved));
    let others = [
        scene.request(vec![told("a", "other\n"), take("b", Take::Turn)]),
        ResolveConflictRequest { request_id: "r".into(), ..request.clone() },
        ResolveConflictRequest { base_revision: revision.id.clone(), files: Vec::new(), ..request.clone() },
    ];
    for other in others {
        let fault = scene.resolve(other).await.expect_err("resolved before");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "CONFLICT_RESOLVED"));
        assert_eq!(fault.metadata["revision"], revision.id);
    }
    assert_eq!(reason(scene.look(&scene.ann).await), "CONFLICT_RESOLVED");
    // Somebody else who sends the same is not the one who resolved it.
    let bob = cluster.person();
    join(&cluster, &bob, 2).await;
    assert_eq!(reason(resolve(&bob, request).await), "CONFLICT_RESOLVED");
    // The turn's worker may come back late.
    let repeated = commit(&scene.turn.agent, scene.result.clone()).await.expect("repeated");
    assert_eq!((repeated.outcome(), repeated.revision.expect("an id").id), (CommitOutcome::Conflicted, scene.own.clone()));
    assert_eq!(repeated.conflict_paths, ["a", "b"]);
    // And the project goes on.
    scene.ann.save(&scene.project, vec![write("a", "more\n")]).await.expect("saved");
}

#[tokio::test]
async fn each_path_comes_from_where_it_was_told() {
    let cluster = Cluster::start().await;
    for (a, b, expected) in [
        (take("a", Take::Head), take("b", Take::Head), vec!["a=ann\n", "b=ann\n", "m=one\n2\nthree\n", "new=by turn"]),
        (take("a", Take::Turn), take("b", Take::Turn), vec!["a=turn\n", "m=one\n2\nthree\n", "new=by turn"]),
        (take("a", Take::Turn), told("b", "\n"), vec!["a=turn\n", "b=\n", "m=one\n2\nthree\n", "new=by turn"]),
    ] {
        let scene = Scene::start(&cluster).await;
        scene.resolve(scene.request(vec![b, a])).await.expect("resolved");
        assert_eq!(scene.ann.files(&scene.project).await, expected);
    }
    // Nothing of the turn is left: the revision still says that it was looked at.
    let ours = vec![write("a", "ann\n")];
    let scene = Scene::of(&cluster, vec![write("a", "base\n")], ours, vec![write("a", "turn\n")]).await;
    let resolved = scene.resolve(scene.request(vec![take("a", Take::Head)])).await.expect("resolved");
    assert_eq!(resolved.revision.expect("a revision").parent_ids, [scene.head.clone(), scene.own.clone()]);
    assert_eq!(scene.ann.files(&scene.project).await, ["a=ann\n"]);
}

#[tokio::test]
async fn a_file_and_a_folder_of_one_name_are_both_offered() {
    let cluster = Cluster::start().await;
    let ours = vec![write("x/1", "ann"), write("x/2", "ann")];
    let scene = Scene::of(&cluster, vec![write("k", "1")], ours, vec![write("x", "turn")]).await;
    let look = scene.look(&scene.ann).await.expect("a conflict");
    assert_eq!(look.files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["x", "x/1", "x/2"]);
    let all = |x, below| scene.request(vec![take("x", x), take("x/1", below), take("x/2", below)]);
    let fault = scene.resolve(all(Take::Turn, Take::Head)).await.expect_err("one name");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_PATH", "files[1].path"));
    scene.resolve(all(Take::Turn, Take::Turn)).await.expect("resolved");
    assert_eq!(scene.ann.files(&scene.project).await, ["k=1", "x=turn"]);
}

#[tokio::test]
async fn a_resolution_is_about_these_paths_and_this_head() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster).await;
    let (head, turn) = (|path: &str| take(path, Take::Head), |path: &str| take(path, Take::Turn));
    let no_content = take("a", Take::Content);
    let superfluous = ResolvedFile { content: Some(content("x")), ..take("a", Take::Head) };
    let empty = ResolvedFile { content: Some(FileContent { data: None }), ..take("a", Take::Content) };
    for (files, why, field) in [
        (vec![], "INVALID_FIELD", "files"),
        (vec![head("a")], "INVALID_FIELD", "files"),
        (vec![head("a"), head("b"), head("m")], "INVALID_FIELD", "files[2].path"),
        (vec![head("a"), turn("b"), turn("a")], "INVALID_FIELD", "files[2].path"),
        (vec![head("b"), take("a", Take::Unspecified)], "INVALID_FIELD", "files[1].take"),
        (vec![head("b"), ResolvedFile { take: 9, ..head("a") }], "INVALID_FIELD", "files[1].take"),
        (vec![head("b"), no_content], "INVALID_FIELD", "files[1].content"),
        (vec![head("b"), superfluous], "INVALID_FIELD", "files[1].content"),
        (vec![head("b"), empty], "INVALID_FIELD", "files[1].content"),
        (vec![head("b"), head("../a")], "INVALID_PATH", "files[1].path"),
        (vec![head("b"), told("a", &"x".repeat(51_201))], "FILE_TOO_LARGE", "files[1].content"),
    ] {
        let fault = scene.resolve(scene.request(files.clone())).await.expect_err("refused");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::InvalidArgument, why), "{files:?}");
        assert_eq!(fault.violations[0].field, field, "{files:?}");
    }
    let good = || scene.request(vec![head("a"), head("b")]);
    let no_base = ResolveConflictRequest { base_revision: String::new(), ..good() };
    assert_eq!(scene.resolve(no_base).await.expect_err("refused").violations[0].field, "base_revision");

    let (viewer, stranger) = (cluster.person(), cluster.person());
    join(&cluster, &viewer, 1).await;
    assert_eq!(scene.look(&viewer).await.expect("may look").files.len(), 2);
    assert_eq!(reason(resolve(&viewer, good()).await), "ROLE_REQUIRED");
    assert_eq!(reason(resolve(&stranger, good()).await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(scene.look(&stranger).await), "PROJECT_NOT_FOUND");
    let elsewhere = scene.ann.create().await.id;
    assert_eq!(reason(scene.resolve(ResolveConflictRequest { project_id: elsewhere, ..good() }).await), "CONFLICT_NOT_FOUND");
    let nowhere = ProjectId::generate().to_string();
    assert_eq!(reason(scene.resolve(ResolveConflictRequest { project_id: nowhere, ..good() }).await), "PROJECT_NOT_FOUND");
    let unknown = Turn::new(&cluster).id;
    assert_eq!(reason(scene.resolve(ResolveConflictRequest { turn_id: unknown, ..good() }).await), "CONFLICT_NOT_FOUND");

    // The head moves after it was looked at.
    let head_now = scene.ann.save(&scene.project, vec![write("z", "1")]).await.expect("saved").revision.expect("a revision").id;
    let fault = scene.resolve(good()).await.expect_err("stale");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "STALE_REVISION"));
    assert_eq!((&fault.metadata["base"], &fault.metadata["head"]), (&format!("\"{}\"", scene.head), &format!("\"{head_now}\"")));
    scene.resolve(ResolveConflictRequest { base_revision: head_now, ..good() }).await.expect("looked again");
}

#[tokio::test]
async fn only_a_conflicted_turn_has_a_conflict_and_only_for_its_time() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster).await;
    let calm = Turn::new(&cluster);
    calm.begin(&scene.ann, &scene.project, "go").await.expect("begun");
    let of_calm = || GetConflictRequest { project_id: scene.project.clone(), turn_id: calm.id.clone() };
    let look = async || answer(scene.ann.client.clone().get_conflict(scene.ann.request(of_calm())).await);
    assert_eq!(reason(look().await), "CONFLICT_NOT_FOUND");
    commit(&calm.agent, calm.result(&scene.head, vec![write("y", "1")])).await.expect("committed");
    assert_eq!(reason(look().await), "CONFLICT_NOT_FOUND");

    sqlx::query("UPDATE refs SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
        .execute(&cluster.database.pool)
        .await
        .expect("ended");
    assert_eq!(reason(scene.look(&scene.ann).await), "CONFLICT_NOT_FOUND");
    let request = scene.request(vec![take("a", Take::Head), take("b", Take::Head)]);
    assert_eq!(reason(scene.resolve(request).await), "CONFLICT_NOT_FOUND");
}

#[tokio::test]
async fn a_request_id_is_good_for_one_resolution() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster).await;
    let keyed = |files| ResolveConflictRequest { request_id: "r1".into(), ..scene.request(files) };
    let first = scene.resolve(keyed(vec![take("a", Take::Head), take("b", Take::Head)])).await.expect("resolved");
    let again = scene.resolve(keyed(vec![take("a", Take::Head), take("b", Take::Head)])).await;
    assert_eq!(again.expect("repeated"), replayed(&first));
    let fault = scene.resolve(keyed(vec![take("a", Take::Turn), take("b", Take::Head)])).await.expect_err("another body");
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Conflict, "KEY_REUSED"));
}

#[tokio::test]
async fn the_policy_counts_a_resolution_once() {
    let policy = "policies: [{name: save, limit: 3, window: 1h}, {name: general, limit: 10000, window: 1s}]";
    let cluster = Cluster::limited(Policies::shipped().with(policy).expect("policies")).await;
    // Two saves set the scene.
    let scene = Scene::start(&cluster).await;
    let request = scene.request(vec![take("a", Take::Head), take("b", Take::Head)]);
    assert_eq!(reason(scene.resolve(scene.request(vec![])).await), "INVALID_FIELD", "what is refused is not counted");
    let first = scene.resolve(request.clone()).await.expect("the third");
    assert_eq!(scene.resolve(request).await.expect("a repeat costs nothing"), replayed(&first));
    assert_eq!(reason(scene.ann.save(&scene.project, vec![write("z", "1")]).await), "RATE_LIMITED");
}

/// Eight people with different ideas at two replicas, and one idea sent eight times: one revision each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_resolved_once() {
    let cluster = Cluster::start().await;
    let (uri, _stop) = cluster.replica().await;
    for differ in [true, false] {
        let scene = Scene::start(&cluster).await;
        let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..scene.ann.clone() };
        let one = |n: usize| {
            let idea = if differ { n } else { 0 };
            let request = scene.request(vec![told("a", &format!("idea {idea}\n")), take("b", Take::Turn)]);
            let person = if n.is_multiple_of(2) { scene.ann.clone() } else { elsewhere.clone() };
            async move { (idea, resolve(&person, request).await) }
        };
        let results = join_all((0..8).map(one)).await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(|(_, result)| result.is_ok());
        assert_eq!(won.len(), if differ { 1 } else { 8 });
        for (_, result) in lost {
            assert_eq!(reason(result), "CONFLICT_RESOLVED");
        }
        let outcome = crate::harness::conversation(&scene.ann, &scene.project).await[0].turn_outcome();
        assert_eq!(outcome, TurnOutcome::Resolved);
        let idea = won[0].0;
        assert_eq!(scene.ann.files(&scene.project).await[0], format!("a=idea {idea}\n"));
        assert_eq!(scene.ann.load(&scene.project).await.expect("a project").project.expect("a project").head_number, 3);
    }
}

/// Savers beside a resolver: it is told to look again until it has seen the head, and nobody's work is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolution_and_saves_at_once_lose_nothing() {
    let cluster = Cluster::start().await;
    let scene = Scene::start(&cluster).await;
    let saver = async {
        for n in 0..10 {
            scene.ann.save(&scene.project, vec![write(&format!("s{n}"), "1")]).await.expect("saved");
        }
    };
    let resolver = async {
        loop {
            let head = scene.look(&scene.ann).await.expect("a conflict").head_revision;
            let request = scene.request(vec![take("a", Take::Turn), take("b", Take::Turn)]);
            match scene.resolve(ResolveConflictRequest { base_revision: head, ..request }).await {
                Ok(_) => return,
                Err(fault) => assert_eq!(fault.reason, "STALE_REVISION"),
            }
        }
    };
    tokio::join!(saver, resolver);
    let files = scene.ann.files(&scene.project).await;
    assert_eq!(files.len(), 13, "{files:?}");
    assert_eq!(files[..2], ["a=turn\n", "m=one\n2\nthree\n"]);
}

#[tokio::test]
async fn a_large_conflict_shows_the_first_contents_and_every_id() {
    let cluster = Cluster::start().await;
    let files = |by: &str| (0..40).map(|n| write(&format!("f{n:02}"), &by.repeat(50_000))).collect::<Vec<_>>();
    let scene = Scene::of(&cluster, files("b"), files("h"), files("t")).await;
    let look = scene.look(&scene.ann).await.expect("a conflict");
    let sides: Vec<_> = look.files.iter().flat_map(|f| [&f.base, &f.head, &f.turn]).flatten().collect();
    assert_eq!((look.files.len(), sides.len()), (40, 120));
    assert!(sides.iter().all(|side| side.size_bytes == 50_000 && side.etag.len() == 42));
    let with_content = sides.iter().take_while(|side| side.content.is_some()).count();
    assert_eq!(with_content, 27 * 3, "as many files as fit into 4 MiB");
    assert!(sides[with_content..].iter().all(|side| side.content.is_none()));
    assert_eq!(listing(&scene.ann.load(&scene.project).await.expect("a project")).len(), 40);
}
