//! `Check` and `ListPolicies`, with counters in the process and in Redis.

use chassis::{context::Context, identity::Caller};
use proto::rate_limit::{Algorithm, ListPoliciesRequest};

use crate::harness::{check, names, one_unit, seconds, start, units};

/// Makes one test per counter.
macro_rules! over_both {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_process() {
                super::$name(&[]).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_redis() {
                let redis = chassis::testing::redis().await;
                super::$name(&[("REDIS_URL", &redis.url)]).await;
            }
        })+
    };
}

over_both!(
    the_fourth_turn_in_a_minute_waits,
    a_refused_request_takes_no_units,
    a_check_with_cost_zero_takes_no_units,
    concurrent_callers_get_exactly_the_limit,
    networks_around_an_address_have_limits,
);

/// The policy `auth` allows five. A client with a whole network could use thousands of addresses.
async fn networks_around_an_address_have_limits(settings: &[(&str, &str)]) {
    let running = start(settings).await;
    let mut client = running.client(Caller::Auth);
    let mut passed = async |subject: &dyn Fn(u32) -> String| {
        let mut passed = 0;
        for at in 0..40 {
            let answer = check(&mut client, vec![one_unit("auth", &subject(at)), one_unit("general", &format!("user:{at}"))])
                .await
                .expect("an answer");
            assert_eq!(answer.decisions.len(), 2);
            assert!(answer.allowed || (answer.decisions[0].remaining == 0 && seconds(answer.retry_after.as_ref()) > 1.0));
            passed += u32::from(answer.allowed);
        }
        passed
    };
    assert_eq!(passed(&|at| format!("address:2001:db8:1:100::{at:x}")).await, 10, "different addresses of one network");
    assert_eq!(passed(&|_| "address:2001:db8:2:100::/64".to_owned()).await, 5);
    assert_eq!(passed(&|at| format!("address:2001:db8:3:1{at:02x}::/64")).await, 10);
    assert_eq!(passed(&|at| format!("address:2001:db8:4:{at:02x}00::/64")).await, 20);
    assert_eq!(passed(&|at| format!("address:2001:db8:1{at:02x}:1::/64")).await, 40);
    running.stop().await;
}

async fn the_fourth_turn_in_a_minute_waits(settings: &[(&str, &str)]) {
    let running = start(settings).await;
    let mut client = running.client(Caller::AgentStreaming);
    for left in [2, 1, 0] {
        let answer = check(&mut client, vec![one_unit("agent", "ann")]).await.expect("an answer");
        assert!(answer.allowed && !answer.degraded && answer.retry_after.is_none());
        assert_eq!((answer.decisions[0].limit, answer.decisions[0].remaining), (3, left));
        let reset = seconds(answer.decisions[0].reset_after.as_ref());
        assert!((59.0..=60.0).contains(&reset), "{reset}");
        assert!(seconds(answer.decisions[0].retry_after.as_ref()) < 0.001);
    }
    let refused = check(&mut client, vec![one_unit("agent", "ann")]).await.expect("an answer");
    assert!(!refused.allowed && !refused.decisions[0].allowed);
    assert_eq!(refused.decisions[0].remaining, 0);
    let wait = seconds(refused.retry_after.as_ref());
    assert!((50.0..=60.0).contains(&wait), "{wait}");
    assert!((seconds(refused.decisions[0].window.as_ref()) - 60.0).abs() < 0.001);
    assert!(check(&mut client, vec![one_unit("agent", "bob")]).await.expect("an answer").allowed, "other subjects are not limited");

    // The error that the calling service returns.
    let fault =
        chassis::limit::check(&mut client, &Context::background(), "agent-streaming", &[("agent", "ann")]).await.expect_err("refused");
    assert_eq!((fault.reason.as_str(), fault.quota[0].policy.as_str()), ("RATE_LIMITED", "agent"));
    assert_eq!(fault.metadata["limit"], "3");
    assert!(fault.retry_after.is_some());
    running.stop().await;
}

