//! Forks: what they share with the project that they were made of, and what they do not.

use chassis::identity::Caller;
use proto::{
    error::Fault,
    project_storage::{
        BeginTurnRequest, CreatePreviewRequest, DeleteProjectRequest, DiffRevisionsRequest, ForkProjectRequest, GetConflictRequest,
        GetFileRequest, GetProjectRequest, GetRevisionRequest, ListFilesRequest, ListForksRequest, ListForksResponse, ListRevisionsRequest,
        LoadProjectRequest, Project, ReadPreviewFileRequest, RestoreRevisionRequest, SaveProjectRequest, SearchFilesRequest,
        SetLabelRequest,
    },
};
use rate_limit::Policies;
use uuid::Uuid;

use crate::harness::{Cluster, Person, Turn, answer, commit, conversation, reason, with_token, without_user, write};

impl Person {
    async fn send_fork(&self, request: ForkProjectRequest) -> Result<(Project, bool), Box<Fault>> {
        let forked = answer(self.client.clone().fork_project(self.request(request)).await)?;
        Ok((forked.project.expect("a project"), forked.replayed))
    }

    pub(crate) async fn fork(&self, project: &str, revision: &str) -> Result<Project, Box<Fault>> {
        let request = ForkProjectRequest { project_id: project.into(), revision: revision.into(), ..Default::default() };
        Ok(self.send_fork(request).await?.0)
    }

    async fn forks(&self, project: &str, page_size: i32, page_token: &str) -> Result<ListForksResponse, Box<Fault>> {
        let request = ListForksRequest { project_id: project.into(), page_size, page_token: page_token.into() };
        answer(self.client.clone().list_forks(self.request(request)).await)
    }

    async fn get(&self, project: &str) -> Project {
        let request = self.request(GetProjectRequest { project_id: project.into() });
        answer(self.client.clone().get_project(request).await).expect("a project").project.expect("a project")
    }

    pub(crate) async fn remove(&self, project: &str) {
        let request = self.request(DeleteProjectRequest { project_id: project.into(), purge: true, ..Default::default() });
        answer(self.client.clone().delete_project(request).await).expect("deleted");
    }

    /// The numbers of all revisions, read in pages of two, and their ids.
    pub(crate) async fn numbered_log(&self, project: &str) -> (Vec<u32>, Vec<String>) {
        let (mut log, mut page_token) = ((Vec::new(), Vec::new()), String::new());
        loop {
            let request = self.request(ListRevisionsRequest {
                project_id: project.into(),
                page_size: 2,
                page_token,
                ..ListRevisionsRequest::default()
            });
            let page = answer(self.client.clone().list_revisions(request).await).expect("a page");
            for revision in page.revisions {
                log.0.push(revision.number);
                log.1.push(revision.id);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return log;
            }
        }
    }

    /// Saves one file, and returns the id of the new revision.
    pub(crate) async fn put(&self, project: &str, path: &str, text: &str) -> String {
        self.save(project, vec![write(path, text)]).await.expect("saved").revision.expect("a revision").id
    }
}

/// Makes a user a member of all projects.
async fn invite(cluster: &Cluster, person: &Person, role: i16) {
    sqlx::query("INSERT INTO members (project_id, user_id, role) SELECT id, $1, $2 FROM projects ON CONFLICT DO NOTHING")
        .bind(person.id.0)
        .bind(role)
        .execute(&cluster.database.pool)
        .await
        .expect("a member");
}

pub(crate) async fn set_role(cluster: &Cluster, person: &Person, project: &str, role: i16) {
    sqlx::query(
        "INSERT INTO members (project_id, user_id, role) VALUES ($1, $2, $3) ON CONFLICT (project_id, user_id) DO UPDATE SET role = $3",
    )
    .bind(project.parse::<Uuid>().expect("an id"))
    .bind(person.id.0)
    .bind(role)
    .execute(&cluster.database.pool)
    .await
    .expect("a member");
}

