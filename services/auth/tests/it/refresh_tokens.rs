//! Refresh tokens, and row A3 of the test programme.

use std::time::Duration;

use chassis::{
    clock::{from_timestamp, now},
    task,
    testing::eventually,
};
use futures::future::join_all;
use proto::{
    auth::{CreateAccessTokenResponse, CreateRefreshTokenRequest, RecordAccessTokenUseRequest, SessionKind},
    error::{ErrorCode, Fault},
};

use crate::harness::{Client, Cluster, answer, mistyped, within_a_minute};

/// The first refresh token of a new program.
pub(crate) async fn program(gateway: &Client) -> String {
    let access = gateway.signed_up("ada@example.org").await;
    gateway.refresh_token(&access).await.expect("token").refresh_token
}

/// As the gateway does before the first request with an access token.
pub(crate) async fn use_access(gateway: &Client, access: &str) -> Result<(), Box<Fault>> {
    answer(gateway.client.clone().record_access_token_use(gateway.authorized(RecordAccessTokenUseRequest {}, access)).await).map(drop)
}

pub(crate) async fn number(cluster: &Cluster, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&cluster.database.pool).await.expect("a number")
}

pub(crate) const LIVE: &str = "select count(*) from refresh_tokens where used_at is null";

pub(crate) fn reason(result: Result<CreateAccessTokenResponse, Box<Fault>>) -> Result<String, String> {
    result.map(|answer| answer.refresh_token).map_err(|fault| fault.reason)
}

#[tokio::test]
async fn a_program_stays_signed_in_with_its_refresh_tokens() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    let message = CreateRefreshTokenRequest { display_name: "nightly export".into() };
    let created = answer(gateway.client.clone().create_refresh_token(gateway.authorized(message, &access)).await).expect("created");
    let session = created.session.expect("session");
    assert_eq!((session.kind(), session.display_name.as_str(), session.is_current), (SessionKind::RefreshToken, "nightly export", false));
    let left = from_timestamp(&session.expire_time.expect("time")).expect("time") - now();
    assert!(left <= time::Duration::days(90) && left > time::Duration::days(89), "{left}");
    assert!(created.refresh_token.starts_with("blt_rt_") && created.refresh_token.len() == 43);

    let mut token = created.refresh_token;
    for _ in 0..5 {
        let next = gateway.refresh(&token).await.expect("refreshed");
        assert_ne!(next.refresh_token, token);
        assert_eq!(next.session_id, session.id);
        let seen = gateway.session(&next.access_token).await.expect("accepted").session.expect("session");
        assert_eq!((seen.id.as_str(), seen.kind()), (session.id.as_str(), SessionKind::RefreshToken));
        use_access(&gateway, &next.access_token).await.expect("recorded");
        token = next.refresh_token;
    }
    let stored: i64 = number(&cluster, "select count(*) from refresh_tokens where token_hash = sha256('blt_rt_')").await;
    assert_eq!((stored, number(&cluster, "select count(*) from refresh_tokens").await, number(&cluster, LIVE).await), (0, 6, 1));
}

#[tokio::test]
async fn an_unknown_or_malformed_token_is_refused() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let token = program(&gateway).await;
    for wrong in ["x", "blt_rt_", &mistyped(&token), &token.to_uppercase(), "blt_rt_0000000000000000000000000000004AitYa"] {
        let fault = gateway.refresh(wrong).await.expect_err("refused");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"), "{wrong}");
    }
    assert_eq!(gateway.refresh(&"x".repeat(257)).await.expect_err("long").violations[0].field, "refresh_token");
    assert_eq!(gateway.exchange(&token).await.expect_err("no secret of a session").reason, "SESSION_ENDED");
    let both = proto::auth::CreateAccessTokenRequest { session_token: "a".into(), refresh_token: token.clone(), ..Default::default() };
    let fault = answer(gateway.client.clone().create_access_token(gateway.request(both)).await).expect_err("both");
    assert_eq!((fault.reason.as_str(), fault.violations[0].field.as_str()), ("INVALID_FIELD", "refresh_token"));
    gateway.refresh(&token).await.expect("the right one");
}

