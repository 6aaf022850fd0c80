//! Lists of revisions by path, author, turn and time.

use chassis::clock::timestamp;
use proto::{
    error::Fault,
    project_storage::{CommitOutcome, ListRevisionsRequest, ListRevisionsResponse},
};
use time::{Duration, OffsetDateTime};

use crate::{
    conflicts::{Conflict, take},
    harness::{Cluster, Person, Turn, answer, commit, delete, reason, rename, write},
};

/// The time of the first revision; each later one is a minute younger.
const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

impl Person {
    async fn list(&self, request: ListRevisionsRequest) -> Result<ListRevisionsResponse, Box<Fault>> {
        answer(self.client.clone().list_revisions(self.request(request)).await)
    }

    /// The numbers of all revisions that meet the conditions, read in pages of `size`.
    async fn numbers(&self, mut request: ListRevisionsRequest, size: i32) -> Vec<u32> {
        request.page_size = size;
        let mut numbers = Vec::new();
        loop {
            let page = self.list(request.clone()).await.expect("a page");
            assert!(page.revisions.len() <= usize::try_from(size).expect("a size"));
            numbers.extend(page.revisions.into_iter().map(|revision| revision.number));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return numbers;
            }
        }
    }
}

/// Seven revisions: 1 to 3 and 6 of Ann, 4 of Bob, 5 of Bob's turn, 7 of Ann.
async fn seven(cluster: &Cluster) -> (Person, Person, String, Turn) {
    let (ann, bob) = (cluster.person(), cluster.person());
    let project = ann.create().await.id;
    cluster.join(&bob, 2).await;
    ann.saved(&project, vec![write("a", "1"), write("src/b", "1")]).await;
    ann.saved(&project, vec![write("src/b", "2")]).await;
    ann.saved(&project, vec![rename("src/b", "src/lib/c")]).await;
    let base = bob.saved(&project, vec![write("a", "2"), write("src/lib/d", "1")]).await;
    let turn = Turn::new(cluster);
    turn.begin(&bob, &project, "go").await.expect("begun");
    let committed = commit(&turn.agent, turn.result(&base, vec![write("a", "3")])).await.expect("committed");
    assert_eq!(committed.outcome(), CommitOutcome::Committed);
    ann.saved(&project, vec![delete("src/lib/c")]).await;
    ann.saved(&project, vec![write("src/b", "9")]).await;
    sqlx::query("UPDATE ref_log SET created_at = to_timestamp(0) + seq * interval '1 minute'")
        .execute(&cluster.database.pool)
        .await
        .expect("times");
    (ann, bob, project, turn)
}

#[tokio::test]
async fn revisions_are_listed_by_each_condition_and_by_all() {
    let cluster = Cluster::start().await;
    let (ann, bob, project, turn) = seven(&cluster).await;
    let all = || ListRevisionsRequest { project_id: project.clone(), ..Default::default() };
    let path = |path: &str| ListRevisionsRequest { path: path.into(), ..all() };
    let of = |person: &Person| ListRevisionsRequest { user_id: person.id.to_string(), ..all() };
    let minute = |minutes: i64| Some(timestamp(START + Duration::minutes(minutes)));
    let between = |start, end| ListRevisionsRequest { start_time: start, end_time: end, ..all() };
    let by_turn = ListRevisionsRequest { turn_id: turn.id.clone(), ..all() };
    for (request, expected) in [
        (all(), vec![7, 6, 5, 4, 3, 2, 1]),
        (path("a"), vec![5, 4, 1]),
        (path("src"), vec![7, 6, 4, 3, 2, 1]),
        (path("src/b"), vec![7, 3, 2, 1]),
        (path("src/lib"), vec![6, 4, 3]),
        (path("src/lib/c"), vec![6, 3]),
        (path("src/lib/c/below"), vec![]),
        (path("unknown"), vec![]),
        (of(&ann), vec![7, 6, 3, 2, 1]),
        (of(&bob), vec![5, 4]),
        (of(&cluster.person()), vec![]),
        (by_turn.clone(), vec![5]),
        (ListRevisionsRequest { turn_id: uuid::Uuid::now_v7().to_string(), ..all() }, vec![]),
        (between(minute(2), minute(5)), vec![4, 3, 2]),
        (between(None, minute(2)), vec![1]),
        (between(minute(6), None), vec![7, 6]),
        (between(minute(5), minute(5)), vec![]),
        (ListRevisionsRequest { user_id: ann.id.to_string(), ..between(minute(2), minute(7)) }, vec![6, 3, 2]),
        (ListRevisionsRequest { user_id: bob.id.to_string(), ..path("src/lib") }, vec![4]),
        (ListRevisionsRequest { path: "a".into(), ..between(minute(2), minute(5)) }, vec![4]),
        (ListRevisionsRequest { path: "a".into(), ..by_turn.clone() }, vec![5]),
        (ListRevisionsRequest { path: "src".into(), ..by_turn.clone() }, vec![]),
        (ListRevisionsRequest { user_id: ann.id.to_string(), ..by_turn.clone() }, vec![]),
        (ListRevisionsRequest { end_time: minute(5), ..by_turn.clone() }, vec![]),
        (ListRevisionsRequest { start_time: minute(5), ..by_turn }, vec![5]),
    ] {
        for size in [1, 2, 50] {
            assert_eq!(ann.numbers(request.clone(), size).await, expected, "{request:?} in pages of {size}");
        }
    }
}