#[tokio::test]
async fn a_fork_continues_the_history() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(ann.put(&project, "a", &n.to_string()).await);
    }
    let turn = Turn::new(&cluster);
    turn.begin(&ann, &project, "more").await.expect("begun");
    let made = commit(&turn.agent, turn.result(&ids[2], vec![write("b", "turn")])).await.expect("committed");
    ids.push(made.revision.expect("a revision").id);

    let fork = ann.fork(&project, "").await.expect("forked");
    let origin = fork.forked_from.clone().expect("an origin");
    assert_eq!((origin.project_id.as_str(), origin.revision.as_str(), origin.number), (project.as_str(), ids[3].as_str(), 4));
    assert_eq!((fork.head_number, &fork.head_revision, fork.owner_id.as_str()), (4, &ids[3], ann.id.to_string().as_str()));
    assert_eq!(ann.get(&fork.id).await, fork);
    assert_eq!(ann.files(&fork.id).await, ann.files(&project).await);
    assert_eq!(ann.numbered_log(&fork.id).await, ann.numbered_log(&project).await);
    assert_eq!(conversation(&ann, &fork.id).await.len(), 0, "the conversation is not forked");

    // Both go on by themselves.
    let later = ann.put(&project, "a", "parent").await;
    let own = ann.put(&fork.id, "a", "fork").await;
    assert_eq!(ann.files(&project).await, ["a=parent", "b=turn"]);
    assert_eq!(ann.files(&fork.id).await, ["a=fork", "b=turn"]);
    let (numbers, log) = ann.numbered_log(&fork.id).await;
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert_eq!(log, [&own, &ids[3], &ids[2], &ids[1], &ids[0]].map(String::clone));
    assert_eq!(ann.numbered_log(&project).await.1[0], later);

    // A fork of the fork, at a revision of the first project; then a fork of that at its own head.
    let second = ann.fork(&fork.id, &ids[1]).await.expect("forked");
    assert_eq!(ann.files(&second.id).await, ["a=2"]);
    assert_eq!(second.forked_from.as_ref().map(|origin| (origin.project_id.as_str(), origin.number)), Some((fork.id.as_str(), 2)));
    let third_revision = ann.put(&second.id, "c", "second").await;
    let third = ann.fork(&second.id, "").await.expect("forked");
    ann.put(&third.id, "d", "third").await;
    assert_eq!(ann.numbered_log(&third.id).await.0, [4, 3, 2, 1]);
    assert_eq!(ann.numbered_log(&third.id).await.1[1..], [&third_revision, &ids[1], &ids[0]].map(String::clone));
    assert_eq!(ann.load_at(&third.id, &ids[0]).await.expect("an old revision").files.len(), 1);
    let restore = RestoreRevisionRequest { project_id: third.id.clone(), revision: ids[0].clone(), ..Default::default() };
    answer(ann.client.clone().restore_revision(ann.request(restore)).await).expect("restored");
    assert_eq!(ann.files(&third.id).await, ["a=1"]);
    assert_eq!(ann.forks(&project, 0, "").await.expect("forks").forks.len(), 1, "only direct forks");
}

#[tokio::test]
async fn a_project_without_files_can_be_forked() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let fork = ann.fork(&project, "").await.expect("forked");
    assert_eq!(fork.forked_from.as_ref().map(|origin| (origin.revision.as_str(), origin.number)), Some(("", 0)));
    let (first, own) = (ann.put(&project, "a", "1").await, ann.put(&fork.id, "b", "1").await);
    assert_eq!(ann.numbered_log(&fork.id).await, (vec![1], vec![own]));
    assert_eq!(ann.numbered_log(&project).await, (vec![1], vec![first]));
    let second = ann.fork(&fork.id, "").await.expect("forked");
    assert_eq!(ann.files(&second.id).await, ["b=1"]);
}