#[tokio::test]
async fn a_program_ends_after_thirty_idle_days_or_ninety_days() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let mut token = program(&gateway).await;
    for (created, used, live) in [(40, 29, true), (89, 8, true), (40, 30, false), (90, 0, false)] {
        sqlx::query(
            "update sessions set created_at = now() - make_interval(days => $1), expires_at = now() + make_interval(days => 90 - $1),
             last_used_at = now() - make_interval(days => $2) where kind = 'refresh_token'",
        )
        .bind(created)
        .bind(used)
        .execute(&cluster.database.pool)
        .await
        .expect("aged");
        match (gateway.refresh(&token).await, live) {
            (Ok(next), true) => token = next.refresh_token,
            (Err(fault), false) => assert_eq!(fault.reason, "SESSION_ENDED"),
            (other, _) => panic!("{created} {used}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_account_has_at_most_fifty_programs() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let access = gateway.signed_up("ada@example.org").await;
    let created = join_all((0..60).map(|_| gateway.refresh_token(&access))).await;
    let refused: Vec<_> = created.iter().filter_map(|one| one.as_ref().err()).map(|f| (f.code, f.reason.as_str())).collect();
    assert_eq!(refused, [(ErrorCode::RateLimited, "TOO_MANY_CREDENTIALS"); 10]);
    sqlx::query("delete from sessions where id = (select id from sessions where kind = 'refresh_token' limit 1)")
        .execute(&cluster.database.pool)
        .await
        .expect("one ends");
    gateway.refresh_token(&access).await.expect("one more");
}

#[tokio::test]
async fn a3_fifty_concurrent_refreshes_of_one_token_leave_one_live_child() {
    let cluster = Cluster::start().await;
    let replicas = [cluster.auth().await, cluster.auth().await];
    let gateways = [replicas[0].gateway(), replicas[1].gateway()];
    let token = program(&gateways[0]).await;
    let answers = join_all((0..50).map(|i| gateways[i % 2].refresh(&token))).await;
    let next: Vec<_> = answers.into_iter().map(|answer| answer.expect("refreshed").refresh_token).collect();
    assert!(next.iter().all(|one| *one == next[0]));
    assert_eq!((number(&cluster, LIVE).await, number(&cluster, "select count(*) from refresh_tokens").await), (1, 2));
    gateways[0].refresh(&next[0]).await.expect("the child");
}

/// Three tabs share a store. Each refreshes with what it read, at the same time, and writes what it got. None uses an access token before all
/// have one; `refresh_tabs.rs` has tabs that do.
#[tokio::test]
async fn a3_parallel_tabs_stay_in() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let mut shared = program(&gateway).await;
    for _ in 0..20 {
        let tabs = join_all((0..3).map(|_| gateway.refresh(&shared))).await;
        let tabs: Vec<_> = tabs.into_iter().map(|answer| answer.expect("a tab stays in")).collect();
        for tab in &tabs {
            use_access(&gateway, &tab.access_token).await.expect("the access token of each tab is accepted");
            shared.clone_from(&tab.refresh_token);
        }
    }
    assert_eq!(number(&cluster, LIVE).await, 1);
}

#[tokio::test]
async fn a3_a_program_that_lost_the_answer_repeats_the_request() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let token = program(&gateway).await;
    let lost = gateway.refresh(&token).await.expect("lost");
    let restarted = cluster.auth().await.gateway();
    let again = restarted.refresh(&token).await.expect("again, at another process");
    assert_eq!(again.refresh_token, lost.refresh_token);
    use_access(&restarted, &again.access_token).await.expect("accepted");
    restarted.refresh(&again.refresh_token).await.expect("goes on");
}

