//! The quotas of an account. Other accounts are not affected.

use chassis::identity::Caller;
use futures::future::join_all;
use proto::{
    auth::Plan,
    error::{ErrorCode, Fault},
    project_storage::{
        BeginTurnRequest, CommitOutcome, CreateProjectRequest, DeleteProjectRequest, FileChange, GetProjectUsageRequest, GetUsageRequest,
        GetUsageResponse, SaveProjectRequest,
    },
};

use crate::harness::{Cluster, Person, Turn, answer, commit, reason, with_token, write};

async fn create(person: &Person, draft: &str) -> Result<String, Box<Fault>> {
    let request = person.request(CreateProjectRequest { draft_id: draft.into(), ..CreateProjectRequest::default() });
    answer(person.client.clone().create_project(request).await).map(|created| created.project.expect("a project").id)
}

async fn delete(person: &Person, project: &str) {
    let request = person.request(DeleteProjectRequest { project_id: project.into(), purge: true, ..DeleteProjectRequest::default() });
    answer(person.client.clone().delete_project(request).await).expect("removed");
}

#[tokio::test]
async fn an_account_has_a_maximum_of_projects() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_PROJECTS", "3")]).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let first = create(&ann, "d1").await.expect("created");
    create(&ann, "d2").await.expect("created");
    create(&ann, "").await.expect("created");

    let fault = create(&ann, "").await.expect_err("too many");
    assert_eq!((fault.code, fault.reason.as_str(), fault.metadata["limit"].as_str()), (ErrorCode::RateLimited, "TOO_MANY_PROJECTS", "3"));
    assert!(fault.message.contains("as many projects as it may have, 3"), "{fault}");
    assert_eq!(reason(create(&ann, "d4").await), "TOO_MANY_PROJECTS");
    let save = |draft: &str| SaveProjectRequest { draft_id: draft.into(), changes: vec![write("a", "1")], ..Default::default() };
    assert_eq!(reason(ann.send(save("d4")).await), "TOO_MANY_PROJECTS");
    let begin = |draft: &str| {
        let turn = Turn::new(&cluster);
        let message = BeginTurnRequest { turn_id: turn.id.clone(), draft_id: draft.into(), prompt: "a".into(), ..Default::default() };
        let (mut agent, token) = (turn.agent, ann.token.clone());
        async move { answer(agent.begin_turn(with_token(message, &token)).await) }
    };
    assert_eq!(reason(begin("d4").await), "TOO_MANY_PROJECTS");

    // Existing projects are found, and another account has quotas of its own.
    assert_eq!(create(&ann, "d1").await.expect("found"), first);
    ann.send(save("d1")).await.expect("saved");
    begin("d2").await.expect("begun");
    create(&bob, "d1").await.expect("created");
    delete(&ann, &first).await;
    create(&ann, "d4").await.expect("room for one more");
    assert_eq!(reason(create(&ann, "d5").await), "TOO_MANY_PROJECTS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_maximum_holds_for_concurrent_requests() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_PROJECTS", "5")]).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (uri, _stop) = cluster.replica().await;
    let elsewhere = Person { client: cluster.client_at(Caller::Gateway, &uri), ..ann.clone() };
    let creations = (0..24).map(|n| {
        let (person, bob) = (if n % 2 == 0 { ann.clone() } else { elsewhere.clone() }, bob.clone());
        async move {
            if n < 4 {
                create(&bob, "").await.expect("another account is not affected");
            }
            create(&person, "").await
        }
    });
    let created = join_all(creations).await;
    assert_eq!(created.iter().filter(|created| created.is_ok()).count(), 5);
    assert!(created.iter().filter_map(|created| created.as_ref().err()).all(|fault| fault.reason == "TOO_MANY_PROJECTS"), "{created:?}");
}

/// Random text of so many bytes, which hardly compresses.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(letters[usize::try_from(state >> 58).expect("six bits")])
    };
    (0..bytes).map(|_| next()).collect()
}

fn noisy(path: &str, seed: u64) -> Vec<FileChange> {
    vec![write(path, &noise(seed, 40_000))]
}

const STORED: &str =
    "SELECT coalesce(sum(octet_length(data)), 0)::bigint FROM objects WHERE store_id NOT IN (SELECT store_id FROM templates)";
const COUNTED: &str = "SELECT coalesce(sum(bytes), 0)::bigint FROM stores WHERE id NOT IN (SELECT store_id FROM templates)";