async fn a_refused_request_takes_no_units(settings: &[(&str, &str)]) {
    let running = start(settings).await;
    let mut client = running.client(Caller::Auth);
    assert!(check(&mut client, vec![units("auth", "192.0.2.1", 5)]).await.expect("an answer").allowed);
    let both = vec![one_unit("auth", "account ann"), one_unit("auth", "192.0.2.1"), one_unit("general", "192.0.2.1")];
    let refused = check(&mut client, both).await.expect("an answer");
    assert!(!refused.allowed);
    assert_eq!(names(&refused.decisions), ["auth", "auth", "general"]);
    let decided: Vec<_> = refused.decisions.iter().map(|d| (d.allowed, d.remaining)).collect();
    assert_eq!(decided, [(true, 5), (false, 0), (true, 10)], "nothing was taken from the others");
    let after = check(&mut client, vec![one_unit("auth", "account ann")]).await.expect("an answer");
    assert_eq!(after.decisions[0].remaining, 4);
    running.stop().await;
}

async fn a_check_with_cost_zero_takes_no_units(settings: &[(&str, &str)]) {
    let running = start(settings).await;
    let mut client = running.client(Caller::Gateway);
    for _ in 0..20 {
        let answer = check(&mut client, vec![units("general", "ann", 0)]).await.expect("an answer");
        assert!(answer.allowed && answer.decisions[0].remaining == 10);
    }
    assert!(check(&mut client, vec![units("general", "ann", 10)]).await.expect("an answer").allowed);
    assert!(!check(&mut client, vec![units("general", "ann", 0)]).await.expect("an answer").allowed, "it decides whether one unit is free");
    running.stop().await;
}

async fn concurrent_callers_get_exactly_the_limit(settings: &[(&str, &str)]) {
    let running = start(settings).await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let mut client = running.client(Caller::ProjectStorage);
            chassis::task::spawn(async move { check(&mut client, vec![one_unit("save", "ann")]).await.expect("an answer").allowed })
        })
        .collect();
    let answers = futures::future::join_all(tasks).await;
    assert_eq!(answers.into_iter().filter(|a| *a.as_ref().expect("no panic")).count(), 30);
    running.stop().await;
}

/// Replicas with the same Redis share their counters.
#[tokio::test]
async fn replicas_share_the_counters_in_redis() {
    let redis = chassis::testing::redis().await;
    let (one, other) = (start(&[("REDIS_URL", &redis.url)]).await, start(&[("REDIS_URL", &redis.url)]).await);
    let (mut first, mut second) = (one.client(Caller::Gateway), other.client(Caller::Gateway));
    assert!(check(&mut first, vec![units("agent", "ann", 2)]).await.expect("an answer").allowed);
    assert!(check(&mut second, vec![one_unit("agent", "ann")]).await.expect("an answer").allowed);
    assert!(!check(&mut second, vec![one_unit("agent", "ann")]).await.expect("an answer").allowed);
    assert!(!check(&mut first, vec![one_unit("agent", "ann")]).await.expect("an answer").allowed);
}

#[tokio::test]
async fn a_file_changes_the_policies() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("limits.yaml");
    let yaml = "policies:\n  - {name: agent, limit: 1, window: 2h}\n  - {name: bulk, limit: 1000, window: 1s, algorithm: gcra, burst: 7}\n";
    std::fs::write(&path, yaml).expect("written");
    let running = start(&[("BACKLOT_POLICIES", path.to_str().expect("text"))]).await;
    let mut client = running.client(Caller::Operator);
    let policies = client.list_policies(Context::background().request(ListPoliciesRequest {})).await.expect("listed").into_inner().policies;
    let table: Vec<_> = policies.iter().map(|p| (p.name.as_str(), p.limit, p.algorithm())).collect();
    let log = Algorithm::SlidingLog;
    let expected = [
        ("agent", 1, log),
        ("auth", 5, log),
        ("auth-account", 45, log),
        ("auth-guess", 5, log),
        ("auth-challenge", 450, log),
        ("auth-stuffing", 25, log),
        ("auth-once", 1, log),
        ("service-accounts", 10, log),
        ("save", 30, log),
        ("general", 10, log),
        ("bulk", 1000, Algorithm::Gcra),
    ];
    assert_eq!(table, expected);
    assert!((seconds(policies[0].window.as_ref()) - 7200.0).abs() < 0.001);
    assert!(check(&mut client, vec![one_unit("agent", "ann")]).await.expect("an answer").allowed);
    assert!(!check(&mut client, vec![one_unit("agent", "ann")]).await.expect("an answer").allowed);
    assert_eq!(check(&mut client, vec![units("bulk", "ann", 7)]).await.expect("an answer").decisions[0].remaining, 0);
    running.stop().await;
}