#[tokio::test]
async fn the_reader_of_a_project_forks_it_and_nobody_else() {
    let cluster = Cluster::start().await;
    let (ann, bob, stranger) = (cluster.person(), cluster.person(), cluster.person());
    let project = ann.create().await.id;
    let first = ann.put(&project, "a", "1").await;
    invite(&cluster, &bob, 1).await;
    assert_eq!(reason(stranger.fork(&project, "").await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(stranger.forks(&project, 0, "").await), "PROJECT_NOT_FOUND");
    assert_eq!(reason(bob.fork(&project, &"a".repeat(40)).await), "REVISION_NOT_FOUND");

    let request = ForkProjectRequest {
        project_id: project.clone(),
        display_name: " mine ".into(),
        draft_id: "d".into(),
        request_id: "r".into(),
        ..Default::default()
    };
    let (fork, replayed) = bob.send_fork(request.clone()).await.expect("forked");
    assert_eq!((fork.display_name.as_str(), fork.draft_id.as_str(), replayed), ("mine", "d", false));
    let (same, replayed) = bob.send_fork(request.clone()).await.expect("the same");
    assert_eq!((same.id.as_str(), replayed), (fork.id.as_str(), true));
    let other = ForkProjectRequest { display_name: "x".into(), ..request.clone() };
    assert_eq!(reason(bob.send_fork(other).await), "KEY_REUSED");
    let fault = bob.send_fork(ForkProjectRequest { request_id: String::new(), ..request }).await.expect_err("the draft id is taken");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "draft_id"));

    // The fork is private, and belongs to the one who made it.
    bob.put(&fork.id, "a", "bob").await;
    assert_eq!(reason(ann.load(&fork.id).await), "PROJECT_NOT_FOUND");
    assert_eq!(ann.forks(&project, 0, "").await.expect("forks").forks, []);
    assert_eq!(bob.forks(&project, 0, "").await.expect("forks").forks.len(), 1);
    // The origin is named only while the owner of the fork may read it.
    sqlx::query("DELETE FROM members WHERE user_id = $1 AND role = 1").bind(bob.id.0).execute(&cluster.database.pool).await.expect("out");
    let origin = bob.get(&fork.id).await.forked_from.expect("an origin");
    assert_eq!((origin.project_id.as_str(), origin.revision.as_str(), origin.number), ("", first.as_str(), 1));
    assert_eq!(bob.files(&fork.id).await, ["a=bob"]);
    assert_eq!(bob.load_at(&fork.id, &first).await.map(|loaded| loaded.files.len()).expect("loaded"), 1);
}

#[tokio::test]
async fn concurrent_requests_with_one_id_make_one_fork() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.put(&project, "a", "1").await;
    let request = ForkProjectRequest { project_id: project.clone(), request_id: "r".into(), ..Default::default() };
    let made = futures::future::join_all((0..8).map(|_| ann.send_fork(request.clone()))).await;
    let ids: std::collections::HashSet<String> = made.into_iter().map(|fork| fork.expect("forked").0.id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 2);
    assert_eq!(cluster.count("SELECT count(*) FROM lineage").await, 1);
}

/// What the reader of a project gets for a revision id from every RPC that takes one.
async fn reasons(cluster: &Cluster, person: &Person, project: &str, revision: &str) -> Vec<(&'static str, String)> {
    let (mut client, id, oid) = (person.client.clone(), || project.to_owned(), || revision.to_owned());
    let mut found = Vec::new();
    macro_rules! ask {
        ($name:literal, $call:ident, $request:expr) => {
            let status = client.$call(person.request($request)).await;
            found.push(($name, answer(status).map(|_| ()).map_or_else(|fault| fault.reason, |()| "OK".to_owned())));
        };
    }
    ask!("get", get_revision, GetRevisionRequest { project_id: id(), revision: oid() });
    ask!("load", load_project, LoadProjectRequest { project_id: id(), revision: oid(), ..Default::default() });
    ask!("list files", list_files, ListFilesRequest { project_id: id(), revision: oid() });
    ask!("get a file", get_file, GetFileRequest { project_id: id(), revision: oid(), path: "a".into() });
    ask!("search", search_files, SearchFilesRequest { project_id: id(), revision: oid(), query: "a".into(), ..Default::default() });
    ask!("diff", diff_revisions, DiffRevisionsRequest { project_id: id(), revision: oid(), ..Default::default() });
    ask!("diff base", diff_revisions, DiffRevisionsRequest { project_id: id(), base_revision: oid(), ..Default::default() });
    ask!("label", set_label, SetLabelRequest { project_id: id(), label: "x".into(), revision: oid() });
    ask!("preview", create_preview, CreatePreviewRequest { project_id: id(), revision: oid(), ..Default::default() });
    ask!("fork", fork_project, ForkProjectRequest { project_id: id(), revision: oid(), ..Default::default() });
    ask!("restore", restore_revision, RestoreRevisionRequest { project_id: id(), revision: oid(), ..Default::default() });
    let save = SaveProjectRequest { project_id: id(), base_revision: oid(), changes: vec![write("z", "z")], ..Default::default() };
    ask!("save", save_project, save);
    let turn = Turn::new(cluster);
    let begin = BeginTurnRequest {
        turn_id: turn.id.clone(),
        project_id: id(),
        prompt: "x".into(),
        base_revision: oid(),
        ..BeginTurnRequest::default()
    };
    let begun = answer(turn.agent.clone().begin_turn(with_token(begin, &person.token)).await);
    found.push(("begin", begun.map_or_else(|fault| fault.reason, |_| "OK".to_owned())));
    let turn = Turn::new(cluster);
    turn.begin(person, project, "x").await.expect("begun");
    found.push(("turn", turn.tree(revision).await.map_or_else(|fault| fault.reason, |_| "OK".to_owned())));
    found
}