#[tokio::test]
async fn the_projects_of_an_account_share_its_bytes() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_BYTES", "200000")]).await;
    let (ann, bob) = (cluster.person(), cluster.person());
    let (one, two) = (ann.create().await.id, ann.create().await.id);
    let mut saved = 0;
    let fault = loop {
        let project = if saved % 2 == 0 { &one } else { &two };
        match ann.save(project, noisy("a", saved)).await {
            Ok(_) => saved += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::RateLimited, "ACCOUNT_TOO_LARGE"));
    assert_eq!(fault.metadata["limit"], "200000");
    // The saves replace the same path, but its history counts.
    assert!((4..=6).contains(&saved), "{saved}");
    let stored = cluster.count(STORED).await;
    assert!((140_000..=200_000).contains(&stored), "{stored}");
    assert_eq!(cluster.count(COUNTED).await, stored);
    // The refused save wrote nothing.
    assert_eq!(ann.files(&one).await.len(), 1);
    assert_eq!(reason(ann.save(&two, noisy("b", 99)).await), "ACCOUNT_TOO_LARGE");
    let draft = SaveProjectRequest { draft_id: "d".into(), changes: noisy("a", 98), ..Default::default() };
    assert_eq!(reason(ann.send(draft).await), "ACCOUNT_TOO_LARGE");
    assert_eq!(cluster.count("SELECT count(*) FROM projects").await, 2, "a refused save creates no project");

    // Another account has room, and a small save still fits.
    let bobs = bob.create().await.id;
    bob.save(&bobs, noisy("a", 7)).await.expect("another account");
    ann.save(&two, vec![write("small", "1")]).await.expect("small");
    ann.load(&one).await.expect("reading is not affected");

    delete(&ann, &one).await;
    ann.save(&two, noisy("b", 99)).await.expect("room again");
    assert_eq!(cluster.count(COUNTED).await, cluster.count(STORED).await);
}

#[tokio::test]
async fn a_turn_counts_for_the_owners_quota() {
    let cluster = Cluster::with_settings(&[("BACKLOT_ACCOUNT_BYTES", "100000")]).await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    let base = ann.save(&project, noisy("a", 1)).await.expect("saved").revision.expect("a revision").id;
    let (turn, late) = (Turn::new(&cluster), Turn::new(&cluster));
    turn.begin(&ann, &project, "more").await.expect("begun");
    late.begin(&ann, &project, "even more").await.expect("begun");
    let large = vec![write("b", &noise(2, 40_000)), write("c", &noise(3, 45_000))];
    assert_eq!(reason(commit(&turn.agent, turn.result(&base, large)).await), "ACCOUNT_TOO_LARGE");
    // The branch of a conflicted turn counts as well.
    ann.save(&project, vec![write("a", "short")]).await.expect("saved");
    let clash = vec![write("a", &noise(4, 40_000)), write("c", &noise(5, 45_000))];
    assert_eq!(reason(commit(&late.agent, late.result(&base, clash)).await), "ACCOUNT_TOO_LARGE");
    let fits = commit(&turn.agent, turn.result(&base, noisy("b", 2))).await.expect("a smaller one");
    assert_eq!(fits.outcome(), CommitOutcome::Committed);
    assert_eq!(cluster.count(COUNTED).await, cluster.count(STORED).await);
}

async fn usage(person: &Person) -> GetUsageResponse {
    answer(person.client.clone().get_usage(person.request(GetUsageRequest {})).await).expect("usage")
}

#[tokio::test]
async fn usage_is_what_the_quotas_count() {
    let cluster =
        Cluster::with_settings(&[("BACKLOT_ACCOUNT_PROJECTS", "free=2,pro=3,team=4,enterprise=4"), ("BACKLOT_ACCOUNT_BYTES", "1000")])
            .await;
    let (ann, bob) = (cluster.person(), cluster.person_on(Plan::Pro));
    assert_eq!(usage(&ann).await, GetUsageResponse { max_projects: 2, max_stored_bytes: 1000, ..GetUsageResponse::default() });
    assert_eq!(usage(&bob).await.max_projects, 3);
    let first = create(&ann, "").await.expect("created");
    let second = create(&ann, "").await.expect("created");
    ann.save(&first, vec![write("a", "1")]).await.expect("saved");
    ann.save(&first, vec![write("a", "2")]).await.expect("saved");
    let used = usage(&ann).await;
    assert_eq!((used.projects, used.deleted_projects), (2, 0));
    let of_project = |person: &Person, project: &str| {
        let request = person.request(GetProjectUsageRequest { project_id: project.to_owned() });
        let mut client = person.client.clone();
        async move { answer(client.get_project_usage(request).await) }
    };
    let project = of_project(&ann, &first).await.expect("usage");
    assert_eq!((project.revisions, project.stored_bytes), (2, used.stored_bytes));
    assert!(used.stored_bytes > 0);
    assert_eq!(reason(of_project(&bob, &first).await), "PROJECT_NOT_FOUND");

    // A deleted project counts until it is purged.
    let request = DeleteProjectRequest { project_id: first.clone(), ..DeleteProjectRequest::default() };
    answer(ann.client.clone().delete_project(ann.request(request)).await).expect("deleted");
    assert_eq!(usage(&ann).await, GetUsageResponse { deleted_projects: 1, ..used });
    assert_eq!(reason(create(&ann, "").await), "TOO_MANY_PROJECTS");
    delete(&ann, &first).await;
    let left = usage(&ann).await;
    assert_eq!((left.projects, left.deleted_projects, left.stored_bytes), (1, 0, 0));
    delete(&ann, &second).await;
    for _ in 0..3 {
        create(&bob, "").await.expect("created");
    }
    assert_eq!(reason(create(&bob, "").await), "TOO_MANY_PROJECTS");
}