#[tokio::test]
async fn a3_a_replay_after_a_restart_is_refused_and_ends_the_family() {
    let cluster = Cluster::start().await;
    for uses_access in [true, false] {
        let gateway = cluster.auth().await.gateway();
        let access = gateway.signed_up(&format!("{uses_access}@example.org")).await;
        let stolen = gateway.refresh_token(&access).await.expect("token").refresh_token;
        let child = gateway.refresh(&stolen).await.expect("refreshed");
        let current = if uses_access {
            use_access(&gateway, &child.access_token).await.expect("recorded");
            child.refresh_token.clone()
        } else {
            gateway.refresh(&child.refresh_token).await.expect("refreshed").refresh_token
        };
        drop(gateway);
        let restarted = cluster.auth().await.gateway();
        assert_eq!(reason(restarted.refresh(&stolen).await), Err("TOKEN_REUSED".to_owned()));
        for dead in [&current, &child.refresh_token, &stolen] {
            assert_eq!(reason(restarted.refresh(dead).await), Err("SESSION_ENDED".to_owned()));
        }
        assert_eq!(restarted.session(&child.access_token).await.expect_err("ended").reason, "SESSION_ENDED");
        let fault = use_access(&restarted, &child.access_token).await.expect_err("ended");
        assert_eq!((fault.code, fault.reason.as_str()), (ErrorCode::Unauthenticated, "SESSION_ENDED"));
        restarted.session(&access).await.expect("the session that created it");
    }
    assert_eq!(number(&cluster, "select count(*) from revocations").await, 2);
}

/// A thief waits until the token was used long ago. The rows stay until the session ends.
#[tokio::test]
async fn a_late_replay_ends_the_family() {
    let cluster = Cluster::start().await;
    let pool = &cluster.database.pool;
    let gateway = cluster.auth().await.gateway();
    let stolen = program(&gateway).await;
    let second = gateway.refresh(&stolen).await.expect("refreshed").refresh_token;
    let third = gateway.refresh(&second).await.expect("refreshed").refresh_token;
    // The mail about the program is not of interest here.
    sqlx::query("delete from mail_queue").execute(pool).await.expect("deleted");
    let later = |days| auth::testing::delete_old_rows(pool, now() + time::Duration::days(days));
    assert_eq!(later(6).await.expect("deleted"), 0);
    assert_eq!(later(8).await.expect("deleted"), 1, "the seed of the first one");
    assert_eq!(later(80).await.expect("deleted"), 0);
    assert_eq!(number(&cluster, "select count(*) from refresh_tokens where used_at is not null and seed is null").await, 1);
    assert_eq!(reason(gateway.refresh(&second).await), Ok(third), "an answer that was lost is repeated, however late");
    assert_eq!(reason(gateway.refresh(&stolen).await), Err("TOKEN_REUSED".to_owned()));
    assert_eq!(reason(gateway.refresh(&second).await), Err("SESSION_ENDED".to_owned()));
    assert_eq!(number(&cluster, "select count(*) from refresh_tokens").await, 0, "they go with their session");
}