#[tokio::test]
async fn neither_side_reaches_what_the_other_did_after_the_fork() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.put(&project, "a", "1\n").await;
    let shared = ann.put(&project, "a", "2\n").await;
    let conflicted = Turn::new(&cluster);
    conflicted.begin(&ann, &project, "clash").await.expect("begun");
    let fork = ann.fork(&project, "").await.expect("forked").id;
    let past = ann.fork(&project, &shared).await.expect("forked").id;
    let theirs = ann.put(&project, "a", "parent\n").await;
    let branch = commit(&conflicted.agent, conflicted.result(&shared, vec![write("a", "turn\n")])).await.expect("conflicted");
    let branch = branch.revision.expect("a revision").id;
    let ours = ann.put(&fork, "a", "fork\n").await;
    let of_past = ann.put(&past, "b", "past\n").await;
    for (project, revision) in [(&fork, &theirs), (&fork, &branch), (&fork, &of_past), (&project, &ours), (&past, &ours), (&past, &theirs)]
    {
        for (rpc, reason) in reasons(&cluster, &ann, project, revision).await {
            assert_eq!(reason, "REVISION_NOT_FOUND", "{rpc}");
        }
    }
    // The head of a project without own revisions, which its log copies, and the shared past.
    let fresh = ann.fork(&fork, "").await.expect("forked").id;
    for (project, revision) in [(&fresh, &ours), (&fork, &shared)] {
        for (rpc, reason) in reasons(&cluster, &ann, project, revision).await {
            // Nothing has moved since the base of the save, and a restore of an older revision is a change.
            assert_eq!(reason, "OK", "{rpc}");
        }
    }
    // Turns and conflicts of the parent.
    let conflict = |project: &str| ann.request(GetConflictRequest { project_id: project.into(), turn_id: conflicted.id.clone() });
    answer(ann.client.clone().get_conflict(conflict(&project)).await).expect("a conflict");
    assert_eq!(reason(answer(ann.client.clone().get_conflict(conflict(&fork)).await)), "CONFLICT_NOT_FOUND");
    let diff = DiffRevisionsRequest { project_id: fork.clone(), turn_id: conflicted.id.clone(), ..Default::default() };
    let fault = answer(ann.client.clone().diff_revisions(ann.request(diff)).await).expect_err("another project's turn");
    assert_eq!(fault.code, proto::error::ErrorCode::NotFound);
    // Page tokens are of one project.
    let list = |project: &str, page_token: &str| {
        ann.request(ListRevisionsRequest {
            project_id: project.into(),
            page_size: 1,
            page_token: page_token.into(),
            ..ListRevisionsRequest::default()
        })
    };
    let token = answer(ann.client.clone().list_revisions(list(&project, "")).await).expect("a page").next_page_token;
    assert_eq!(reason(answer(ann.client.clone().list_revisions(list(&fork, &token)).await)), "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn a_preview_of_a_fork_shows_the_shared_past() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let first = ann.put(&project, "index.html", "<p>1").await;
    ann.put(&project, "index.html", "<p>2").await;
    let fork = ann.fork(&project, "").await.expect("forked").id;
    for (revision, content) in [(first.as_str(), "<p>1"), ("", "<p>2")] {
        let request = ann.request(CreatePreviewRequest { project_id: fork.clone(), revision: revision.into(), ..Default::default() });
        let capability = answer(ann.client.clone().create_preview(request).await).expect("a preview").capability;
        let read = ReadPreviewFileRequest { capability, path: "index.html".into(), ..Default::default() };
        let file = answer(cluster.client(Caller::Gateway).read_preview_file(without_user(read)).await).expect("a file");
        assert_eq!(&file.content[..], content.as_bytes());
    }
}