#[tokio::test]
async fn conditions_are_checked_and_bound_to_the_page() {
    let cluster = Cluster::start().await;
    let (ann, bob, project, _) = seven(&cluster).await;
    let all = || ListRevisionsRequest { project_id: project.clone(), page_size: 1, ..Default::default() };
    let late = |seconds: i64| Some(chassis::clock::Timestamp { seconds, nanos: 0 });
    for (request, field) in [
        (ListRevisionsRequest { user_id: "ann".into(), ..all() }, "user_id"),
        (ListRevisionsRequest { turn_id: "x".repeat(37), ..all() }, "turn_id"),
        (ListRevisionsRequest { start_time: late(i64::MAX), ..all() }, "start_time"),
        (ListRevisionsRequest { end_time: late(-100_000_000_000), ..all() }, "end_time"),
        (ListRevisionsRequest { path: "../a".into(), ..all() }, "path"),
    ] {
        let fault = ann.list(request).await.expect_err("refused");
        assert_eq!(fault.violations[0].field, field, "{fault:?}");
    }
    let page = ann.list(ListRevisionsRequest { path: "src".into(), ..all() }).await.expect("a page");
    let token = || page.next_page_token.clone();
    for other in [
        ListRevisionsRequest { page_token: token(), ..all() },
        ListRevisionsRequest { page_token: token(), path: "a".into(), ..all() },
        ListRevisionsRequest { page_token: token(), path: "src".into(), user_id: ann.id.to_string(), ..all() },
    ] {
        assert_eq!(reason(ann.list(other).await), "PAGE_TOKEN_INVALID");
    }
    let same = ListRevisionsRequest { page_token: token(), path: "src".into(), ..all() };
    assert_eq!(reason(bob.list(same).await), "PAGE_TOKEN_INVALID", "the token of another user");
    let stranger = ListRevisionsRequest { path: "src".into(), ..all() };
    assert_eq!(reason(cluster.person().list(stranger).await), "PROJECT_NOT_FOUND");
}

/// A page looks at 1,000 revisions. The next one continues behind them.
#[tokio::test]
async fn a_search_of_a_long_log_is_bounded() {
    let cluster = Cluster::start().await;
    let ann = cluster.person();
    let project = ann.create().await.id;
    ann.saved(&project, vec![write("src/old", "1"), write("a", "1")]).await;
    cluster.repeat_head(&project, 2_500).await;
    let request = ListRevisionsRequest { project_id: project.clone(), path: "src/old".into(), ..Default::default() };
    let mut counts = Vec::new();
    let mut next = request.clone();
    loop {
        let page = ann.list(next.clone()).await.expect("a page");
        counts.push(page.revisions.len());
        next.page_token = page.next_page_token;
        if next.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(counts, [0, 0, 1]);
    ann.saved(&project, vec![write("src/old", "2")]).await;
    assert_eq!(ann.numbers(request, 1).await, [2_502, 1]);
}

/// The commit of a conflicted turn is not a revision of the log, but its turn's resolution is.
#[tokio::test]
async fn a_conflicted_turn_has_no_revision_in_the_list() {
    let cluster = Cluster::start().await;
    let conflict = Conflict::start(&cluster).await;
    let list = || ListRevisionsRequest { project_id: conflict.project.clone(), turn_id: conflict.turn.id.clone(), ..Default::default() };
    let files = vec![take("a", proto::project_storage::Take::Turn), take("b", proto::project_storage::Take::Head)];
    assert_eq!(conflict.ann.list(list()).await.expect("a list").revisions.len(), 0);
    conflict.resolve(conflict.request(files)).await.expect("resolved");
    assert_eq!(conflict.ann.list(list()).await.expect("a list").revisions.len(), 0);
    let path = ListRevisionsRequest { turn_id: String::new(), path: "a".into(), ..list() };
    assert_eq!(conflict.ann.numbers(path, 2).await, [3, 2, 1]);
}