/// The database ends its connections at any moment of a rotation. The program repeats what failed, and stays in.
#[tokio::test]
async fn a3_connections_that_break_in_the_middle_of_a_rotation_lose_no_token() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let mut token = program(&gateway).await;
    let pool = cluster.database.pool.clone();
    let breaking = task::spawn(async move {
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid() and query ~ 'refresh_tokens|sessions'";
        let mut ended = 0;
        loop {
            ended += sqlx::query_scalar::<_, i64>(end).fetch_one(&pool).await.unwrap_or(0);
            if ended > 200 {
                return ended;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut rotations = 0;
    while !breaking.is_finished() || rotations < 20 {
        match gateway.refresh(&token).await {
            Ok(next) => (token, rotations) = (next.refresh_token, rotations + 1),
            Err(fault) => assert!(matches!(fault.code, ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Internal), "{fault:?}"),
        }
    }
    assert!(within_a_minute(breaking).await.expect("no panic") > 0);
    // Connections of the pools may be among those that were ended.
    let limit = Duration::from_secs(30);
    let live = eventually(limit, || async { sqlx::query_scalar::<_, i64>(LIVE).fetch_one(&cluster.database.pool).await.ok() }).await;
    assert_eq!(live, 1);
    eventually(limit, || async { gateway.refresh(&token).await.ok() }).await;
}

/// A request that waits for the lock of its session, and whose client has given up, changes nothing that the repetition would miss.
#[tokio::test]
async fn a3_a_client_that_gives_up_can_repeat_the_request() {
    let cluster = Cluster::start().await;
    let gateway = cluster.auth().await.gateway();
    let token = program(&gateway).await;
    let mut tx = chassis::postgres::begin(&cluster.database.pool).await.expect("transaction");
    sqlx::query("select from sessions for update").execute(&mut *tx).await.expect("locked");
    let waiting = task::spawn({
        let (gateway, token) = (gateway.clone(), token.clone());
        async move { gateway.refresh(&token).await.map(drop) }
    });
    eventually(Duration::from_secs(30), || async {
        let blocked = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%for update of s%'";
        let count: i64 = sqlx::query_scalar(blocked).fetch_one(&cluster.database.pool).await.ok()?;
        (count > 0).then_some(())
    })
    .await;
    waiting.abort();
    tx.rollback().await.expect("released");
    let next = gateway.refresh(&token).await.expect("repeated");
    gateway.refresh(&next.refresh_token).await.expect("goes on");
}

/// One family: honest rotations, and for two of three a thief, who has one of its tokens and comes before or after the program.
async fn family(gateway: &Client, access: &str, number: usize) -> Result<(), String> {
    let token = gateway.refresh_token(access).await.map_err(|fault| fault.reason)?.refresh_token;
    let child = gateway.refresh(&token).await.map_err(|fault| fault.reason)?;
    match number % 3 {
        // Nobody else: a repetition before the first use is honest.
        0 => {
            let again = gateway.refresh(&token).await.map_err(|fault| fault.reason)?;
            assert_eq!(again.refresh_token, child.refresh_token);
            use_access(gateway, &again.access_token).await.map_err(|fault| fault.reason)?;
            reason(gateway.refresh(&child.refresh_token).await).map(drop)
        }
        // The thief replays a token after its child was used.
        1 => {
            use_access(gateway, &child.access_token).await.map_err(|fault| fault.reason)?;
            assert_eq!(reason(gateway.refresh(&token).await), Err("TOKEN_REUSED".to_owned()));
            assert_eq!(reason(gateway.refresh(&child.refresh_token).await), Err("SESSION_ENDED".to_owned()));
            Ok(())
        }
        // The thief was first: the program's own refresh ends the family.
        _ => {
            let thief = gateway.refresh(&child.refresh_token).await.map_err(|fault| fault.reason)?;
            use_access(gateway, &thief.access_token).await.map_err(|fault| fault.reason)?;
            assert_eq!(reason(gateway.refresh(&child.refresh_token).await), Err("TOKEN_REUSED".to_owned()));
            assert_eq!(reason(gateway.refresh(&thief.refresh_token).await), Err("SESSION_ENDED".to_owned()));
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_two_thousand_families() {
    const TASKS: usize = 40;
    const PER_TASK: usize = 50;
    let cluster = Cluster::start().await;
    let replicas = [cluster.auth().await, cluster.auth().await];
    let tasks = (0..TASKS).map(|task| {
        let gateway = replicas[task % 2].gateway();
        task::spawn(async move {
            let access = gateway.signed_up(&format!("person{task}@example.org")).await;
            for number in 0..PER_TASK {
                family(&gateway, &access, number).await.expect("an honest request");
            }
        })
    });
    for done in join_all(tasks).await {
        done.expect("no panic");
    }
    let honest = i64::try_from(TASKS * PER_TASK.div_ceil(3)).expect("small");
    let all = i64::try_from(TASKS * PER_TASK).expect("small");
    assert_eq!(number(&cluster, LIVE).await, honest, "one live token for each honest family");
    assert_eq!(number(&cluster, "select count(*) from revocations").await, all - honest);
    assert_eq!(number(&cluster, "select count(*) from sessions where kind = 'refresh_token'").await, honest);
}