const ROWS: &str = "SELECT count(*) FROM ref_log";

#[tokio::test]
async fn forks_outlive_the_project_that_they_were_made_of() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let mut ids = Vec::new();
    for n in 1..=6 {
        ids.push(ann.put(&project, "a", &n.to_string()).await);
    }
    let early = ann.fork(&project, &ids[1]).await.expect("forked").id;
    let late = ann.fork(&project, &ids[3]).await.expect("forked").id;
    let own = ann.put(&late, "b", "own").await;
    let nested = ann.fork(&late, "").await.expect("forked").id;
    let before = cluster.count(ROWS).await;
    ann.remove(&project).await;
    assert_eq!(reason(ann.load(&project).await), "PROJECT_NOT_FOUND");
    assert_eq!(cluster.count(ROWS).await, before - 2, "revisions 5 and 6 are gone");
    let history = [&own, &ids[3], &ids[2], &ids[1], &ids[0]].map(String::clone);
    assert_eq!(ann.numbered_log(&late).await.1, history);
    assert_eq!(ann.numbered_log(&nested).await.1, history);
    assert_eq!(ann.numbered_log(&early).await.1, history[3..]);
    assert_eq!(ann.load_at(&nested, &ids[2]).await.expect("loaded").files.len(), 1);
    let origin = ann.get(&late).await.forked_from.expect("an origin");
    assert_eq!((origin.project_id.as_str(), origin.number), ("", 4));

    // The middle of a chain.
    ann.remove(&late).await;
    assert_eq!(ann.numbered_log(&nested).await.1, history);
    assert_eq!(ann.files(&nested).await, ["a=4", "b=own"]);
    // The last that needs revisions 3 to 5.
    ann.remove(&nested).await;
    assert_eq!(ann.numbered_log(&early).await.1, history[3..]);
    assert_eq!(cluster.count(ROWS).await, 3, "revisions 1 and 2, and the copy of 2");
    ann.remove(&early).await;
    for table in ["ref_log", "objects", "stores", "lineage", "merged", "store_shares", "refs", "members"] {
        assert_eq!(cluster.rows_of_projects(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_fork_and_the_deletion_of_its_parent_do_not_race() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for _ in 0..8 {
        let project = ann.create().await.id;
        for n in 1..=3 {
            ann.put(&project, "a", &n.to_string()).await;
        }
        let (fork, ()) = tokio::join!(ann.fork(&project, ""), ann.remove(&project));
        match fork {
            Ok(fork) => {
                assert_eq!(ann.numbered_log(&fork.id).await.0, [3, 2, 1]);
                assert_eq!(ann.files(&fork.id).await, ["a=3"]);
                ann.remove(&fork.id).await;
            }
            Err(fault) => assert_eq!(fault.reason, "PROJECT_NOT_FOUND"),
        }
        assert_eq!(cluster.rows_of_projects("stores").await, 0);
        assert_eq!(cluster.count(ROWS).await, 0);
    }
}

#[tokio::test]
async fn concurrent_deletions_of_a_family_leave_nothing() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    for _ in 0..5 {
        let project = ann.create().await.id;
        ann.put(&project, "a", "1").await;
        let fork = ann.fork(&project, "").await.expect("forked").id;
        ann.put(&fork, "a", "2").await;
        tokio::join!(ann.remove(&project), ann.remove(&fork));
        for table in ["ref_log", "objects", "stores", "lineage"] {
            assert_eq!(cluster.rows_of_projects(table).await, 0, "{table}");
        }
    }
}

#[tokio::test]
async fn forks_of_forks_have_a_limit() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let mut project = ann.create().await.id;
    let first = ann.put(&project, "a", "0").await;
    for n in 1..=32 {
        project = ann.fork(&project, "").await.expect("forked").id;
        ann.put(&project, "a", &n.to_string()).await;
    }
    let fault = ann.fork(&project, "").await.expect_err("too deep");
    assert_eq!((fault.code, fault.reason.as_str()), (proto::error::ErrorCode::Conflict, "FORK_TOO_DEEP"));
    assert_eq!(fault.metadata["limit"], "32");
    assert_eq!(ann.numbered_log(&project).await.0, (1..=33).rev().collect::<Vec<_>>());
    assert_eq!(ann.load_at(&project, &first).await.expect("loaded").files.len(), 1);
}

#[tokio::test]
async fn the_list_of_forks_has_pages() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_PROJECTS", "8")]).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    set_role(&cluster, &bob, &project, 1).await;
    let mut mine = Vec::new();
    for _ in 0..5 {
        mine.push(ann.fork(&project, "").await.expect("forked").id);
        bob.fork(&project, "").await.expect("forked");
    }
    mine.reverse();
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = ann.forks(&project, 2, &token).await.expect("a page");
        found.extend(page.forks.into_iter().map(|fork| fork.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, mine);
    let token = ann.forks(&project, 1, "").await.expect("a page").next_page_token;
    assert_eq!(reason(bob.forks(&project, 1, &token).await), "PAGE_TOKEN_INVALID");
    // A fork counts as a project.
    ann.fork(&project, "").await.expect("forked");
    ann.fork(&project, "").await.expect("forked");
    assert_eq!(reason(ann.fork(&project, "").await), "TOO_MANY_PROJECTS");
}

/// Text that hardly compresses: 40,000 bytes.
fn noise(seed: u32) -> String {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(letters[usize::try_from(state >> 58).expect("six bits")])
    };
    (0..40_000).map(|_| next()).collect()
}

#[tokio::test]
async fn each_owner_pays_for_what_their_own_projects_add() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_BYTES", "200000")]).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    for n in 0..3 {
        ann.put(&project, "a", &noise(n)).await;
    }
    set_role(&cluster, &bob, &project, 1).await;
    let fork = bob.fork(&project, "").await.expect("forked").id;
    // Bob's account is not charged for the parent, and Ann's not for what Bob adds.
    let mut saved = 0;
    let fault = loop {
        match bob.save(&fork, vec![write("b", &noise(10 + saved))]).await {
            Ok(_) => saved += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.reason, "ACCOUNT_TOO_LARGE");
    assert!((4..=6).contains(&saved), "{saved}");
    ann.put(&project, "a", &noise(100)).await;
    // In one statement, because the starters are published at the same time.
    let miscounted = "SELECT ((SELECT sum(bytes) FROM stores) - (SELECT sum(octet_length(data)) FROM objects))::bigint";
    assert_eq!(cluster.count(miscounted).await, 0);
    // A fork of one's own adds nothing.
    let own = ann.fork(&project, "").await.expect("forked").id;
    assert_eq!(reason(ann.save(&own, vec![write("c", &noise(101)), write("d", &noise(102))]).await), "ACCOUNT_TOO_LARGE");
    // Who stays in the store takes over what the one who leaves has added.
    ann.remove(&own).await;
    ann.remove(&project).await;
    assert_eq!(cluster.count("SELECT count(*) FROM stores s JOIN projects p ON p.store_id = s.id AND p.owner_id = s.owner_id").await, 1);
    assert_eq!(reason(bob.save(&fork, vec![write("small", "1")]).await), "ACCOUNT_TOO_LARGE");
    bob.load(&fork).await.expect("reading is not affected");
}

#[tokio::test]
async fn the_policy_counts_forks() {
    let policy = "policies: [{name: save, limit: 3, window: 1h}, {name: general, limit: 10000, window: 1s}]";
    let cluster = Cluster::with_policies(Policies::shipped().with(policy).expect("policies")).await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.save(&project, vec![write("a", "1")]).await.expect("the first");
    let request = |n: usize| ForkProjectRequest { project_id: project.clone(), request_id: format!("f{n}"), ..Default::default() };
    for n in 0..2 {
        ann.send_fork(request(n)).await.expect("within the policy");
        assert!(ann.send_fork(request(n)).await.expect("a repeat does not count").1);
    }
    assert_eq!(reason(ann.send_fork(request(2)).await), "RATE_LIMITED");
    assert_eq!(reason(ann.fork(&project, &"a".repeat(40)).await), "REVISION_NOT_FOUND", "a refused fork does not count");
}
